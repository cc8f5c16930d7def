"""Write a turntable of every method, as GIF and MP4, without any model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflow import provenance
from workflow.runtime.step_errors import run_step


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the figures")
    parser.add_argument("--results", type=Path, required=True, help="results folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write <method>.gif and .mp4 into")
    parser.add_argument("--frames", type=int, default=36, help="pictures of one turn (default: %(default)s)")
    parser.add_argument("--size", type=int, default=160, help="pixels per object (default: %(default)s)")
    options = parser.parse_args(arguments)

    from report.figures.turntables import Turntables, write_gif, write_mp4
    from report.results import Results

    results = Results(provenance.read_settings(options.settings), options.results)
    turntables = Turntables(results, options.frames, options.size)
    for method in results.methods:
        loop = turntables.loop(method)
        write_gif(options.out / f"{method}.gif", loop)
        write_mp4(options.out / f"{method}.mp4", loop)
        print(f"{options.out / method}.gif, .mp4: {len(turntables.assets)} objects", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

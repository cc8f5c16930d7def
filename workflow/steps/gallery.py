"""Write the gallery: every texture of the run, with turntables, 3D viewers and scores, in one HTML file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflow import provenance
from workflow.runtime.step_errors import run_step


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the table")
    parser.add_argument("--results", type=Path, required=True, help="folder with meshes/ textures/ scores/")
    parser.add_argument("--out", type=Path, required=True, help="page to write")
    options = parser.parse_args(arguments)

    from report.gallery.gallery_page import gallery_page
    from report.results import Results

    results = Results(provenance.read_settings(options.settings), options.results)
    page = gallery_page(results)
    provenance.write_text(options.out, page)
    print(f"{options.out}: {len(results.runs)} textures, {len(page.encode()) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

"""Make the miniature's training world on disk: rasterised views, then painted samples.

python -m texgen.miniature.world --out FOLDER --scale full
"""

from __future__ import annotations

import argparse
from pathlib import Path

from texgen.miniature.scale import SCALES
from texgen.miniature.training import make_world


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes that rasterise, 1 or more")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f"--workers is {args.workers}; give 1 or more.")
    make_world(args.out, args.scale, args.seed, args.workers)


if __name__ == "__main__":
    main()

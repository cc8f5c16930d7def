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
    args = parser.parse_args(argv)
    make_world(args.out, args.scale, args.seed)


if __name__ == "__main__":
    main()

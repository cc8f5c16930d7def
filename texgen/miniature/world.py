"""Make the miniature's training world on disk: rasterised views, atlases, then paintings, as memory maps.

    python -m texgen.miniature.world --out FOLDER --scale full --workers 2

A world that was not finished is gone on with.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

from texgen.miniature.scale import DEVICES, SCALES, Sizes, chosen_device
from texgen.miniature.world_makers import make_world


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the world")
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument(
        "--device", choices=DEVICES, default="auto", help="whose sizes to take; a GPU trains on more"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1, help="processes, 1 or more")
    parser.add_argument("--budget", type=float, help="seconds after which no more is painted")
    parser.add_argument(
        "--until",
        choices=("atlases", "painted"),
        default="painted",
        help="atlases: only what needs Warp; a later call, on another machine too, paints the rest",
    )
    for field in fields(Sizes):
        parser.add_argument(f"--{field.name}", type=int, help="instead of the scale's")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f"--workers is {args.workers}; give 1 or more.")
    given = {field.name: getattr(args, field.name) for field in fields(Sizes)}
    # The world can be made on a machine without the GPU that is to be trained on.
    kind = chosen_device("auto").type if args.device == "auto" else args.device
    sizes = SCALES[args.scale][kind].world
    sizes = replace(sizes, **{name: value for name, value in given.items() if value is not None})
    make_world(args.out, sizes, args.seed, args.workers, args.budget, args.until)


if __name__ == "__main__":
    main()

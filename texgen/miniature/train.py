"""Train parts of the miniature one after the other, in steps or within a given time, on the device there is.

    python -m texgen.miniature.train --data WORLD --out FOLDER         (all parts, in the scale's steps)
    python -m texgen.miniature.train judge --data WORLD --out FOLDER --steps 100
    python -m texgen.miniature.train backbone controlnet_depth controlnet_uv_position \\
        --finished models/miniature --data WORLD --out FOLDER --budget 540     (these alone, in nine minutes)

Options of a single part's program (`--rate`, `--begin-with`, ...) are passed on to it. The world is made
where it is missing. On a CPU several processes train together (`--processes`), on a GPU one.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

import torch

from texgen.miniature import architecture, world
from texgen.miniature.scale import DEVICES, SCALES, chosen_device
from texgen.miniature.trained_parts import PARTS
from texgen.miniature.world_arrays import INDEX

WORLD_SHARE = 0.2  # of the time, at most, until no more is painted


def parse(argv: list[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """The arguments, and those for the program of the only part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--data", type=Path, required=True, help="folder of the world, made if missing")
    parser.add_argument("--out", type=Path, required=True, help="folder of models, as models/miniature")
    parser.add_argument("--finished", type=Path, help="folder of models: parts not trained come from there")
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: a GPU where there is one")
    parser.add_argument(
        "--budget", type=float, help="seconds for everything together, instead of numbers of steps"
    )
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="that make the world, and train on a CPU"
    )
    architecture.add_arguments(parser)
    args, rest = parser.parse_known_args(argv)
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; parts are {', '.join(PARTS)}.")
    args.parts = [part for part in PARTS if part in args.parts or not args.parts]
    if args.processes < 1:
        parser.error(f"--processes is {args.processes}; give 1 or more.")
    if rest and len(args.parts) != 1:
        parser.error(f"{rest[0]}: options of a part's own program are given where one part is trained.")
    if architecture.given(args) and "backbone" not in args.parts:
        parser.error("architecture options are for the part backbone, which is not trained here.")
    return args, rest


def take_over(finished: Path, out: Path, trained: list[str]) -> None:
    """Copy what finished parts wrote into ``out``, but for parts that are trained, and the tokenizer, which
    trained parts keep."""
    files = {file for name, part in PARTS.items() if name not in trained for file in part.files}
    for file in sorted(files | {"backbone/tokenizer"}):
        source, target = finished / file, out / file
        if not source.exists():
            raise SystemExit(
                f"{source} is missing; --finished names a folder of models such as models/miniature."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)


def train_part(name: str, args: argparse.Namespace, options: list[str], device: torch.device) -> None:
    """Run a part's program: here, or in several processes that train together on a CPU.

    Raises CalledProcessError when one of those fails.
    """
    part = PARTS[name]
    command = ["--data", str(args.data), "--out", str(args.out), "--scale", args.scale]
    command += ["--device", device.type, *(["--part", part.name] if part.name else []), *options]
    module = f"texgen.miniature.{part.program}"
    if device.type == "cuda" or args.processes == 1:
        importlib.import_module(module).main(command)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return
    together = ["torch.distributed.run", "--standalone", f"--nproc-per-node={args.processes}", "-m", module]
    subprocess.run([sys.executable, "-m", *together, *command, "--threads", "1"], check=True)


def architecture_options(args: argparse.Namespace) -> list[str]:
    """The architecture's options as a command line again."""
    options = []
    for name, value in architecture.given(args).items():
        shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        options += [f"--{name.replace('_', '-')}", shown]
    return options


def main(argv: list[str] | None = None) -> int:
    """Train; 1 when a part failed, in which case those that do not build on it were still trained."""
    begin = time.monotonic()
    args, rest = parse(argv)
    device = chosen_device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.finished:
        take_over(args.finished, args.out, args.parts)
    if not (args.data / INDEX).exists():
        making = ["--out", str(args.data), "--scale", args.scale, "--device", device.type]
        making += ["--workers", str(args.processes)]
        world.main([*making, "--budget", str(WORLD_SHARE * args.budget)] if args.budget else making)
    failed: list[str] = []
    for number, name in enumerate(args.parts):
        if missing := [before for before in PARTS[name].after if before in failed]:
            print(f"{name} is left out, since {missing[0]} failed", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        options = [*rest, *(architecture_options(args) if name == "backbone" else [])]
        if args.budget:
            weights = [PARTS[each].weight for each in args.parts[number:]]
            left = args.budget - (time.monotonic() - begin)
            options += ["--budget", str(max(1.0, left * weights[0] / sum(weights)))]
        print(" ".join([f"training {name}", *options]), flush=True)
        try:
            train_part(name, args, options, device)
        except (Exception, SystemExit):
            traceback.print_exc()
            failed.append(name)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""The arguments of the miniature's evaluation; apart from its program, so that a command line can list them
without waiting for torch."""

from __future__ import annotations

import argparse
from pathlib import Path

from texgen.shipped import miniature

PARTS = ("generation", "depth", "inpainting", "vae", "velocity", "scorers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them to a parser."""
    parser.add_argument(
        "--models",
        type=Path,
        default=miniature(),
        help="trained models (default: %(default)s)",
    )
    parser.add_argument("--judge", type=Path, help="folder of judge.safetensors (default: --models)")
    parser.add_argument("--out", type=Path, required=True, help="folder for table, numbers and contact sheet")
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to evaluate (default: all)"
    )
    parser.add_argument(
        "--images", type=int, default=192, help="pictures to generate, one mesh and prompt each"
    )
    parser.add_argument("--pairs", type=int, default=96, help="pairs of each kind for the scorers")
    parser.add_argument("--scheduler", default="ddim", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=8, help="denoising steps (default: %(default)s)")
    parser.add_argument("--guidance", type=float, default=3.0, help="guidance scale (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)

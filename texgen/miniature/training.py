"""What the miniature's training programs share: arguments, data on disk, learning rate, log, resuming."""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from dataclasses import asdict
from pathlib import Path

import torch

from texgen.miniature.dataset import Samples, View, build_views, paint_views
from texgen.miniature.scale import IMAGE_SIZE, SCALES


def arguments(description: str, argv: list[str] | None = None) -> argparse.Namespace:
    """Command line of a training program: where the data is, where to write, how much to train."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the painted world (made if missing)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log and resume file")
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def make_world(folder: Path, scale: str, seed: int = 0) -> None:
    """Rasterise and paint the world once into ``folder/samples.pt`` (and the unpainted ``views.pt``)."""
    size = SCALES[scale]
    views_file, samples_file = folder / "views.pt", folder / "samples.pt"
    folder.mkdir(parents=True, exist_ok=True)
    if not views_file.exists():
        _save(views_file, [asdict(v) for v in build_views(size.views, seed, IMAGE_SIZE)])
    if not samples_file.exists():
        _save(samples_file, asdict(paint_views(load_views(folder), size.samples, seed, IMAGE_SIZE)))


def load_views(folder: Path) -> list[View]:
    """The rasterised views of a world."""
    return [View(**v) for v in torch.load(folder / "views.pt", weights_only=True)]


def load_samples(folder: Path) -> Samples:
    """The painted samples of a world; made by `python -m texgen.miniature.world`."""
    path = folder / "samples.pt"
    if not path.exists():
        raise SystemExit(
            f"{path} is missing; make it with `python -m texgen.miniature.world --out {folder}`."
        )
    return Samples(**torch.load(path, weights_only=True, mmap=True))


def _save(path: Path, value: object) -> None:
    temporary = path.with_suffix(".part")
    torch.save(value, temporary)
    temporary.replace(path)


def learning_rate(step: int, steps: int, peak: float, warmup: int = 100) -> float:
    """Linear warm-up, then cosine decay to 5 % of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def save_resume(
    path: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, **extra
) -> None:
    """Write model, optimiser and step so that a killed training goes on."""
    _save(path, {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), **extra})


def resume(path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load what `save_resume` wrote; the step to go on with (0 when there is nothing)."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


class Log:
    """A JSONL file of training values and a line on the terminal every 50 steps."""

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps = path, steps
        self.start = time.monotonic()
        self.sums: dict[str, float] = {}
        self.count = 0

    def write(self, step: int, **values: float) -> None:
        """Add one step's values; every 50 steps their means are written."""
        self.count += 1
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        if step % 50 == 49 or step == self.steps - 1:
            means = {name: round(total / self.count, 5) for name, total in self.sums.items()}
            row = {"step": step + 1, **means, "seconds": round(time.monotonic() - self.start, 1)}
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            self.sums, self.count = {}, 0

"""What the miniature's training programs share: arguments, data on disk, learning rate, log, resuming."""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import fmean
from typing import TypeVar

import torch
import torch.distributed as dist
from diffusers import ModelMixin

from texgen.files import atomic_path
from texgen.miniature.dataset import Samples, View, build_views, paint_views
from texgen.miniature.scale import IMAGE_SIZE, SCALES

Item = TypeVar("Item")


def arguments(
    description: str,
    argv: list[str] | None = None,
    parts: list[str] | None = None,
    prolongs: bool = False,
) -> argparse.Namespace:
    """Command line of a training program: where the data is, where to write, how much to train.

    parts: what `--part` chooses from, for programs that train several models.
    prolongs: whether the program takes `--steps` and can begin with finished weights (`--begin-with`).
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the painted world (made if missing)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log and resume file")
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    if parts:
        parser.add_argument("--part", choices=parts, required=True, help="which of its models to train")
    if prolongs:
        parser.add_argument("--steps", type=int, help="steps of the training, instead of the scale's")
        parser.add_argument("--rate", type=float, help="peak learning rate, instead of the program's own")
        parser.add_argument("--fall", type=float, default=0.25, help="share of the steps with a falling rate")
        parser.add_argument(
            "--begin-with", type=Path, help="folder of finished weights to begin with, instead of random ones"
        )
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def join_processes() -> tuple[int, int]:
    """This process's number and how many train together, as `torchrun` says; (0, 1) without it.

    On a CPU one process per core is half again as fast as one process with as many threads: small networks
    spend much of their time where threads wait for each other.
    """
    if "RANK" not in os.environ:
        return 0, 1
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def wait_for_all() -> None:
    """Return when every process has come here; at once for a single one."""
    if dist.is_initialized():
        dist.barrier()


def average_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Replace the gradients by their mean over all processes; nothing to do for a single one."""
    if not dist.is_initialized():
        return
    flat = torch.cat([p.grad.reshape(-1) for p in parameters])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for p in parameters:
        p.grad.copy_(flat[start : start + p.numel()].view_as(p))
        start += p.numel()


def make_world(folder: Path, scale: str, seed: int = 0, workers: int = 1) -> None:
    """Rasterise and paint the world once into ``folder/samples.pt`` (and the unpainted ``views.pt``).

    workers: processes that rasterise; the world does not depend on it.
    """
    size = SCALES[scale]
    views_file, samples_file = folder / "views.pt", folder / "samples.pt"
    folder.mkdir(parents=True, exist_ok=True)
    if not views_file.exists():
        views = progress(build_views(size.views, seed, IMAGE_SIZE, workers=workers), size.views, "views")
        save_tensors(views_file, [vars(v) for v in views])
    if not samples_file.exists():
        save_tensors(samples_file, vars(paint_views(load_views(folder), size.samples, seed, IMAGE_SIZE)))


def progress(items: Iterable[Item], total: int, name: str) -> Iterator[Item]:
    """``items`` with a line on the terminal after every tenth of them."""
    start = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if number % max(1, total // 10) == 0:
            print(f"{number} of {total} {name}, {time.monotonic() - start:.0f} s", flush=True)


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


def save_tensors(path: Path, value: object) -> None:
    """`torch.save` that leaves no half file when it is killed."""
    with atomic_path(path) as temporary:
        torch.save(value, temporary)


def save_half(model: ModelMixin, folder: Path) -> None:
    """`save_pretrained` in half precision, so that the files stay small; the model itself keeps its own."""
    copy.deepcopy(model).half().save_pretrained(folder)
    drop_fields(folder / "config.json", "_name_or_path")


def drop_fields(config: Path, *names: str) -> None:
    """Remove fields that do not belong into a shipped configuration file."""
    values = json.loads(config.read_text())
    kept = {name: value for name, value in values.items() if name not in names}
    config.write_text(json.dumps(kept, indent=2) + "\n")


def learning_rate(step: int, steps: int, peak: float, warmup: int = 100, fall: float = 0.25) -> float:
    """Linear warm-up, the peak, then over the last share ``fall`` of the steps a linear fall to 2 % of it.

    Unlike a cosine, the plateau does not depend on the length, so that a training can be prolonged.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * min(1.0, max(0.02, (1 - step / max(1, steps)) / fall))


def save_resume(
    path: Path, step: int, model: torch.nn.Module, optimizer: torch.optim.Optimizer, **extra
) -> None:
    """Write model, optimiser and step so that a killed training goes on."""
    save_tensors(
        path, {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), **extra}
    )


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
        self.values: dict[str, list[float]] = {}

    def write(self, step: int, **values: float) -> None:
        """Add one step's values; every 50 steps their means are written."""
        for name, value in values.items():
            self.values.setdefault(name, []).append(value)
        if step % 50 == 49 or step == self.steps - 1:
            means = {name: round(fmean(values), 5) for name, values in self.values.items()}
            row = {"step": step + 1, **means, "seconds": round(time.monotonic() - self.start, 1)}
            with self.path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)
            self.values = {}

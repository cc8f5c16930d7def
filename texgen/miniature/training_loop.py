"""What the miniature's training programs share: command line, the loop over steps, log, resuming, saving."""

from __future__ import annotations

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import ModelMixin

from texgen.miniature.scale import DEVICES, SCALES, TrainingStage, chosen_device
from texgen.miniature.steps import TrainingStep, restore, set_rate
from texgen.storage.files import atomic_path

LOG_SECONDS, SAVE_SECONDS = 5.0, 60.0
FALL = 0.7


def training_parser(description: str | None, begins: bool = False) -> argparse.ArgumentParser:
    """Command line of a training program: where the data is, where to write, how much to train.

    begins: whether it can begin with finished weights (`--begin-with`).
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that `python -m texgen.miniature.world` made"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log and resume file")
    parser.add_argument("--scale", choices=sorted(SCALES), default="full")
    parser.add_argument("--device", choices=DEVICES, default="auto", help="default: a GPU where there is one")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=_above_zero(int), help="of the training, instead of the scale's")
    length.add_argument(
        "--budget", type=_above_zero(float), help="seconds of training, instead of a number of steps"
    )
    parser.add_argument("--batch", type=_above_zero(int), help="instead of the scale's")
    parser.add_argument("--rate", type=_above_zero(float), help="peak learning rate, instead of the scale's")
    parser.add_argument(
        "--fall", type=_above_zero(float), default=FALL, help="share of the training with a falling rate"
    )
    if begins:
        parser.add_argument(
            "--begin-with", type=Path, help="folder of finished weights to begin with, instead of random ones"
        )
    return parser


def add_compile_option(parser: argparse.ArgumentParser) -> None:
    """`--compile`, for programs whose networks gain by it."""
    parser.add_argument(
        "--compile", action="store_true", help="compile networks: a minute or two, for steps of half the time"
    )


def _above_zero(kind: type) -> Callable[[str], float]:
    def read(text: str) -> float:
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return read


@dataclass
class TrainingRun:
    """The training of one part: on which device, in which processes, for how long.

    steps: how many; None: for ``budget`` seconds since ``begin``, preparations included.
    """

    part: str
    out: Path
    device: torch.device
    stage: TrainingStage
    steps: int | None
    budget: float | None
    fall: float
    rank: int
    processes: int
    begin: float = field(default_factory=lambda: time.monotonic())


def start_run(args: argparse.Namespace, part: str) -> TrainingRun:
    """What the command line says of a part's training; joins the other processes and sets up the device."""
    device = chosen_device(args.device)
    stage = SCALES[args.scale][device.type].stages[part]
    stage = TrainingStage(
        args.steps or stage.steps, args.batch or stage.batch, args.rate or stage.rate, stage.warmup
    )
    torch.set_num_threads(args.threads)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    args.out.mkdir(parents=True, exist_ok=True)
    rank, processes = join_processes(device)
    steps = None if args.budget else stage.steps
    return TrainingRun(part, args.out, device, stage, steps, args.budget, args.fall, rank, processes)


def join_processes(device: torch.device) -> tuple[int, int]:
    """This process's number and how many train together, as `torchrun` says; (0, 1) without it.

    On a CPU one process per core is half again as fast as one process with as many threads: small networks
    spend much of their time where threads wait for each other.
    """
    if dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    if "RANK" not in os.environ:
        return 0, 1
    if device.type == "cuda" and int(os.environ["WORLD_SIZE"]) > 1:
        raise SystemExit("Several processes train on a CPU only; on a GPU start one, without torchrun.")
    dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def wait_for_all() -> None:
    """Return when every process has come here; at once for a single one."""
    if dist.is_initialized():
        dist.barrier()


def learning_rate(step: int, share: float, peak: float, warmup: int, fall: float) -> float:
    """Linear warm-up over steps, the peak, then a cosine to 0 over the last share ``fall`` of the training,
    of which ``share`` is over."""
    rate = peak * min(1.0, (step + 1) / max(1, warmup))
    begun = (share - (1 - fall)) / fall
    return rate if begun <= 0 else rate * 0.5 * (1 + math.cos(math.pi * min(1.0, begun)))


class TrainingClock:
    """Which share of a training is over, the same for all processes: of the steps, or of the seconds."""

    def __init__(self, run: TrainingRun, spent: float = 0.0) -> None:
        self.run, self.begin = run, run.begin - spent

    def seconds(self) -> float:
        """Seconds spent, with those of earlier runs that this one goes on with."""
        return time.monotonic() - self.begin

    def share(self, step: int) -> float:
        """From 0 to 1 and, in seconds, a little beyond."""
        if self.run.steps is not None:
            return step / self.run.steps
        share = torch.tensor(self.seconds() / self.run.budget, dtype=torch.float64)
        if dist.is_initialized():
            dist.broadcast(share, 0)
        return float(share)


def train(
    run: TrainingRun,
    kept: torch.nn.Module,
    steps: Sequence[TrainingStep],
    choose: Callable[[int, float], TrainingStep] | None = None,
    checkpoint: Callable[[], None] | None = None,
) -> None:
    """Run steps until the training is over, or go on with one that was stopped.

    Args:
        kept: what is saved to go on with, beside the optimiser, which all ``steps`` share.
        choose: the step to run next, from its number and the share that is over; default: the first one.
        checkpoint: writes what there is so far; called from time to time in the first process.
    """
    optimizer, resume_file = steps[0].optimizer, run.out / f"{run.part}.resume.pt"
    start, spent = resume(resume_file, kept, optimizer, run.device)
    # Processes draw different batches, and those that go on others than before.
    torch.manual_seed((1 + start) * 1_000_003 + run.rank)
    log = Log(run.out / f"{run.part}.jsonl", steps)
    set_rate(optimizer, 0.0)
    clock = TrainingClock(run, spent)
    if run.device.type == "cuda" and clock.share(start) < 1:
        for step in steps:
            print(f"{run.part} {step.name} {step.capture()}".replace("  ", " "), flush=True)
    average, saved, number = steps[0].average, time.monotonic(), start
    while (share := clock.share(number)) < 1 or number == 0:  # preparing can take all of a short time
        set_rate(optimizer, learning_rate(number, share, run.stage.rate, run.stage.warmup, run.fall))
        if average is not None:
            average.before(number)
        (choose(number, share) if choose else steps[0])()
        number += 1
        if run.device.type == "cuda" and number % 8 == 0:
            torch.cuda.synchronize()  # launches may not run ahead of the clock
        if run.rank == 0:
            log.write(number, clock.seconds())
            if time.monotonic() - saved > SAVE_SECONDS:
                save_resume(resume_file, number, clock.seconds(), kept, optimizer)
                if checkpoint is not None:
                    checkpoint()
                saved = time.monotonic()
    if run.rank == 0 and number > start:
        log.write(number, clock.seconds(), last=True)
        save_resume(resume_file, number, clock.seconds(), kept, optimizer)
    wait_for_all()


def save_resume(
    path: Path, step: int, seconds: float, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write model, optimiser, step and seconds spent so that a stopped training goes on."""
    state = {"step": step, "seconds": seconds}
    save_tensors(path, state | {"model": model.state_dict(), "optimizer": optimizer.state_dict()})


def resume(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
) -> tuple[int, float]:
    """Load what `save_resume` wrote; the steps and seconds that are over (0 where there is nothing)."""
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location=device)
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise SystemExit(
            f"{path} is of other networks than these; delete it, or give the same options. ({error})"
        ) from error
    restore(optimizer, state["optimizer"])
    return state["step"], state["seconds"]


def save_tensors(path: Path, value: object) -> None:
    """`torch.save` that leaves no half file when it is killed."""
    with atomic_path(path) as temporary:
        torch.save(value, temporary)


def save_half(model: ModelMixin, folder: Path) -> None:
    """`save_pretrained` in half precision, so that the files stay small; the model itself keeps its own."""
    copy.deepcopy(model).half().to("cpu", memory_format=torch.contiguous_format).save_pretrained(folder)
    drop_fields(folder / "config.json", "_name_or_path")


def drop_fields(config: Path, *names: str) -> None:
    """Remove fields that do not belong into a shipped configuration file."""
    values = json.loads(config.read_text())
    kept = {name: value for name, value in values.items() if name not in names}
    config.write_text(json.dumps(kept, indent=2) + "\n")


class Log:
    """A JSONL file of the means of training values, and a line on the terminal, every few seconds."""

    def __init__(self, path: Path, steps: Sequence[TrainingStep]) -> None:
        self.path, self.steps = path, steps
        self.written = time.monotonic()

    def write(self, step: int, seconds: float, last: bool = False) -> None:
        """Write the means since the last row when it is time, or at the end."""
        if not last and time.monotonic() - self.written < LOG_SECONDS:
            return
        values = {name: round(value, 5) for each in self.steps for name, value in each.means().items()}
        if not values:
            return
        row = {"step": step, **values, "seconds": round(seconds, 1)}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)
        self.written = time.monotonic()

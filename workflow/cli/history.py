"""`texreward history`: how a training went or goes, as text, and as event files that TensorBoard shows."""

from __future__ import annotations

import argparse
import importlib.util
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from texgen import shipped
from texgen.finetune.history import read_history
from texgen.storage.plain_text import terminal
from workflow.cli.checks import UsageError, below_root
from workflow.config.configuration import load_config
from workflow.config.kinds import PREVIEWS

HISTORY = "history.jsonl"
MOST_LINES = 40
"""Steps that are printed: the measured ones, or else evenly spaced ones."""
COLUMNS = {"reward": "reward", "heldout_reward": "held-out", "heldout_kl": "KL", "grad_norm": "|grad|"}
EXTRA = "texreward[tensorboard]"


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser("history", help="how the training of a model went, or how far it is")
    parser.add_argument("model", help="model of the configuration, or a folder with history.jsonl")
    parser.add_argument("--tensorboard", help="folder to write event files into, for `tensorboard --logdir`")
    parser.add_argument(
        "--config",
        default=shipped.project_configuration(),
        help="configuration (default: %(default)s)",
    )
    parser.set_defaults(run=history)


def history(options: argparse.Namespace) -> int:
    """Print the history of a training; write event files where they are asked for."""
    if options.tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise UsageError(f"--tensorboard needs the package tensorboard; pip install '{EXTRA}'.")
    folder, name = find_history(options.model, options.config)
    rows = read_history(folder / HISTORY)
    print(terminal(table(rows)))
    if options.tensorboard is not None:
        from texgen.finetune.previews import preview_files

        out = Path(options.tensorboard) / name
        write_events(out, rows, preview_files(folder / PREVIEWS))
        print(terminal(f"{out}: written; look at it with `tensorboard --logdir {options.tensorboard}`"))
    return 0


def find_history(model: str, config: str) -> tuple[Path, str]:
    """(folder with history.jsonl, name of the model). A training that is under way comes before what an
    earlier one has finished. Raises UsageError where there is none."""
    if (Path(model) / HISTORY).is_file():
        return Path(model), Path(model).resolve().name
    settings = load_config(config)
    for part in ("training", "models"):
        folder = below_root(settings.results) / part / model
        if model in settings.models and (folder / HISTORY).is_file():
            return folder, model
    known = ", ".join(settings.models) or "none"
    raise UsageError(
        f"There is no history of {model!r}; give a folder with {HISTORY}, or a model whose training has "
        f"begun (the configuration has {known})."
    )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Aligned text: a line per step that was measured, or evenly spaced ones, and the last step."""
    chosen = [row for row in rows if row.get("heldout_reward") is not None] or list(rows)
    every = -(-len(chosen) // MOST_LINES)
    chosen = [row for row in chosen[::every] if row is not rows[-1]] + [rows[-1]]
    lines = [("step", *COLUMNS.values(), "seconds")]
    spent, upto = 0.0, iter(rows)
    for row in chosen:
        for each in upto:
            spent += each.get("seconds") or 0.0
            if each is row:
                break
        lines.append((str(row["step"]), *(_number(row.get(name)) for name in COLUMNS), f"{spent:.0f}"))
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "-"


def scalars(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, float, int]]:
    """(tag, value, step) of everything in a history that is a number; lists and texts are left out."""
    for row in rows:
        flat = {f"training/{name}": row.get(name) for name in ("reward", "loss", "kl", "grad_norm")}
        flat |= {"heldout/reward": row.get("heldout_reward"), "heldout/kl": row.get("heldout_kl")}
        flat |= {f"cost/{name}": row.get(name) for name in ("seconds", "peak_memory_bytes")}
        for group, field in (("heldout", "heldout_scores"), ("cost", "evaluations"), ("details", "details")):
            values = row.get(field)
            flat |= {f"{group}/{key}": each for key, each in (values or {}).items()}
        for tag, value in flat.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield tag, float(value), row["step"]


def write_events(out: Path, rows: Sequence[Mapping[str, Any]], previews: Mapping[int, Path]) -> None:
    """A folder with one event file: all numbers of a history, and the pictures of its previews.

    What an earlier call wrote there is replaced, so that no step is shown twice.
    """
    import numpy as np
    from PIL import Image
    from torch.utils.tensorboard import SummaryWriter

    foreign = [each for each in out.glob("*") if not each.name.startswith("events.out.tfevents.")]
    if foreign:
        raise UsageError(f"{out} holds {foreign[0].name}, which is not an event file; choose another folder.")
    temporary = out.with_name(f".{out.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    with SummaryWriter(str(temporary)) as writer:
        for tag, value, step in scalars(rows):
            writer.add_scalar(tag, value, step)
        for step, path in previews.items():
            picture = np.asarray(Image.open(path).convert("RGB"))
            writer.add_image("heldout/textures", picture, step, dataformats="HWC")
    shutil.rmtree(out, ignore_errors=True)
    temporary.rename(out)

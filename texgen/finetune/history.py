"""The record of a training run: one JSON object per line, and a line of progress for whoever watches."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from texgen.errors import DamagedFileError
from texgen.storage.files import read_bytes, write_text

FIELDS = (
    "step",  # 1 .. steps; 0 = before training
    "reward",  # mean over the step's items, to be maximised; null at step 0
    "heldout_reward",  # mean over the held-out items after the step; null where not measured
    "heldout_kl",  # divergence from the untuned model on them, per latent number and transition
    "heldout_scores",  # other scores of their textures, by name; null where not measured
    "loss",
    "kl",  # divergence during the step; null where the loss has none
    "grad_norm",  # before clipping
    "seconds",  # of this step, held-out measurement excluded
    "peak_memory_bytes",  # device memory on CUDA, else resident memory of the process
    "items",  # what the step trained on, "mesh--prompt"
    "seeds",  # noise seed of each item
    "evaluations",  # denoiser calls of the step: forward, recompute, backward
    "details",  # what only one algorithm or setting has, such as camera angles; null where there is nothing
)


def history_row(step: int, **values: Any) -> dict[str, Any]:
    """A row of the history; what is not given was not measured (no items, 0 s)."""
    return dict.fromkeys(FIELDS) | {"step": step, "seconds": 0.0, "items": [], "seeds": []} | values


class History:
    """Rows in memory and in a JSONL file; every row is on disk when `append` returns."""

    def __init__(self, path: str | Path, rows: Iterable[dict[str, Any]] = ()) -> None:
        """Starts the file anew with the given rows (those of a checkpoint when a run is resumed)."""
        self.path = Path(path)
        self.rows = list(rows)
        write_text(self.path, "".join(_line(row) for row in self.rows))

    def append(self, row: dict[str, Any]) -> None:
        """Adds one row; a missing or unknown field is a ValueError."""
        if set(row) != set(FIELDS):
            raise ValueError(f"history row: fields {sorted(set(row) ^ set(FIELDS))} are missing or unknown.")
        self.rows.append(row)
        with self.path.open("a") as stream:
            stream.write(_line(row))
            stream.flush()


def read_history(path: str | Path) -> list[dict[str, Any]]:
    """The rows of a history file. Raises DamagedFileError where there are none, or a line is none."""
    rows = []
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise DamagedFileError(
                f"{path}, line {number}, is not a row of a training history; train the model again."
            )
        rows.append(row)
    if not rows:
        raise DamagedFileError(f"{path} has no rows; train the model again.")
    return rows


class TrainingProgress:
    """A bar that is redrawn on a terminal, else a plain line at most every `interval` seconds."""

    def __init__(self, steps: int, stream: TextIO | None = None, interval: float = 20.0) -> None:
        self.steps = steps
        self.stream = sys.stderr if stream is None else stream
        self.interval = interval
        self._bar: tqdm | None = None
        self._last = -math.inf

    def __call__(self, row: dict[str, Any]) -> None:
        """Shows a history row; the last step is always shown."""
        last = row["step"] >= self.steps
        if self.stream.isatty():
            self._draw(row, last)
        elif last or time.monotonic() - self._last >= self.interval:
            self._last = time.monotonic()
            print(self.text(row), file=self.stream, flush=True)

    def _draw(self, row: dict[str, Any], last: bool) -> None:
        if self._bar is None:
            # TQDM_DISABLE, which silences the bars of libraries, does not concern it.
            self._bar = tqdm(
                desc=self.text(row),
                total=self.steps,
                file=self.stream,
                disable=False,
                dynamic_ncols=True,
                bar_format="[{bar:20}] {desc}",
            )
        self._bar.n = row["step"]
        self._bar.set_description_str(self.text(row))
        if last:
            self._bar.close()

    def text(self, row: dict[str, Any]) -> str:
        """E.g. "step 12/60  reward 0.2131  |grad| 0.031  2.1 s/step  about 1 min 40 s left"."""
        parts = [f"step {row['step']}/{self.steps}"]
        if row["reward"] is not None:
            parts.append(f"reward {row['reward']:.4f}")
        if row["heldout_reward"] is not None:
            parts.append(f"held-out {row['heldout_reward']:.4f}")
        if row["kl"] is not None or row["heldout_kl"] is not None:
            parts.append(f"KL {row['kl'] if row['kl'] is not None else row['heldout_kl']:.2g}")
        if row["grad_norm"] is not None:
            parts.append(f"|grad| {row['grad_norm']:.3g}")
        if row["step"] > 0:
            left = int((self.steps - row["step"]) * row["seconds"])
            parts.append(f"{row['seconds']:.1f} s/step")
            if left:
                parts.append(f"about {left // 60} min {left % 60} s left")
        return "  ".join(parts)


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"

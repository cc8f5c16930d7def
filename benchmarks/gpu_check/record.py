"""The time that a check may take, and what it found, written after every item."""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_check.models import ROOT


class Report:
    """Items one after the other within a budget of seconds; an item that fails or has no time left says so.

    Written to `path` after every item, so that a run that is cut off leaves what it has found.
    """

    def __init__(self, path: Path, budget: float, device: torch.device, tiny: bool) -> None:
        self.path, self.device, self.tiny = path, device, tiny
        self.started = time.monotonic()
        self.ends = self.started + budget
        self.items: dict[str, dict[str, Any]] = {}

    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.ends - time.monotonic()

    def item(self, name: str, need: float, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Run one item that takes about `need` seconds on a GPU; what it found, {} where it did not."""
        began = time.monotonic()
        if not self.tiny and self.left() < need:
            found: dict[str, Any] = {
                "skipped": f"{self.left():.0f} s left of the budget, it needs {need:.0f}"
            }
        else:
            try:
                found = run()
            # A check reports what goes wrong and goes on: one machine's trouble must not hide the rest.
            except Exception as error:
                traceback.print_exc()
                # Results travel: files of this checkout are named from its root.
                found = {"error": f"{type(error).__name__}: {error}".replace(f"{ROOT}/", "")}
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self.items[name] = {**found, "took_s": time.monotonic() - began}
        self.write()
        print(f"{name}: {json.dumps(rounded(self.items[name]))}", flush=True)
        return {} if {"skipped", "error"} & found.keys() else found

    def write(self) -> None:
        """Everything found so far."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data = {"tiny": self.tiny, "seconds": time.monotonic() - self.started, "items": self.items}
        self.path.write_text(json.dumps(rounded(data), indent=1) + "\n", encoding="utf-8")

    def failures(self) -> list[str]:
        """What was wrong: errors, and checks that were not met."""
        wrong = [f"{name}: {found['error']}" for name, found in self.items.items() if "error" in found]
        for name, found in self.items.items():
            wrong += [f"{name}: {check}" for check, met in found.get("checks", {}).items() if not met]
        return wrong


def rounded(value: Any) -> Any:
    """Numbers of four figures, and nothing that JSON does not know."""
    if isinstance(value, dict):
        return {str(key): rounded(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else str(value)
    return value if isinstance(value, int | str | bool) or value is None else str(value)


def milliseconds(
    run: Callable[[], object], device: torch.device, repeats: int = 10, warm_up: int = 3
) -> float:
    """Milliseconds of one call, the mean of some after a warm-up, on the device's clock."""
    from texgen.timing import Stopwatch

    for _ in range(warm_up):
        run()
    watch = Stopwatch(device)
    for _ in range(repeats):
        run()
    return 1000 * watch.spent().device / repeats


def psnr(a: torch.Tensor, b: torch.Tensor) -> float:
    """Of two images in [0, 1], dB; infinite for equal ones."""
    error = float((a.double().cpu() - b.double().cpu()).square().mean())
    return math.inf if error == 0 else -10 * math.log10(error)

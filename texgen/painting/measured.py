"""What a method returns for one texture, and what the making of it cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from texgen.diffusion.backbone import Backbone
from texgen.timing import Stopwatch, TimeSpent

try:
    import resource
except ImportError:  # not a Unix
    resource = None


@dataclass
class TextureResult:
    """What a method returns for one mesh, prompt and seed.

    texture: [3, T, T] in [0, 1], filled and padded. painted: [1, T, T], 1 where a view painted a texel of
    the charts, before filling. spent: painting alone, without loading models.
    peak_memory_bytes: on a GPU the most that torch had allocated during the painting; on a CPU the largest
    resident size of the whole process so far (the system keeps no other record); None = not known, of another
    program or on a system that does not say. calls: network evaluations {"unet", "controlnet"}, a guidance
    pair counted once; empty = not known. views: per view index, azimuth, elevation, word, generate, refine
    and keep (shares of the visible surface), skipped, device_seconds.
    """

    texture: Tensor
    painted: Tensor
    spent: TimeSpent
    peak_memory_bytes: int | None
    calls: dict[str, int]
    views: list[dict[str, Any]]


@dataclass
class Painted:
    """What a method's algorithm hands over. texture: [3, T, T] in [0, 1], complete. painted: [1, T, T].
    views: one record per painted view."""

    texture: Tensor
    painted: Tensor
    views: list[dict[str, Any]] = field(default_factory=list)


def measured(backbone: Backbone, work: Callable[[], Painted]) -> TextureResult:
    """Run a method's algorithm without gradients and measure time, memory and network evaluations."""
    device = backbone.device
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    calls, watch = backbone.calls.as_dict(), Stopwatch(device)
    with torch.no_grad():
        done = work()
    took = watch.spent()
    counted = {name: count - calls[name] for name, count in backbone.calls.as_dict().items()}
    return TextureResult(done.texture, done.painted, took, peak_memory_bytes(device), counted, done.views)


def peak_memory_bytes(device: torch.device) -> int | None:
    """On a GPU the most that torch had allocated since its record was reset, else `process_peak_bytes`."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else process_peak_bytes()


def process_peak_bytes() -> int | None:
    """Largest resident size of this process since it started; None where the system does not say.

    Linux counts KiB, macOS bytes.
    """
    if resource is None:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

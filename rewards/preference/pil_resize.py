"""PIL's bicubic resize of 8-bit images on any device, bit for bit: two products of matrices.

PIL computes with whole numbers: weights in units of 2^-22, sums, half a unit, a shift, a clamp to 0 ... 255,
along the width and then along the height. Whole numbers of that size are exact in float64, whose products are
quick on a GPU; images need not travel to the host and back.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

BITS = 22
"""PIL's weights have so many bits behind the point (32 less 8 of a pixel, less 2 for sums that overshoot)."""


def resize_on_device(pixels: Tensor, target: tuple[int, int]) -> Tensor:
    """`pixels [B, C, H, W]`, whole numbers from 0 to 255 of any type -> `[B, C, height, width]`, float64.

    target: (height, width). Equal to PIL's resize with `Resampling.BICUBIC`. Raises ValueError where one side
    grows and the other shrinks: PIL's versions differ in which pass comes first then.
    """
    across, down = target[1] - pixels.shape[-1], target[0] - pixels.shape[-2]
    if across * down < 0:
        raise ValueError(f"Cannot resize {tuple(pixels.shape[-2:])} to {target} as PIL does: one side grows.")
    values = pixels.double()
    for axis, size in ((-1, target[1]), (-2, target[0])):
        if values.shape[axis] == size:
            continue
        weights = bicubic_weights(values.shape[axis], size).to(values.device)
        sums = values @ weights.T if axis == -1 else weights @ values
        values = ((sums + 2 ** (BITS - 1)) / 2**BITS).floor().clamp(0, 255)
    return values


@lru_cache(maxsize=32)
def bicubic_weights(source: int, target: int) -> Tensor:
    """`[target, source]` float64: PIL's weights in units of 2^-22, whole numbers."""
    scale = source / target
    widening = max(scale, 1.0)  # antialiasing: the filter covers what one pixel of the target covers
    support = 2.0 * widening
    rows = torch.zeros(target, source, dtype=torch.float64)
    for i in range(target):
        centre = (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), source)
        found = [_cubic((j - centre + 0.5) * (1.0 / widening)) for j in range(first, last)]
        total = 0.0
        for each in found:  # in order, one by one, as PIL adds: another order may round otherwise
            total += each
        whole = [math.trunc(each / total * 2**BITS + math.copysign(0.5, each)) for each in found]
        rows[i, first:last] = torch.tensor(whole, dtype=torch.float64)
    return rows


def _cubic(x: float) -> float:
    """Keys' filter with a = -1/2, 0 from 2 on."""
    x = abs(x)
    if x < 1.0:
        return (1.5 * x - 2.5) * x * x + 1.0
    if x < 2.0:
        return (((x - 5.0) * x + 8.0) * x - 4.0) * -0.5
    return 0.0

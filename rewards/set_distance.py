"""Distance between two sets of pictures by their CLIP embeddings: CMMD (Jayasumana et al., arXiv 2401.09603).

Squared maximum mean discrepancy of unit embeddings x [N, D] and y [M, D] under the kernel
k(a, b) = exp(-|a - b|^2 / (2 sigma^2)), sigma = 10, times 1000, as its authors compute it:
    1000 (mean k(x, x') + mean k(y, y') - 2 mean k(x, y)),
with the means over all pairs, each with itself among them. Unlike FID it needs no assumption of normality and
few pictures; like FID its value belongs to one set of references, one render protocol and one CLIP.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA, SCALE = 10.0, 1000.0


def cmmd(x: Tensor, y: Tensor, sigma: float = SIGMA, scale: float = SCALE) -> float:
    """The distance of unit embeddings [N, D] and [M, D], 0 for equal sets; ValueError for empty ones."""
    if len(x) == 0 or len(y) == 0:
        raise ValueError("A distance of sets needs at least one picture in each.")
    x, y = x.double(), y.double()

    def mean(a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(())
        for part in a.split(1024):  # 10,000 renders against as many would be 800 MB at once
            total = total + torch.exp(-torch.cdist(part, b).square() / (2 * sigma**2)).sum()
        return total / (len(a) * len(b))

    return float(scale * (mean(x, x) + mean(y, y) - 2 * mean(x, y)))

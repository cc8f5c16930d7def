"""Which pixels of a new view to generate, to refine and to keep.

The idea is TEXTure's (arXiv 2302.01721); the rules are InTeX's (hard) and their soft form for training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PAINTED_THRESHOLD = 0.1
"""Painted weight below which a pixel counts as unpainted (InTeX)."""


@dataclass(frozen=True)
class Trimap:
    """Three masks [N, 1, H, W] in [0, 1] that sum to 1 at every pixel."""

    generate: Tensor
    refine: Tensor
    keep: Tensor


def hard_trimap(count: Tensor, best_cosine: Tensor, cosine: Tensor) -> Trimap:
    """Trimap of 0s and 1s, for inference.

    count: [N, 1, H, W] painted weight as rendered in this view; the caller composites it over 1 so that the
    background counts as painted. best_cosine: best cosine any earlier view had at the surface (-1 = none).
    cosine: this view's cosine. generate = count < 0.1; refine = best_cosine < cosine elsewhere; keep = the
    rest.
    """
    generate = count < PAINTED_THRESHOLD
    refine = (best_cosine < cosine) & ~generate
    keep = ~(generate | refine)
    return Trimap(generate.to(count.dtype), refine.to(count.dtype), keep.to(count.dtype))


def soft_trimap(count: Tensor, best_cosine: Tensor, cosine: Tensor, sharpness: float = 100.0) -> Trimap:
    """The same rules with sigmoids of slope `sharpness` in place of the comparisons, for training.

    Shapes as in `hard_trimap`; differentiable in all three. With s the sigmoid and k the sharpness:
    g = 1 - s(k (count - 0.1)), b = s(k (cosine - best_cosine)), refine = (1 - g) b, keep = (1 - g)(1 - b), so
    that the three sum to 1. (The released training code has keep = (1 - g)(1 - (1 - g) b), with which the sum
    exceeds 1 by g times refine where the first sigmoid is not saturated.)
    """
    painted = torch.sigmoid(sharpness * (count - PAINTED_THRESHOLD))
    better = torch.sigmoid(sharpness * (cosine - best_cosine))
    return Trimap(1 - painted, painted * better, painted * (1 - better))

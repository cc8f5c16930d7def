"""Which pixels of a new view to generate, to refine and to keep.

The idea is TEXTure's (arXiv 2302.01721); the rules are InTeX's (hard) and their soft form for training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
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


def dilate(mask: Tensor, side: int) -> Tensor:
    """A mask [N, 1, H, W] of 0s and 1s grown by a square of `side` (odd) pixels; 1 changes nothing."""
    return F.max_pool2d(mask, side, stride=1, padding=side // 2)


def erode(mask: Tensor, side: int) -> Tensor:
    """A mask shrunk by a square of `side` (odd) pixels; what lies beyond the image counts as inside."""
    return 1 - dilate(1 - mask, side)


def kernel_side(published: int, size: int, published_size: int) -> int:
    """A kernel's side, odd and at least 1, for images of another size than that it was published for."""
    return (
        2 * round((published * size / published_size - 1) / 2) + 1 if published * size > published_size else 1
    )


REFINE_MARGIN = 0.2
"""By how much a cosine must exceed the best so far for TEXTure to refine."""


def texture_trimap(count: Tensor, best_cosine: Tensor, cosine: Tensor, mask: Tensor) -> Trimap:
    """TEXTure's trimap (arXiv 2302.01721, section 3.2, as released), of 0s and 1s.

    Shapes [N, 1, R, R]; arguments as in `hard_trimap`, mask: 1 on the object. Kernels are published for 1200
    pixels and scaled to R. generate: unpainted pixels, dilated by 19; refine: seen better by 0.2 than ever
    before, opened by 5, and not within 7 of the silhouette; keep: the rest, background included.
    """
    size = mask.shape[-1]
    opening = kernel_side(5, size, 1200)
    unpainted = ((count < PAINTED_THRESHOLD) & (mask > 0)).to(count.dtype)
    generate = dilate(unpainted, kernel_side(19, size, 1200))
    better = ((cosine > best_cosine + REFINE_MARGIN) & (best_cosine > 0) & (mask > 0)).to(count.dtype)
    refine = (
        dilate(erode(better, opening), opening) * erode(mask, kernel_side(7, size, 1200)) * (1 - generate)
    )
    return Trimap(generate, refine, 1 - torch.maximum(generate, refine))


def checkerboard(size: int, cells: int = 32, like: Tensor | None = None) -> Tensor:
    """[1, 1, size, size] of 0s and 1s with `cells` squares a side; the first is 1."""
    index = torch.arange(size, device=None if like is None else like.device) * cells // size
    board = 1 - (index[:, None] + index[None]) % 2
    return board.to(torch.float32 if like is None else like.dtype)[None, None]

"""Text2Tex's choice of views: which pixels of a view are new, to be updated or kept; the hottest view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from texgen.backprojection.backproject import read_nearest
from texgen.backprojection.trimap import erode, kernel_side
from texgen.render.cameras import Cameras
from texgen.render.images import GeometryBuffer

HEAT = {"keep": 0.1, "update": 0.5, "new": 1.0}
"""What a pixel of each class adds to a candidate's heat; the background adds nothing."""
REVISIT = 0.01
"""Factor on the heat of a view that was chosen."""


@dataclass(frozen=True, eq=False)
class Classes:
    """Masks [1, 1, R, R] of 0s and 1s of one view: texels to paint anew, to update, to keep."""

    new: Tensor
    update: Tensor
    keep: Tensor


@dataclass(frozen=True, eq=False)
class Candidate:
    """One view as the choice of views needs it.

    buffer: of its render, N = 1. texel: [H * W] as `pixel_texels` gives it. similarity: [1, T, T] cosine to
    the eye of the texels that it sees, and camera; None where only this view's pixels are classified.
    """

    buffer: GeometryBuffer
    texel: Tensor
    similarity: Tensor | None = None
    camera: Cameras | None = None


def inner_mask(buffer: GeometryBuffer) -> Tensor:
    """[1, 1, R, R] of 0s and 1s: the object without 2 pixels (of 768) at its silhouette."""
    return erode(buffer.mask, kernel_side(5, buffer.mask.shape[-1], 768))


def classify(candidate: Candidate, exist: Tensor, best: Tensor, index: int, threshold: float) -> Classes:
    """What to do with the pixels of a view.

    exist: [1, T, T], 1 where painted. best: [T, T] int64, the view of the stage that is most similar to each
    texel; index: of this view among them. threshold: cosine from which a pixel can be painted.
    """
    buffer = candidate.buffer
    maps = torch.cat([exist, (best == index)[None].to(exist.dtype)])
    painted, mine = read_nearest(maps, candidate.texel, buffer).chunk(2, dim=1)
    valid = (buffer.cosine * inner_mask(buffer) >= threshold).to(exist.dtype) * buffer.mask
    update = valid * painted * mine
    return Classes(valid * (1 - painted), update, valid * painted - update)


def heat(classes: Classes) -> float:
    """Sum of the weights of a view's pixels, over the number of all its pixels."""
    total = sum(HEAT[name] * float(getattr(classes, name).sum()) for name in HEAT)
    return total / classes.new.numel()


def choose(heats: Sequence[float], chosen: Sequence[int]) -> int:
    """The hottest candidate; every earlier choice of a view makes it 100 times cooler."""
    cooled = [value * REVISIT ** list(chosen).count(i) for i, value in enumerate(heats)]
    return max(range(len(cooled)), key=cooled.__getitem__)

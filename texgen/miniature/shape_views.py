"""A view of a shape: all that is needed to paint it again and again without casting rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from texgen.miniature.materials import BACKGROUND


@dataclass
class ShapeView:
    """One view of one shape.

    Attributes:
        shape: name of the shape, for the caption.
        pixels: ``[P]`` flat indices of the pixels that see the surface.
        positions: ``[P, 3]`` float16 mean surface position under each of them.
        coverage: ``[P]`` uint8 share of the pixel's subsamples that see the surface, 255 = all.
        normals: ``[P, 3]`` int8 mean world-space normal under each of them, times 127.
        depth: ``[size, size]`` uint8 control image, 1/depth scaled over all vertices (near 255, else 0).
        eye: ``[3]`` float32 unit direction from the object to the camera.
        word: the word for that direction, `texgen.render.cameras.direction_word`.
    """

    shape: str
    pixels: Tensor
    positions: Tensor
    coverage: Tensor
    normals: Tensor
    depth: Tensor
    eye: Tensor
    word: str


def paint_view(view: ShapeView, albedo: Tensor, background: Tensor | None = None) -> Tensor:
    """Colours ``[P, 3]`` uint8 of the view's pixels: albedo ``[P, 3]`` over a background ``[3]``, the world's
    where none is given."""
    if background is None:
        background = torch.tensor(BACKGROUND)
    cover = view.coverage.float()[:, None] / 255
    return ((background + (albedo - background) * cover) * 255).round().to(torch.uint8)

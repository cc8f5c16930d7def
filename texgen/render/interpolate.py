"""Barycentrics from a known face index, and interpolation with them.

Which face a pixel sees is found elsewhere (`rasterize`) and is not differentiable. What is computed here is a
smooth function of the vertices and the cameras, so gradients flow to both on every device.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from texgen.render.cameras import Cameras, Size, clip_from_world, image_size, pixel_grid, transform


@dataclass(frozen=True, eq=False)
class HitCorners:
    """The P pixels that see something, with the clip-space corners of what they see.

    index: [P] positions in the flattened [N, H, W]. corners: [P, 3, 3], for each corner (x, y, w) in clip
    space.
    x, y: [P] ndc of the pixel centres. size: (H, W).
    """

    index: Tensor
    corners: Tensor
    x: Tensor
    y: Tensor
    size: tuple[int, int]


def hit_corners(vertices: Tensor, faces: Tensor, cameras: Cameras, face: Tensor, size: Size) -> HitCorners:
    """Gather what `pixel_barycentrics` needs. vertices [V, 3], faces [F, 3], face [N, H, W] with -1 for
    nothing.
    """
    height, width = image_size(size)
    if face.shape != (len(cameras), height, width):
        raise ValueError(
            f"The face index has shape {tuple(face.shape)}, but {len(cameras)} cameras at {height} x {width} "
            f"need {(len(cameras), height, width)}."
        )
    clip = transform(vertices, clip_from_world(cameras, width / height))[..., (0, 1, 3)]
    flat = face.reshape(-1)
    index = torch.nonzero(flat >= 0).squeeze(1)
    camera = torch.div(index, height * width, rounding_mode="floor")
    corner = faces.index_select(0, flat[index]) + (camera * vertices.shape[0])[:, None]
    corners = clip.reshape(-1, 3).index_select(0, corner.reshape(-1)).reshape(-1, 3, 3)
    x, y = pixel_grid(size, clip.dtype, clip.device)
    within = index % (height * width)
    row = torch.div(within, width, rounding_mode="floor")
    return HitCorners(index, corners, x[within % width], y[row], (height, width))


def pixel_barycentrics(hits: HitCorners, offset: tuple[float, float] = (0.0, 0.0)) -> Tensor:
    """Perspective-correct barycentrics [P, 3] of the pixel centres moved by `offset` = (right, down) pixels.

    With clip corners q = (x, y, w) and the pixel p = (ndc x, ndc y, 1), the i-th is proportional to
    det(q_j, q_k, p). The determinant does not change when w * p is taken from each corner, which leaves a 2 x
    2 determinant of small numbers: in float32 the plain triple product loses most digits on faces of a few
    pixels.
    """
    height, width = hits.size
    x = hits.x + offset[0] * (2.0 / width)
    y = hits.y - offset[1] * (2.0 / height)
    w = hits.corners[..., 2]
    dx = hits.corners[..., 0] - w * x[:, None]
    dy = hits.corners[..., 1] - w * y[:, None]
    weights = torch.stack(
        [
            dx[:, 1] * dy[:, 2] - dx[:, 2] * dy[:, 1],
            dx[:, 2] * dy[:, 0] - dx[:, 0] * dy[:, 2],
            dx[:, 0] * dy[:, 1] - dx[:, 1] * dy[:, 0],
        ],
        dim=-1,
    )
    total = weights[:, :1] + weights[:, 1:2] + weights[:, 2:]
    # A face seen exactly edge-on has no area; it gets its centre instead of a division by zero.
    flat = total == 0
    return torch.where(flat, torch.full_like(weights, 1 / 3), weights / total.masked_fill(flat, 1.0))


def spread(values: Tensor, hits: HitCorners, views: int) -> Tensor:
    """Put per-hit values [P, C] into images [N, H, W, C] that are 0 elsewhere."""
    height, width = hits.size
    canvas = values.new_zeros(views * height * width, values.shape[-1])
    return canvas.index_copy(0, hits.index, values).reshape(views, height, width, -1)


def barycentrics(
    vertices: Tensor,
    faces: Tensor,
    cameras: Cameras,
    face: Tensor,
    size: Size,
    offset: tuple[float, float] = (0.0, 0.0),
) -> Tensor:
    """Perspective-correct barycentrics [N, H, W, 3] of the seen faces, 0 where nothing is seen.

    vertices [V, 3], faces [F, 3], face [N, H, W] from `rasterize`. offset: (right, down) in pixels; with it
    the barycentrics of the neighbouring pixel in the plane of the same face, so that differences are
    derivatives. Differentiable in the vertices and the cameras. They sum to 1; with an offset they may be
    negative.
    """
    hits = hit_corners(vertices, faces, cameras, face, size)
    return spread(pixel_barycentrics(hits, offset), hits, len(cameras))


def interpolate(attribute: Tensor, corner_index: Tensor, face: Tensor, bary: Tensor) -> Tensor:
    """Values [N, H, W, C] of a per-corner attribute, 0 where nothing is seen. Differentiable in both.

    attribute [V, C] with corner_index [F, 3] into it: the faces for per-vertex data, the uv faces for uvs.
    face [N, H, W], bary [N, H, W, 3]; any leading shape works.
    """
    flat = face.reshape(-1)
    index = torch.nonzero(flat >= 0).squeeze(1)
    values = interpolate_hits(attribute, corner_index, flat[index], bary.reshape(-1, 3)[index])
    canvas = values.new_zeros(flat.shape[0], attribute.shape[-1])
    return canvas.index_copy(0, index, values).reshape(*face.shape, attribute.shape[-1])


def interpolate_hits(attribute: Tensor, corner_index: Tensor, face: Tensor, bary: Tensor) -> Tensor:
    """`interpolate` for a list of hits: face [P] without -1, bary [P, 3] -> [P, C]."""
    corners = attribute.index_select(0, corner_index.index_select(0, face).reshape(-1))
    return mix_corners(corners.reshape(-1, 3, attribute.shape[-1]), bary)


def mix_corners(corners: Tensor, bary: Tensor) -> Tensor:
    """Weighted sum of three corners: corners [P, 3, C], bary [P, 3] -> [P, C]."""
    # Written out: a reduction over a dimension of 3 takes several times as long on a CPU.
    return corners[:, 0] * bary[:, :1] + corners[:, 1] * bary[:, 1:2] + corners[:, 2] * bary[:, 2:]

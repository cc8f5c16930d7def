"""What a texture alone tells about itself, without any model: coverage, seams, background, views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from texgen.mesh.mesh import Mesh, face_cross
from texgen.render.atlas import Atlas
from texgen.render.cameras import rig_cameras
from texgen.render.images import geometry_buffer
from texgen.render.texture_lookup import sample

SEAM_POINTS = 4
"""Points on every seam edge at which both sides are compared."""
BACKGROUND_DISTANCE = 0.1
"""How near, in RGB of [0, 1], a colour is to the background's to count as it."""
QUANTILES = 64
"""How finely a view's colours are described along one direction of colour space."""


@dataclass(frozen=True, eq=False)
class MeasuredSurface:
    """What the measures need of one mesh at one texture size T.

    texel_area: [T, T], surface area under each texel, 0 outside the charts. seam_a, seam_b: [S, 2] uv of the
    same surface points seen from the two charts that meet there, weighted by seam_weight [S] (length).
    views: for each camera the uv [P, 2] of the pixels that see the surface.
    """

    texel_area: Tensor
    seam_a: Tensor
    seam_b: Tensor
    seam_weight: Tensor
    views: tuple[Tensor, ...]


def prepare_surface(mesh: Mesh, atlas: Atlas, rig: str = "evaluation", size: int = 96) -> MeasuredSurface:
    """Everything of a mesh that does not depend on its texture; rig, size: cameras of the consistency."""
    buffer = geometry_buffer(mesh, rig_cameras(rig), size)
    views = tuple(uv[mask[0] > 0] for uv, mask in zip(buffer.uv, buffer.mask, strict=True))
    return MeasuredSurface(texel_area(mesh, atlas), *seam_points(mesh), tuple(uv for uv in views if len(uv)))


def texel_area(mesh: Mesh, atlas: Atlas) -> Tensor:
    """[T, T]: surface area that each covered texel stands for: its face's area, shared by its texels."""
    face = atlas.face.reshape(-1)
    inside = face >= 0
    texels = torch.bincount(face[inside], minlength=len(mesh.faces))
    area = face_cross(mesh.vertices, mesh.faces).norm(dim=-1) / 2
    share = area / texels.clamp(min=1)
    return torch.where(inside, share[face.clamp(min=0)], torch.zeros_like(share[:1])).reshape(
        atlas.face.shape
    )


def seam_points(mesh: Mesh, per_edge: int = SEAM_POINTS) -> tuple[Tensor, Tensor, Tensor]:
    """Points on the edges where two faces meet on the surface but not in the texture.

    Returns their uv in the one face and in the other, [S, 2] each, and the length they stand for [S]. Edges
    of one face, or of more than two, are left out.
    """
    faces, uv_faces = mesh.faces.cpu().numpy(), mesh.uv_faces.cpu().numpy()
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    uv_start, uv_end = uv_faces.reshape(-1), np.roll(uv_faces, -1, axis=1).reshape(-1)
    turned = start > end
    edge = np.where(turned[:, None], np.stack((end, start), 1), np.stack((start, end), 1))
    uv_edge = np.where(turned[:, None], np.stack((uv_end, uv_start), 1), np.stack((uv_start, uv_end), 1))
    order = np.lexsort((edge[:, 1], edge[:, 0]))
    edge, uv_edge = edge[order], uv_edge[order]
    first = np.flatnonzero(np.append(True, (edge[1:] != edge[:-1]).any(axis=1)))
    first = first[np.diff(np.append(first, len(edge))) == 2]
    uvs = mesh.uvs.cpu()
    a, b = uvs[uv_edge[first]], uvs[uv_edge[first + 1]]  # [E, 2 ends, 2]
    apart = (a - b).abs().amax(dim=(1, 2)) > 1e-6
    ends = mesh.vertices.cpu()[edge[first]][apart]
    length = (ends[:, 1] - ends[:, 0]).norm(dim=-1)
    along = ((torch.arange(per_edge) + 0.5) / per_edge)[None, :, None]
    points = [(uv[:, :1] * (1 - along) + uv[:, 1:] * along).reshape(-1, 2) for uv in (a[apart], b[apart])]
    return points[0], points[1], (length / per_edge).repeat_interleave(per_edge)


def coverage(painted: Tensor, surface: MeasuredSurface) -> float:
    """Share of the surface area, in [0, 1], that some view painted before the rest was filled in.

    painted: [1, T, T], painted where > 0.5.
    """
    area = surface.texel_area.to(painted)
    return float((area * (painted[0] > 0.5)).sum() / area.sum().clamp(min=1e-30))


def background_bleed(texture: Tensor, surface: MeasuredSurface, background: tuple[float, ...]) -> float:
    """Share of the surface area, in [0, 1], that has the colour of the background behind the painted views.

    texture: [3, T, T] in [0, 1]. background: [3] in [0, 1]; a colour within `BACKGROUND_DISTANCE` of it
    counts. Painted views show it beside the silhouette, and projecting that puts it on the object. It is an
    error only where no material has that colour: choose the background so, or compare methods on the same
    prompts.
    """
    colour = torch.as_tensor(background, dtype=texture.dtype, device=texture.device)[:, None, None]
    near = (texture - colour).norm(dim=0) < BACKGROUND_DISTANCE
    area = surface.texel_area.to(texture)
    return float((area * near).sum() / area.sum().clamp(min=1e-30))


def seam_error(texture: Tensor, surface: MeasuredSurface) -> float | None:
    """Mean absolute RGB difference, in [0, 1], between the two sides of the chart borders, by length.

    texture: [3, T, T] in [0, 1], padded. 0 = no visible seam. Both sides are read by bilinear lookup at the
    same surface points, so a texture that is continuous on the surface scores about its change over one
    texel. None for a mesh without seams.
    """
    if not len(surface.seam_weight):
        return None
    jump = (sample(texture, surface.seam_a) - sample(texture, surface.seam_b)).abs().mean(dim=-1)
    return float((jump * surface.seam_weight).sum() / surface.seam_weight.sum())


def multiview_consistency(texture: Tensor, surface: MeasuredSurface, quantiles: int = QUANTILES) -> float:
    """1 - the mean distance between the colour distributions that any two views see; 1 = all views alike.

    The distance is the sliced 1-Wasserstein distance: the colours of either view are projected on 13 fixed
    directions of RGB space (axes, face and space diagonals, unit length), and the mean gap between equal
    quantiles is averaged over the directions. It needs no correspondence, so it sees a front and a back of
    different style or colour; it also sees what rightly differs (a face and a back of a head), and is to be
    compared between methods on the same meshes and prompts only.
    """
    directions = colour_directions().to(texture)
    share = (torch.arange(quantiles, dtype=texture.dtype) + 0.5) / quantiles
    curves = []
    for uv in surface.views:
        projected = (sample(texture, uv) @ directions.T).sort(dim=0).values
        rank = (share * len(uv)).long().clamp(max=len(uv) - 1)
        curves.append(projected[rank])
    if len(curves) < 2:
        return 1.0
    stacked = torch.stack(curves).flatten(1)  # [V, Q * D]
    distance = torch.cdist(stacked, stacked, p=1) / stacked.shape[1]
    views = len(curves)
    return 1.0 - float(distance.sum() / (views * (views - 1)))


def colour_directions() -> Tensor:
    """[13, 3] unit vectors: the axes, face diagonals and space diagonals of the colour cube."""
    grid = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0])] * 3)
    half = grid[14:]  # one of each pair of opposite directions; 13 is the zero vector
    return half / half.norm(dim=-1, keepdim=True)


class MeasuredTexture(NamedTuple):
    """What a measure may look at. texture: [3, T, T] and painted: [1, T, T] in [0, 1]. surface: of its mesh.
    background: the colour behind the views, None where the method knows none."""

    texture: Tensor
    painted: Tensor
    surface: MeasuredSurface
    background: tuple[float, ...] | None


class Measure(NamedTuple):
    """One column of the table. of: its number of a texture, None where it has none. decimals: as
    many are shown at most."""

    label: str
    higher_is_better: bool
    decimals: int
    of: Callable[[MeasuredTexture], float | None]


def _bleed(seen: MeasuredTexture) -> float | None:
    if seen.background is None:
        return None
    return background_bleed(seen.texture, seen.surface, seen.background)


# One line makes a measure known: the step that measures and the table ask here.
MEASURES = {
    "coverage": Measure("Coverage", True, 3, lambda seen: coverage(seen.painted, seen.surface)),
    "background_bleed": Measure("Background bleed", False, 3, _bleed),
    "seam_error": Measure("Seam error", False, 4, lambda seen: seam_error(seen.texture, seen.surface)),
    "consistency": Measure(
        "View consistency", True, 3, lambda seen: multiview_consistency(seen.texture, seen.surface)
    ),
}

"""Fill the texels that no view painted with colours that are smoothly continued through space.

Copying the nearest painted texel draws its colours out in streaks. Here an unpainted texel takes the mean of
the painted border around it, the wider the farther it is from what is painted: a mip map of the border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from texgen.backprojection.fill import fill_index, padding_index
from texgen.render.atlas import Atlas

REACH = 2.0
"""Cells of the finer level are at least this times the distance to the nearest painted texel, so that this
texel is always in reach."""


@dataclass(frozen=True, eq=False)
class Level:
    """One level of the mip map. source: [S, 8] and target: [N, 8] number of a grid point, with the trilinear
    weights of both; points: how many; rows: [N] which of the unpainted texels; share: [N] of this level."""

    source: Tensor
    source_weight: Tensor
    target: Tensor
    target_weight: Tensor
    points: int
    rows: Tensor
    share: Tensor


@dataclass(frozen=True, eq=False)
class SurfaceFill:
    """A fill that depends on geometry and coverage alone; calling it is linear in the texture.

    missing: [M] flat indices of unpainted chart texels. sources: [S] those of the painted texels beside them.
    padding: [T, T] the chart texel that each texel shows, itself inside the charts.
    """

    missing: Tensor
    sources: Tensor
    levels: tuple[Level, ...]
    padding: Tensor

    @staticmethod
    def of(painted: Tensor, atlas: Atlas) -> SurfaceFill:
        """painted: [1, T, T], painted where > 0. atlas: of the same size, and device of the result.

        Raises ValueError when no chart texel is painted.
        """
        nearest = fill_index(painted, atlas).reshape(-1)
        device = nearest.device
        chart = atlas.mask.reshape(-1).to(device) > 0.5
        missing = torch.nonzero(chart & ~(painted.reshape(-1).to(device) > 0)).squeeze(1)
        padding = padding_index(atlas.mask.to(device))
        sources = torch.unique(nearest[missing])
        points = atlas.position.detach().reshape(-1, 3).to(device).double()
        here, there = points[missing], points[sources]
        distance = (here - points[nearest[missing]]).norm(dim=-1)
        return SurfaceFill(missing, sources, _levels(here, there, distance), padding)

    def __call__(self, texture: Tensor) -> Tensor:
        """[C, T, T] -> [C, T, T]: painted texels stay, the others are filled, and the charts padded.

        Differentiable in the texture.
        """
        flat = texture.flatten(1)
        if len(self.missing):
            border = flat[:, self.sources]
            filled = border.new_zeros(len(border), len(self.missing))
            for level in self.levels:
                filled = filled.index_add(1, level.rows, _mean(level, border) * level.share.to(border))
            flat = flat.index_copy(1, self.missing, filled)
        return flat[:, self.padding.reshape(-1)].reshape(texture.shape)


def _levels(here: Tensor, there: Tensor, distance: Tensor) -> tuple[Level, ...]:
    """Mip levels of targets [M, 3] over sources [S, 3], given the distance [M] to the nearest source."""
    if not len(here):
        return ()
    finest = float(distance[distance > 0].min()) if bool((distance > 0).any()) else 1.0
    place = torch.log2(distance.clamp(min=finest) / finest)
    lower, part = place.floor().long(), place - place.floor()
    levels = []
    for number in range(int(lower.max()) + 2):
        share = torch.where(lower == number, 1 - part, torch.zeros_like(part))
        share = torch.where(lower == number - 1, part, share)
        rows = torch.nonzero(share > 0).squeeze(1)
        if not len(rows):
            continue
        cell = 2 * REACH * finest * 2.0**number  # the lower level's cells are at least REACH * distance
        source, source_weight = _corners(there, cell)
        target, target_weight = _corners(here[rows], cell)
        points, flat = numbered(torch.cat((source, target)))
        parts = flat[: len(source)], source_weight, flat[len(source) :], target_weight
        levels.append(Level(*parts, points, rows, share[rows]))
    return tuple(levels)


def _corners(points: Tensor, cell: float) -> tuple[Tensor, Tensor]:
    """The grid points [P, 8, 3] (integers) around points [P, 3] and their trilinear weights [P, 8]."""
    position = points / cell + 0.371  # off the grid: symmetric meshes lie on it
    low = position.floor()
    part = position - low
    offsets = torch.tensor(list(np.ndindex(2, 2, 2)), device=points.device)
    weights = torch.where(offsets[None] == 1, part[:, None], 1 - part[:, None]).prod(dim=-1)
    return low.long()[:, None] + offsets[None], weights


def numbered(points: Tensor) -> tuple[int, Tensor]:
    """How many different points of a grid [..., 3] (integers) there are, and the number [...] of each.

    As `torch.unique(dim=0)` numbers them, by x, then y, then z; that sorts rows by comparing them one by one.
    Points of which no single number can be made (a side beyond 2^20 cells) are left to it.
    """
    flat = points.reshape(-1, 3)
    low = flat.amin(dim=0)
    x, y, z = (flat.amax(dim=0) - low + 1).tolist()
    if max(x, y, z) > 2**20:
        found, number = torch.unique(flat, dim=0, return_inverse=True)
    else:
        moved = flat - low
        key = (moved[:, 0] * y + moved[:, 1]) * z + moved[:, 2]
        found, number = torch.unique(key, return_inverse=True)
    return len(found), number.reshape(points.shape[:-1])


def _mean(level: Level, border: Tensor) -> Tensor:
    """[C, N]: the mean of the border's colours [C, S] around each target of a level."""
    layers = torch.cat((border, torch.ones_like(border[:1])))
    splat = layers[:, :, None] * level.source_weight.to(border)
    grid = layers.new_zeros(len(layers), level.points).index_add(
        1, level.source.reshape(-1), splat.flatten(1)
    )
    found = (grid[:, level.target] * level.target_weight.to(border)).sum(dim=-1)
    return found[:-1] / found[-1:]

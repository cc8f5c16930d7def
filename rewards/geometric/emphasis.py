"""Texture-feature emphasis: is there detail where the surface bends, and calm where it does not?

The surface is cut into cells of about `cell` across, by distance on it and in direction, so that a cell never
joins the two sides of an ear; charts do not matter. Each cell has
    f = 1/2 log(1 + E / floor),   E = area-weighted mean of |grad_S I|^2 in the cell (luma, on the surface),
    t = |mean curvature| between its 5 % and 95 % quantiles over the area, as 0 to 1,
and the reward is how well f follows t, plus a little colourfulness:
    R = cov(f, t) / sqrt((var f + contrast_floor^2) var t) + colour_weight C.
A flat texture scores 0 in the first term: it has no variance to correlate, and `contrast_floor` keeps a faint
one from looking perfect. Both floors stand where detail can be seen: with a lower floor of E a tuned model
painted all nearly black, where hardly visible ripples already correlate; with a `contrast_floor` of 0.3 it
added speckle everywhere for the sake of variance.
C is Hasler and Suesstrunk's measure (2003) of the judged texels in units of [0, 1]:
    sqrt(sd(rg)^2 + sd(yb)^2) + 0.3 sqrt(mean(rg)^2 + mean(yb)^2),   rg = R - G, yb = (R + G) / 2 - B.

The released form is the published code's, on right uv and inside the charts:
    R = -(MSE(m^, K^) + MSE(p^ M, M) + 0.001 L_col),
m the texel gradient's magnitude, K the *minimum* curvature, min-max of the vertices to [-1, 1],
M = [K > 0.6], m^ and K^ the min-max of m and K over the judged texels to [0, 1], p the share of the gradient
along the constant texture direction (0, 1) and p^ its min-max. The published Sobel is the top row minus the
bottom row of a picture whose first row is at v = 1, so that direction means +dI/dv. Few outliers rule the
min-max, its direction means nothing on the surface, and the part of the texture with the largest gradient
decides the scale of all of it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from rewards.base import NotApplicable, Textured
from rewards.geometric.per_mesh import GeometricReward, PerMesh, check_form, working
from rewards.geometric.surface import (
    inverse_metric,
    luma_derivative,
    painted_stencil,
    quadratic,
    sobel,
    texel_surface,
    weighted_quantiles,
)
from texgen.geometry.mirror_plane import sample_surface
from texgen.geometry.prepared import PreparedGeometry
from texgen.geometry.uv_frames import bake
from texgen.mesh.mesh import Mesh, face_cross
from texgen.render.atlas import texel_barycentrics

MOST_CELLS = 4096
QUANTILES = 0.05, 0.95
LEAST_VARIATION = 0.1  # of the median: curvature that varies less is the same everywhere
MEAN_COLOUR = 0.3


class EmphasisField(NamedTuple):
    """Per usable texel, N of them: texel [N] int64 number, cell [N] int64, area [N], energy [3, N] = G^-1.
    Per cell: target [C] in [0, 1]."""

    texel: Tensor
    cell: Tensor
    area: Tensor
    energy: Tensor
    target: Tensor


class ReleasedEmphasis(NamedTuple):
    """inside [T, T] bool, curvature K [T, T] in [-1, 1], target K^ [T, T] in [0, 1]; 0 where not inside."""

    inside: Tensor
    curvature: Tensor
    target: Tensor


class TextureEmphasis(GeometricReward):
    """Agreement of detail with curvature; see the module's text.

    cell: width of the cells in working units (the longest side is 1.6). min_contrast, feature_length: a
    change of luma by the first over the second is the floor of detail. contrast_floor: spread of f, in
    natural logarithms of the gradient, below which a texture counts as even. colour_weight: weight of C.
    All belong to the corrected form; the released one has its published weights.
    """

    name = "emphasis"
    higher_is_better = True

    def __init__(
        self,
        form: str = "corrected",
        cell: float = 0.1,
        min_contrast: float = 0.3,
        feature_length: float = 0.1,
        contrast_floor: float = 0.15,
        colour_weight: float = 0.02,
        cache: int = 8,
    ) -> None:
        for name, value in (
            ("cell", cell),
            ("min_contrast", min_contrast),
            ("feature_length", feature_length),
        ):
            if value <= 0:
                raise ValueError(f"{name} is {value}; it must be positive.")
        if contrast_floor <= 0:
            raise ValueError("contrast_floor must be positive: it keeps flat textures at 0.")
        self.form = check_form(form)
        self.floor = (min_contrast / feature_length) ** 2
        self.contrast_floor = contrast_floor
        self.colour_weight = colour_weight
        self.version = f"1-{cell:g}-{min_contrast:g}-{feature_length:g}-{contrast_floor:g}-{colour_weight:g}"
        self.typical_range = (-1.0, 1.0)
        if form == "released":
            self.version = "2-released"
            self.typical_range = (-2.0, 0.0)
            self._field = PerMesh(self.name, released_field, cache)
        else:
            self._field = PerMesh(self.name, lambda m, g: emphasis_field(m, g, cell), cache)

    def __call__(self, textured: Textured) -> Tensor:
        """Scalar. Raises NotApplicable for a mesh that bends the same everywhere."""
        texture = working(textured.texture)
        painted = textured.painted.detach().to(texture.dtype)
        field = self._field(textured)
        if self.form == "released":
            return self._released(texture, painted, field)
        weight = painted_stencil(painted).reshape(-1)[field.texel] * field.area
        derivative = luma_derivative(texture).flatten(1)[:, field.texel]
        colour = colourfulness(texture.flatten(1)[:, field.texel], weight)
        count = len(field.target)
        area = weight.new_zeros(count).index_add(0, field.cell, weight)
        energy = weight * quadratic(field.energy, derivative)
        energy = weight.new_zeros(count).index_add(0, field.cell, energy) / area.clamp_min(1e-30)
        feature = 0.5 * torch.log1p(energy / self.floor)
        share = area / area.sum().clamp_min(1e-30)
        f = feature - (share * feature).sum()
        t = field.target - (share * field.target).sum()
        scale = ((share * f * f).sum() + self.contrast_floor**2) * (share * t * t).sum()
        return (share * f * t).sum() / scale.clamp_min(1e-30).sqrt() + self.colour_weight * colour

    @staticmethod
    def _released(texture: Tensor, painted: Tensor, field: ReleasedEmphasis) -> Tensor:
        kept = field.inside & (painted[0] > 0.5)
        if not bool(kept.any()):
            return texture.sum() * 0.0
        gradient = sobel(texture)[:, kept]
        magnitude = (gradient.square().sum(0) + 1e-6).sqrt()
        along = gradient[1] / (magnitude + 1e-6)
        bent = (field.curvature[kept] > 0.6).to(texture.dtype)
        rgb = texture[:, kept]
        rg, yb = rgb[0] - rgb[1], (rgb[0] + rgb[1]) / 2 - rgb[2]
        sd = [((each - each.mean()).square().mean() + 1e-12).sqrt() for each in (rg, yb)]
        colour = -(sd[0] + sd[1] + MEAN_COLOUR * (rg.mean().abs() + yb.mean().abs()))
        magnitude_loss = (min_max(magnitude) - field.target[kept]).square().mean()
        direction_loss = (min_max(along) * bent - bent).square().mean()
        return -(magnitude_loss + direction_loss + 0.001 * colour)


def min_max(values: Tensor) -> Tensor:
    """Values moved and scaled to [0, 1]; 0 where they are all the same."""
    return (values - values.min()) / (values.max() - values.min()).clamp_min(1e-8)


def colourfulness(rgb: Tensor, weight: Tensor) -> Tensor:
    """Hasler and Suesstrunk's colourfulness of colours [3, N] by weight [N], in units of [0, 1]."""
    share = weight / weight.sum().clamp_min(1e-30)
    pairs = torch.stack([rgb[0] - rgb[1], (rgb[0] + rgb[1]) / 2 - rgb[2]])
    mean = (share * pairs).sum(-1, keepdim=True)
    spread = (share * (pairs - mean) ** 2).sum()
    # The root of a grey texture has no derivative; 1e-8 moves the value by 1e-4 at most.
    return (spread + 1e-8).sqrt() + MEAN_COLOUR * (mean.square().sum() + 1e-8).sqrt()


def emphasis_field(mesh: Mesh, geometry: PreparedGeometry, cell: float) -> EmphasisField:
    """Cells of the usable texels, and the target of each cell."""
    surface = texel_surface(mesh, geometry)
    texel = (surface.inside & (surface.area > 0)).reshape(-1).nonzero()[:, 0]
    if len(texel) == 0:
        raise NotApplicable(f"Mesh {mesh.name!r}: no texel lies inside a chart; use a larger texture.")
    area = surface.area.reshape(-1)[texel]
    position, normal = (
        field.reshape(-1, 3)[texel] for field in (geometry.atlas.position, geometry.atlas.normal)
    )
    label = surface_cells(mesh, position.double().numpy(), normal.double().numpy(), cell)
    bent = geometry.mean_curvature.reshape(-1)[texel].double().abs()
    total = torch.zeros(int(label.max()) + 1, dtype=torch.float64).index_add(0, label, area)
    mean = torch.zeros_like(total).index_add(0, label, area * bent) / total
    low, middle, high = weighted_quantiles(mean, total, (QUANTILES[0], 0.5, QUANTILES[1]))
    if high - low <= LEAST_VARIATION * max(middle, 1e-6):
        raise NotApplicable(
            f"Mesh {mesh.name!r}: its mean curvature is the same everywhere ({low:.3g} to {high:.3g}), so "
            "emphasis has nothing to follow; choose another mesh or reward."
        )
    energy = inverse_metric(surface.metric, surface.area).flatten(1)[:, texel]
    return EmphasisField(texel, label, area, energy, ((mean - low) / (high - low)).clamp(0, 1))


def surface_cells(mesh: Mesh, position: np.ndarray, normal: np.ndarray, cell: float) -> Tensor:
    """Number of the cell, from 0 without gaps, of N surface points with normals, [N, 3] each.

    Cells are the regions nearest to seeds that are far from each other (farthest-point sampling of the
    surface), in position and, with `cell` as the length of a normal, in direction.
    """
    points, face = sample_surface(mesh, 8 * MOST_CELLS, "cells")
    places = np.concatenate((points, cell * mesh.face_normals().double().numpy()[face]), axis=1)
    area = float(face_cross(mesh.vertices.double(), mesh.faces).norm(dim=-1).sum()) / 2
    count = min(max(math.ceil(area / cell**2), 8), MOST_CELLS)
    places = places[:: max(len(places) // (8 * count), 1)]
    distance = np.full(len(places), np.inf)
    seeds = [0]
    for _ in range(count - 1):
        distance = np.minimum(distance, ((places - places[seeds[-1]]) ** 2).sum(axis=1))
        seeds.append(int(distance.argmax()))
    _, nearest = cKDTree(places[seeds]).query(np.concatenate((position, cell * normal), axis=1))
    return torch.from_numpy(np.unique(nearest, return_inverse=True)[1].astype(np.int64))


def released_field(mesh: Mesh, geometry: PreparedGeometry) -> ReleasedEmphasis:
    """Minimum curvature of the vertices by min-max to [-1, 1], interpolated over the faces."""
    inside = texel_surface(mesh, geometry).inside
    if not bool(inside.any()):
        raise NotApplicable(f"Mesh {mesh.name!r}: no texel lies inside a chart; use a larger texture.")
    curvature = vertex_min_max(mesh, geometry, geometry.vertex_curvature[:, 0]) * inside
    target = torch.zeros_like(curvature)
    target[inside] = min_max(curvature[inside])
    return ReleasedEmphasis(inside, curvature, target)


def vertex_min_max(mesh: Mesh, geometry: PreparedGeometry, values: Tensor) -> Tensor:
    """Vertex values [V] by min-max to [-1, 1], in the texture: [T, T]; 0 outside the charts."""
    scaled = 2 * min_max(values.double()) - 1
    bary = texel_barycentrics(mesh, geometry.atlas).double()
    return bake(mesh, geometry.atlas, scaled[:, None], bary)[0]

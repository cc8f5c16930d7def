"""Geometry-guided colourisation: red where the surface bulges, blue where it is hollow.

Corrected form, over the texels x of the charts with weights w = painted area on the surface:
- H is mean curvature and K = clip(2 (H - q05) / (q95 - q05) - 1, -1, 1) with quantiles by area, so that one
  spike of the mesh does not decide the scale;
- smooth: R = sum w (K - mean K)(red - blue) / sum w |K - mean K|, in [-1, 1];
- sharp: h = sigmoid(k (K - K_q)) with K_q the quantile `split` of K and l = 1 - h;
  R = 1/2 [sum w h (red - blue) / sum w h - sum w l (red - blue) / sum w l], in [-1, 1];
- supervised: R = 1 - sum w |T - T*|^2 / sum w |T* - mean T*|^2, at most 1, with T* dark to light blue below
  the split and light to pure red above it.
In each a texture of one colour scores 0 or less: centring, a difference of means, and the variance of T* as
the unit see to it.

Released form, on right uv and inside the charts, every texel alike: K is the *minimum* curvature, min-max of
the vertices to [-1, 1]; smooth: mean K (red - blue); sharp: threshold -0.7, k = 100; supervised: -MSE to a T*
of vertex colours, interpolated over the faces: (0, 0, 1) at the lowest mean curvature of a vertex to
(0.4, 0.4, 1) below 1.9 per working unit, (1, 0.4, 0.4) above it to (1, 0, 0) at the highest. With min-max
hardly any texel is below -0.7, and a plain red texture earns mean K.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rewards.base import NotApplicable, Textured
from rewards.geometric.emphasis import vertex_min_max
from rewards.geometric.per_mesh import GeometricReward, PerMesh, check_form, working
from rewards.geometric.surface import texel_surface, weighted_quantiles
from texgen.geometry.prepared import PreparedGeometry
from texgen.geometry.uv_frames import bake
from texgen.mesh.mesh import Mesh
from texgen.render.atlas import texel_barycentrics

VARIANTS = ("smooth", "sharp", "supervised")
QUANTILES = 0.05, 0.95
LEAST_VARIATION = 0.05  # 1 / working unit, between the quantiles: less is a sphere or a plane
RELEASED_THRESHOLD, RELEASED_SHARPNESS, RELEASED_SPLIT = -0.7, 100.0, 1.9
DARK_BLUE, LIGHT_BLUE = (0.0, 0.0, 0.4), (0.75, 0.75, 1.0)
LIGHT_RED, PURE_RED = (1.0, 0.75, 0.75), (1.0, 0.0, 0.0)
STOPS = DARK_BLUE, LIGHT_BLUE, LIGHT_RED, PURE_RED
RELEASED_STOPS = (0.0, 0.0, 1.0), (0.4, 0.4, 1.0), (1.0, 0.4, 0.4), (1.0, 0.0, 0.0)


class ColourField(NamedTuple):
    """Per judged texel, N of them: texel [N] int64 number, weight [N], curvature K [N] in [-1, 1], high [N]
    in [0, 1], target [3, N]."""

    texel: Tensor
    weight: Tensor
    curvature: Tensor
    high: Tensor
    target: Tensor


class Colourisation(GeometricReward):
    """Red for high and blue for low curvature; see the module's text.

    split: share of the area that counts as low. sharpness: k of the sharp variant. Both belong to the
    corrected form.
    """

    name = "colourisation"
    higher_is_better = True

    def __init__(
        self,
        variant: str = "smooth",
        form: str = "corrected",
        split: float = 0.5,
        sharpness: float = 20.0,
        cache: int = 8,
    ) -> None:
        if variant not in VARIANTS:
            raise ValueError(f"variant is {variant!r}; use {', '.join(VARIANTS)}.")
        if not 0 < split < 1:
            raise ValueError(f"split is {split}; it is a share of the area, between 0 and 1.")
        self.variant = variant
        self.form = check_form(form)
        self.version = f"1-{variant}-{split:g}-{sharpness:g}"
        self.typical_range = (-1.0, 1.0)
        if form == "released":
            self.version = f"{2 if variant == 'supervised' else 1}-{variant}-released"
            self._field = PerMesh(self.name, released_field, cache)
        else:
            self._field = PerMesh(self.name, lambda m, g: colour_field(m, g, split, sharpness), cache)

    def __call__(self, textured: Textured) -> Tensor:
        """Scalar. Raises NotApplicable, in the corrected form, for a mesh that bends the same everywhere."""
        texture = working(textured.texture)
        field = self._field(textured)
        painted = textured.painted.detach().to(texture.dtype).clamp(0, 1)
        rgb = texture.flatten(1)[:, field.texel]
        share = field.weight * painted.reshape(-1)[field.texel]
        share = share / share.sum().clamp_min(1e-30)
        warmth = rgb[0] - rgb[2]
        if self.variant == "sharp":
            high, low = share * field.high, share * (1 - field.high)
            means = [(part * warmth).sum() / part.sum().clamp_min(1e-30) for part in (high, low)]
            return 0.5 * (means[0] - means[1])
        if self.variant == "supervised":
            error = (share * (rgb - field.target).square()).sum()
            if self.form == "released":
                return -error / 3
            mean = (share * field.target).sum(-1, keepdim=True)
            return 1 - error / (share * (field.target - mean).square()).sum().clamp_min(1e-30)
        if self.form == "released":
            return (share * field.curvature * warmth).sum()
        centred = field.curvature - (share * field.curvature).sum()
        return (share * centred * warmth).sum() / (share * centred.abs()).sum().clamp_min(1e-30)


def colour_field(mesh: Mesh, geometry: PreparedGeometry, split: float, sharpness: float) -> ColourField:
    """Curvature by robust quantiles, what is high, and the target's colours, for the corrected form."""
    surface = texel_surface(mesh, geometry)
    texel = (surface.area > 0).reshape(-1).nonzero()[:, 0]
    area = surface.area.reshape(-1)[texel]
    curvature = geometry.mean_curvature.reshape(-1)[texel].double()
    if len(texel) == 0:
        raise NotApplicable(f"Mesh {mesh.name!r}: no texel lies on a chart; use a larger texture.")
    low, middle, high = weighted_quantiles(curvature, area, (QUANTILES[0], split, QUANTILES[1]))
    if high - low <= LEAST_VARIATION:
        raise NotApplicable(
            f"Mesh {mesh.name!r}: its mean curvature is the same everywhere ({low:.3g} to {high:.3g}), so "
            "colourisation has nothing to show; choose another mesh or reward."
        )
    scaled = (2 * (curvature - low) / (high - low) - 1).clamp(-1, 1)
    threshold = min(max(2 * (middle - low) / (high - low) - 1, -0.999), 0.999)
    share = torch.sigmoid(sharpness * (scaled - threshold))
    return ColourField(texel, area, scaled, share, ramp(scaled, -1.0, threshold, 1.0))


def released_field(mesh: Mesh, geometry: PreparedGeometry) -> ColourField:
    """The same by min-max of the vertices and fixed thresholds, every texel alike."""
    texel = geometry.atlas.mask.reshape(-1).nonzero()[:, 0]
    curvature = vertex_min_max(mesh, geometry, geometry.vertex_curvature[:, 0]).reshape(-1)[texel]
    share = torch.sigmoid(RELEASED_SHARPNESS * (curvature - RELEASED_THRESHOLD))
    mean = geometry.vertex_curvature.double().mean(dim=-1)
    colours = ramp(mean, float(mean.min()), RELEASED_SPLIT, float(mean.max()), RELEASED_STOPS)
    bary = texel_barycentrics(mesh, geometry.atlas).double()
    target = bake(mesh, geometry.atlas, colours.T, bary).flatten(1)[:, texel]
    return ColourField(texel, torch.ones_like(curvature), curvature, share, target)


def ramp(
    values: Tensor,
    low: float,
    split: float,
    high: float,
    stops: tuple[tuple[float, float, float], ...] = STOPS,
) -> Tensor:
    """Colours [3, N] of values [N]: from the first stop at low to the second at the split, then from the
    third to the fourth at high."""
    below = ((values - low) / max(split - low, 1e-12)).clamp(0, 1)
    above = ((values - split) / max(high - split, 1e-12)).clamp(0, 1)
    return torch.where(values < split, _between(*stops[:2], below), _between(*stops[2:], above))


def _between(start: tuple[float, ...], end: tuple[float, ...], share: Tensor) -> Tensor:
    a, b = (torch.tensor(colour, dtype=share.dtype)[:, None] for colour in (start, end))
    return a + (b - a) * share

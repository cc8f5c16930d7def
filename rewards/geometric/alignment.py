"""Geometry-texture alignment: do the colour edges of a texture follow the curvature of its surface?

At every texel the gradient of luma is compared with the direction of minimum curvature (the reward of arXiv
2506.18331, which averages cos^2 over uv vertices, in uv axes). A gradient along minimum curvature means an
*edge along maximum curvature*: rings around a tube score 1, stripes along it 0.

The comparison is made on the surface. With the Jacobian J = d(position)/d(uv) of a texel's face and the
metric G = J^T J, the uv derivative p = (dI/du, dI/dv) is a covector and the direction d in uv is a vector,
hence
    |grad_S I|^2 = p^T G^-1 p,      <grad_S I, J d>^2 / |J d|^2 = (p . d)^2 / (d^T G d).
With the line field D = d d^T (no sign, so it can be interpolated) the second is p^T D p / trace(G D), and
    R = sum_u w a (p^T D p / trace(G D)) /  sum_u w a (p^T G^-1 p + floor),      a = sqrt(det G),
a mean of cos^2 weighted by w a |grad_S I|^2. It depends on the surface only: turning, scaling or moving a
chart changes nothing but sampling error. `floor` is the squared gradient of the faintest pattern that counts,
so that a flat texture scores 0 instead of an arbitrary angle, and the reward is smooth everywhere.

w is coverage times anisotropy |k1 - k2| / (|k1| + |k2| + eps): where the surface has no direction,
none is asked for.

The released form is the published code's formula, on right uv: luma gradients g, Sobel's plain sums S, are
made S / sqrt(|S|^2 + 1e-6) per texel,
looked up at the uv vertices, and R is the plain mean over uv vertices of (g . c)^2 with c the direction of
minimum curvature pushed to uv by the best of the vertex's faces. It judges uv vertices only, in uv axes,
counts a flat texture as misaligned, and gives every vertex the same weight wherever it lies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rewards.base import NotApplicable, Textured
from rewards.geometric.per_mesh import GeometricReward, PerMesh, check_form, working
from rewards.geometric.surface import (
    Taps,
    bilinear_taps,
    inverse_metric,
    look_up,
    luma_derivative,
    painted_stencil,
    quadratic,
    sobel,
    texel_surface,
)
from texgen.geometry.prepared import PreparedGeometry
from texgen.geometry.uv_frames import push_to_uv
from texgen.mesh.mesh import Mesh


class AlignmentField(NamedTuple):
    """What the reward needs of one mesh, per texel; zero where the texel or a neighbour of it is not usable.

    Quadratic forms in (dI/du, dI/dv), stored as (uu, uv, vv):
    aligned `[3, T, T]`: w a D / trace(G D); energy `[3, T, T]`: w a G^-1; area `[1, T, T]`: w a.
    """

    aligned: Tensor
    energy: Tensor
    area: Tensor


class ReleasedAlignment(NamedTuple):
    """Lookups at N uv vertices and the directions [2, N] that gradients should have there, unit in uv."""

    taps: Taps
    direction: Tensor


class GeometryTextureAlignment(GeometricReward):
    """Alignment of a texture with minimum curvature, in [0, 1]; see the module's text.

    min_contrast, feature_length: a change of luma by min_contrast (0.02 is 5 of 255 steps) over
    feature_length (in units of the working mesh, whose longest side is 1.6) is the floor; much fainter
    textures score near 0. comparison: "surface", or "uv" to compare the two directions in uv axes with the
    identity as metric; it is right only on charts without stretch, and the floor is then in units of uv. All
    three belong to the corrected form.
    """

    name = "alignment"
    higher_is_better = True
    typical_range = (0.0, 1.0)

    def __init__(
        self,
        min_contrast: float = 0.02,
        feature_length: float = 0.1,
        comparison: str = "surface",
        form: str = "corrected",
        cache: int = 8,
    ) -> None:
        if comparison not in ("surface", "uv"):
            raise ValueError(f"comparison is {comparison!r}; use 'surface' or 'uv'.")
        if min_contrast <= 0 or feature_length <= 0:
            raise ValueError(
                "min_contrast and feature_length must be positive: they keep flat textures at 0."
            )
        self.floor = (min_contrast / feature_length) ** 2
        self.comparison = comparison
        self.form = check_form(form)
        self.version = f"2-{comparison}-{min_contrast:g}-{feature_length:g}"
        if form == "released":
            self.version = "2-released"
            self._field = PerMesh(self.name, released_field, cache)
        else:
            self._field = PerMesh(self.name, lambda m, g: alignment_field(m, g, comparison), cache)

    def __call__(self, textured: Textured) -> Tensor:
        """Scalar in [0, 1]. Raises ValueError where the geometry is missing or of another size."""
        texture = working(textured.texture)
        field = self._field(textured)
        # Coverage weighs what is judged; it is not a way to raise the score, hence no gradient.
        weight = painted_stencil(textured.painted.detach().to(texture.dtype))
        smallest = torch.finfo(texture.dtype).tiny
        if self.form == "released":
            gradient = 8 * sobel(texture)  # published without the 1/8, so 1e-6 is this faint a gradient
            unit = gradient / (gradient.square().sum(0) + 1e-6).sqrt()
            weight = look_up(weight[None], field.taps)[0]
            cosine = (look_up(unit, field.taps) * field.direction).sum(0)
            return (weight * cosine**2).sum() / weight.sum().clamp_min(smallest)
        derivative = luma_derivative(texture)
        aligned = (weight * quadratic(field.aligned, derivative)).sum()
        energy = (weight * (quadratic(field.energy, derivative) + self.floor * field.area)).sum()
        return aligned / energy.clamp_min(smallest)


def alignment_field(mesh: Mesh, geometry: PreparedGeometry, comparison: str = "surface") -> AlignmentField:
    """Fixed per-texel forms of one mesh, float64.

    Texels are left out whose 3x3 neighbourhood leaves their chart (else padding or another chart would be
    read), and those on faces whose chart is stretched too much. Raises NotApplicable when no texel has a
    direction (a sphere, a plane).
    """
    flat = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64) if comparison == "uv" else None
    surface = texel_surface(mesh, geometry, metric=flat)
    uu, uv, vv = surface.metric
    direction = geometry.min_direction_tensor.double()
    length = uu * direction[0] + 2 * uv * direction[1] + vv * direction[2]  # trace(G D)
    sound = surface.inside & (surface.area > 0) & (length > 0)
    weight = sound * geometry.anisotropy[0].double().clamp(0, 1) * geometry.atlas.mask[0].double()
    area = weight * surface.area
    if not bool((area > 0).any()):
        raise NotApplicable(
            f"Mesh {mesh.name!r}: no texel has a direction of curvature, so alignment cannot be judged; "
            "choose another mesh or reward."
        )
    energy = inverse_metric(surface.metric, surface.area) * area
    aligned = direction * (area / torch.where(sound, length, 1.0))
    return AlignmentField(aligned, energy, area[None])


def released_field(mesh: Mesh, geometry: PreparedGeometry) -> ReleasedAlignment:
    """Lookups and directions at the uv vertices whose four texels have their 3x3 stencils in one chart.

    The direction of a uv vertex comes from the face of it in whose plane the surface direction lies best.
    """
    pushed = push_to_uv(mesh, geometry.vertex_direction).reshape(-1, 2)
    directions = geometry.vertex_direction.double()[mesh.faces]
    out_of_plane = (directions * mesh.face_normals().double()[:, None]).sum(-1).abs().reshape(-1)
    corner = mesh.uv_faces.reshape(-1)
    # Corners by rising quality: of those written to one place the last, i.e. the best, stays.
    order = (directions.norm(dim=-1).reshape(-1) - out_of_plane).argsort(stable=True)
    best = np.zeros(len(mesh.uvs), dtype=np.int64)
    best[corner[order].numpy()] = order.numpy()
    chosen = pushed[torch.from_numpy(best)]
    length = chosen.norm(dim=-1)
    used = torch.zeros(len(mesh.uvs), dtype=torch.bool)
    used[corner] = True
    taps = bilinear_taps(mesh.uvs, geometry.atlas.face.shape[-1])
    inside = texel_surface(mesh, geometry).inside.reshape(-1)[taps.index].all(-1)
    kept = used & inside & (length > 1e-12)
    if not bool(kept.any()):
        raise NotApplicable(
            f"Mesh {mesh.name!r}: no uv vertex lies inside its chart with a direction of curvature, so the "
            "released alignment cannot be judged; use a larger texture or the corrected form."
        )
    direction = (chosen / length.clamp_min(1e-30)[:, None])[kept]
    return ReleasedAlignment(Taps(taps.index[kept], taps.weight[kept]), direction.T)

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
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from rewards.base import Textured
from texgen.geometry.uv_frames import PreparedGeometry
from texgen.mesh import Mesh

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as sRGB values are used


@dataclass(frozen=True, eq=False)
class AlignmentField:
    """What the reward needs of one mesh, per texel; zero where the texel or a neighbour of it is not usable.

    Quadratic forms in (dI/du, dI/dv), stored as (uu, uv, vv):
    aligned `[3, T, T]`: w a D / trace(G D); energy `[3, T, T]`: w a G^-1; area `[1, T, T]`: w a.
    """

    aligned: Tensor
    energy: Tensor
    area: Tensor

    def to(self, device: torch.device) -> AlignmentField:
        return AlignmentField(self.aligned.to(device), self.energy.to(device), self.area.to(device))


class GeometryTextureAlignment:
    """Alignment of a texture with minimum curvature, in [0, 1]; see the module's text.

    min_contrast, feature_length: a change of luma by min_contrast (0.02 is 5 of 255 steps) over
    feature_length (in units of the working mesh, whose longest side is 1.6) is the floor; much fainter
    textures score near 0. comparison: "surface", or "uv" to compare the two directions in uv axes with the
    identity as metric, which is what the released code does; it is right only on charts without stretch,
    and the floor is then in units of uv.
    """

    name = "alignment"
    higher_is_better = True
    typical_range = (0.0, 1.0)

    def __init__(
        self,
        min_contrast: float = 0.02,
        feature_length: float = 0.1,
        comparison: str = "surface",
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
        self.version = f"1-{comparison}-{min_contrast:g}-{feature_length:g}"
        self._cache = cache
        self._fields: OrderedDict[tuple, tuple[Mesh, PreparedGeometry, AlignmentField]] = OrderedDict()

    def __call__(self, textured: Textured) -> Tensor:
        """Scalar float32 in [0, 1]. Raises ValueError where the geometry is missing or of another size."""
        texture = textured.texture.float()
        field = self._field(textured)
        # Coverage weighs what is judged; it is no way to raise the score, hence no gradient.
        weight = painted_stencil(textured.painted.detach().to(texture.dtype))
        derivative = luma_derivative(texture)
        aligned = (weight * quadratic(field.aligned, derivative)).sum()
        energy = (weight * (quadratic(field.energy, derivative) + self.floor * field.area)).sum()
        smallest = torch.finfo(texture.dtype).tiny
        return aligned / energy.clamp_min(smallest)

    def _field(self, textured: Textured) -> AlignmentField:
        mesh, geometry = textured.mesh, textured.geometry
        if geometry is None:
            raise ValueError(f"Mesh {mesh.name!r}: alignment needs its prepared geometry (curvature in uv).")
        size = textured.texture.shape[-1]
        if geometry.min_direction_tensor.shape[-1] != size:
            raise ValueError(
                f"Mesh {mesh.name!r}: texture of {size} texels, geometry prepared for "
                f"{geometry.min_direction_tensor.shape[-1]}; prepare the mesh at the texture's size."
            )
        # Both objects stay in the entry, so their ids cannot be reused while it lives.
        device = textured.texture.device
        key = (id(mesh), id(geometry), device)
        if key not in self._fields:
            field = alignment_field(mesh, geometry, self.comparison).to(device)
            self._fields[key] = (mesh, geometry, field)
            while len(self._fields) > max(self._cache, 1):
                self._fields.popitem(last=False)
        self._fields.move_to_end(key)
        return self._fields[key][2]


def alignment_field(
    mesh: Mesh, geometry: PreparedGeometry, comparison: str = "surface", max_stretch: float = 20.0
) -> AlignmentField:
    """Fixed per-texel forms of one mesh, float64 inside, float32 out.

    Texels are left out whose 3x3 neighbourhood leaves their chart (else padding or another chart would be
    read), and those on faces whose chart is stretched more than max_stretch : 1, where the Jacobian is not to
    be trusted. Raises ValueError when no texel has a direction (a sphere, a plane).
    """
    face = geometry.atlas.face.cpu()
    inside = chart_interior(chart_labels(mesh), face)
    metric = face_metric(mesh).to("cpu")[face.clamp_min(0)].movedim(-1, 0)  # [3, T, T]
    if comparison == "uv":
        metric = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)[:, None, None].expand_as(metric)
    uu, uv, vv = metric
    determinant = uu * vv - uv**2
    # Singular values of J: s1^2 + s2^2 = trace G and s1 s2 = sqrt(det G), so
    # s1 / s2 <= m is the same as trace <= (m + 1/m) sqrt(det).
    area = determinant.clamp_min(0).sqrt()
    sound = inside & (area > 0) & (uu + vv <= (max_stretch + 1 / max_stretch) * area)
    safe_area = torch.where(sound, area, torch.ones_like(area))
    direction = geometry.min_direction_tensor.cpu().double()
    length = uu * direction[0] + 2 * uv * direction[1] + vv * direction[2]  # trace(G D)
    sound = sound & (length > 0)
    safe_length = torch.where(sound, length, torch.ones_like(length))
    weight = sound * geometry.anisotropy[0].cpu().double().clamp(0, 1) * geometry.atlas.mask[0].cpu().double()
    area = weight * safe_area
    if not bool((area > 0).any()):
        raise ValueError(
            f"Mesh {mesh.name!r}: no texel has a direction of curvature, so alignment cannot be judged; "
            "choose another mesh or reward."
        )
    energy = torch.stack([vv, -uv, uu]) * (weight / safe_area)  # sqrt(det G) G^-1
    aligned = direction * (area / safe_length)
    return AlignmentField(aligned.float(), energy.float(), area[None].float())


def face_metric(mesh: Mesh) -> Tensor:
    """Metric G = J^T J of every face, `[F, 3]` float64 as (uu, uv, vv); zero for a flat uv face."""
    corners = mesh.vertices.double()[mesh.faces]
    charts = mesh.uvs.double()[mesh.uv_faces]
    edges = torch.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], dim=-1)  # [F, 3, 2]
    uv_edges = torch.stack([charts[:, 1] - charts[:, 0], charts[:, 2] - charts[:, 0]], dim=-1)  # [F, 2, 2]
    (a, b), (c, d) = uv_edges.unbind(1)[0].unbind(1), uv_edges.unbind(1)[1].unbind(1)
    determinant = a * d - b * c
    flat = determinant.abs() < 1e-14
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], dim=1)
    jacobian = edges @ adjugate / torch.where(flat, torch.ones_like(determinant), determinant)[:, None, None]
    metric = jacobian.transpose(1, 2) @ jacobian
    form = torch.stack([metric[:, 0, 0], metric[:, 0, 1], metric[:, 1, 1]], dim=-1)
    return form.masked_fill(flat[:, None], 0.0)


def chart_labels(mesh: Mesh) -> Tensor:
    """Number of the chart of every face, `[F]` int64: faces that share uv vertices are one chart."""
    uv_faces = mesh.uv_faces.cpu().numpy()
    count = int(uv_faces.max()) + 1
    start, end = uv_faces[:, [0, 1]].ravel(), uv_faces[:, [1, 2]].ravel()
    graph = coo_matrix((np.ones(len(start), dtype=np.int8), (start, end)), shape=(count, count))
    _, label = connected_components(graph, directed=False)
    return torch.from_numpy(label[uv_faces[:, 0]].astype(np.int64))


def chart_interior(labels: Tensor, face: Tensor) -> Tensor:
    """`[T, T]` bool: the texel and its eight neighbours lie in one chart (face -1 = padding)."""
    chart = torch.where(face >= 0, labels[face.clamp_min(0)], torch.full_like(face, -1))
    around = F.pad(chart, (1, 1, 1, 1), value=-1)
    rows, columns = face.shape
    inside = chart >= 0
    for i in range(3):
        for j in range(3):
            inside = inside & (around[i : i + rows, j : j + columns] == chart)
    return inside


def painted_stencil(painted: Tensor) -> Tensor:
    """`[T, T]`: smallest coverage among a texel and its eight neighbours, in [0, 1]."""
    return -F.max_pool2d(-painted.clamp(0, 1)[None], 3, stride=1, padding=1)[0, 0]


def luma_derivative(texture: Tensor) -> Tensor:
    """(dI/du, dI/dv) of luma, `[2, T, T]`, per unit of uv, from `texture [3, T, T]`; row 0 is at v = 0.

    Scharr's 3x3 kernel: smoothing across by (3, 10, 3)/16 makes the angle nearly independent of the uv axes.
    """
    luma = torch.einsum("c,chw->hw", torch.tensor(LUMA, dtype=texture.dtype, device=texture.device), texture)
    smooth = torch.tensor([3.0, 10.0, 3.0], dtype=texture.dtype, device=texture.device) / 16
    slope = torch.tensor([-0.5, 0.0, 0.5], dtype=texture.dtype, device=texture.device)
    kernels = torch.stack([torch.outer(smooth, slope), torch.outer(slope, smooth)])[:, None]
    padded = F.pad(luma[None, None], (1, 1, 1, 1), mode="replicate")
    rows, columns = luma.shape
    scale = torch.tensor([columns, rows], dtype=texture.dtype, device=texture.device)[:, None, None]
    return F.conv2d(padded, kernels)[0] * scale


def quadratic(form: Tensor, vector: Tensor) -> Tensor:
    """p^T A p per texel, `[T, T]`, for `form [3, T, T]` = (uu, uv, vv) and `vector [2, T, T]`."""
    u, v = vector
    return form[0] * u * u + 2 * form[1] * u * v + form[2] * v * v

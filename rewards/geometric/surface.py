"""Calculus on the surface, done in its texture: metric and area per texel, charts, derivatives, lookups.

With the Jacobian J = d(position)/d(uv) of a texel's face the metric is G = J^T J. The uv derivative
p = (dI/du, dI/dv) is a covector, so |grad_S I|^2 = p^T G^-1 p, and sqrt(det G) is surface area per uv area.
Forms [3, ...] are stored as (uu, uv, vv). Row 0 is at v = 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.geometry.prepared import PreparedGeometry
from texgen.mesh.mesh import Mesh
from texgen.reading import unwrap

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as sRGB values are used
MAX_STRETCH = 20.0


class TexelSurface(NamedTuple):
    """What the surface is under each texel; float64.

    chart: [T, T] int64 number of the chart, -1 outside. inside: [T, T] bool, the texel and its eight
    neighbours lie in one chart, so a 3x3 stencil reads nothing foreign. metric: [3, T, T]. area: [T, T]
    surface area per uv area; 0 outside, and where the chart is stretched more than 20 : 1 or flat, because
    the Jacobian is not to be trusted there.
    """

    chart: Tensor
    inside: Tensor
    metric: Tensor
    area: Tensor


def texel_surface(
    mesh: Mesh, geometry: PreparedGeometry, max_stretch: float = MAX_STRETCH, metric: Tensor | None = None
) -> TexelSurface:
    """The surface under the texels of prepared geometry. metric: [3], instead of the mesh's own."""
    face = geometry.atlas.face.cpu()
    chart = texel_charts(chart_labels(mesh), face)
    own = face_metric(mesh).cpu()[face.clamp_min(0)].movedim(-1, 0)
    uu, uv, vv = metric = own if metric is None else metric[:, None, None].expand_as(own)
    # Singular values of J: s1^2 + s2^2 = trace G and s1 s2 = sqrt(det G), so
    # s1 / s2 <= m is the same as trace <= (m + 1/m) sqrt(det).
    area = (uu * vv - uv**2).clamp_min(0).sqrt()
    sound = (chart >= 0) & (area > 0) & (uu + vv <= (max_stretch + 1 / max_stretch) * area)
    return TexelSurface(chart, chart_interior(chart), metric, torch.where(sound, area, 0.0))


def inverse_metric(metric: Tensor, area: Tensor) -> Tensor:
    """G^-1 [3, T, T] from G and sqrt(det G); 0 where the area is 0."""
    square = torch.where(area > 0, area, 1.0) ** 2
    return torch.stack([metric[2], -metric[1], metric[0]]) * ((area > 0) / square)


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
    """Number of the chart of every face, `[F]` int64: `texgen.reading.unwrap.chart_labels`."""
    return torch.from_numpy(unwrap.chart_labels(mesh.uv_faces.cpu().numpy()))


def texel_charts(labels: Tensor, face: Tensor) -> Tensor:
    """Chart of every texel, [T, T], from that of every face and the face of every texel (-1 = none)."""
    return torch.where(face >= 0, labels[face.clamp_min(0)], torch.full_like(face, -1))


def chart_interior(chart: Tensor) -> Tensor:
    """`[T, T]` bool: the texel and its eight neighbours lie in one chart (-1 = padding)."""
    around = F.pad(chart, (1, 1, 1, 1), value=-1)
    rows, columns = chart.shape
    inside = chart >= 0
    for i in range(3):
        for j in range(3):
            inside = inside & (around[i : i + rows, j : j + columns] == chart)
    return inside


def painted_stencil(painted: Tensor) -> Tensor:
    """`[T, T]`: smallest coverage among a texel and its eight neighbours, in [0, 1]."""
    return -F.max_pool2d(-painted.clamp(0, 1)[None], 3, stride=1, padding=1)[0, 0]


def luma(texture: Tensor) -> Tensor:
    """[T, T] from [3, T, T]."""
    weights = torch.tensor(LUMA, dtype=texture.dtype, device=texture.device)
    return torch.einsum("c,chw->hw", weights, texture)


def luma_derivative(texture: Tensor) -> Tensor:
    """(dI/du, dI/dv) of luma, `[2, T, T]`, per unit of uv, from `texture [3, T, T]`.

    Scharr's 3x3 kernel: smoothing across by (3, 10, 3)/16 makes the angle nearly independent of the uv axes.
    """
    rows, columns = texture.shape[1:]
    scale = torch.tensor([columns, rows], dtype=texture.dtype, device=texture.device)[:, None, None]
    return _stencil(luma(texture), (3.0, 10.0, 3.0)) * scale


def sobel(texture: Tensor) -> Tensor:
    """(dI/du, dI/dv) of luma, `[2, T, T]`, per texel: Sobel's kernel divided by 8."""
    return _stencil(luma(texture), (1.0, 2.0, 1.0))


def _stencil(image: Tensor, smooth: tuple[float, float, float]) -> Tensor:
    across = torch.tensor(smooth, dtype=image.dtype, device=image.device)
    across = across / across.sum()
    slope = torch.tensor([-0.5, 0.0, 0.5], dtype=image.dtype, device=image.device)
    kernels = torch.stack([torch.outer(across, slope), torch.outer(slope, across)])[:, None]
    return F.conv2d(F.pad(image[None, None], (1, 1, 1, 1), mode="replicate"), kernels)[0]


def quadratic(form: Tensor, vector: Tensor) -> Tensor:
    """p^T A p per texel, `[T, T]`, for `form [3, T, T]` = (uu, uv, vv) and `vector [2, T, T]`."""
    u, v = vector
    return form[0] * u * u + 2 * form[1] * u * v + form[2] * v * v


class Taps(NamedTuple):
    """Bilinear lookups at N places: texel numbers [N, 4] int64 in the flattened texture, weights [N, 4]."""

    index: Tensor
    weight: Tensor


def bilinear_taps(uv: Tensor, size: int) -> Taps:
    """Lookups at uv [N, 2] in a texture of `size` texels; texels beyond the edge are the edge's."""
    place = uv.double() * size - 0.5
    low = place.floor()
    share = place - low
    index, weight = [], []
    for i in (0, 1):
        for j in (0, 1):
            column, row = (low + torch.tensor([j, i])).long().clamp(0, size - 1).unbind(-1)
            index.append(row * size + column)
            weight.append((share[:, 0] if j else 1 - share[:, 0]) * (share[:, 1] if i else 1 - share[:, 1]))
    return Taps(torch.stack(index, -1), torch.stack(weight, -1))


def look_up(field: Tensor, taps: Taps) -> Tensor:
    """Values [C, N] of field [C, T, T] at the taps; differentiable in the field."""
    values = field.flatten(1)[:, taps.index.reshape(-1)].reshape(len(field), *taps.index.shape)
    return (values * taps.weight.to(field.dtype)).sum(-1)


def inside_one_chart(taps: Taps, chart: Tensor, least: float = 0.25) -> tuple[Taps, Tensor]:
    """Lookups that read neither padding nor another chart, and [N] bool where there is such a lookup.

    Of the four texels those in the chart of the nearest charted one are kept and their weights scaled to sum
    to 1, which moves a lookup at a chart's border by less than a texel. `least`: weight they must have had.
    """
    charts = chart.reshape(-1)[taps.index]
    nearest = torch.where(charts >= 0, taps.weight, -1.0).argmax(-1, keepdim=True)
    own = charts.gather(-1, nearest)
    weight = taps.weight * ((charts == own) & (own >= 0))
    total = weight.sum(-1, keepdim=True)
    return Taps(taps.index, weight / total.clamp_min(1e-12)), total[:, 0] >= least


def least_painted(painted: Tensor, taps: Taps) -> Tensor:
    """[N]: smallest coverage among the texels that each lookup reads, from painted [1, T, T]."""
    cover = painted.reshape(-1)[taps.index].clamp(0, 1)
    return torch.where(taps.weight > 0, cover, 1.0).amin(-1)


def weighted_quantiles(values: Tensor, weights: Tensor, shares: tuple[float, ...]) -> list[float]:
    """Quantiles by weight: the smallest values with at least these shares of the weight at or below."""
    order = values.argsort()
    running = weights[order].cumsum(0)
    places = torch.searchsorted(running, torch.tensor(shares, dtype=running.dtype) * running[-1])
    return values[order][places.clamp(max=len(values) - 1)].tolist()

"""The texture atlas of a mesh: which surface point each texel is, found by rays onto the flat uv mesh."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from texgen.mesh.mesh import Mesh
from texgen.render.rasterize import first_hits


@dataclass(frozen=True, eq=False)
class Atlas:
    """The surface under the texels of one mesh at one texture size T.

    face: [T, T] int64, -1 where no chart covers the texel's centre. position: [T, T, 3] surface point in
    working coordinates. normal: [T, T, 3] unit, interpolated vertex normal. mask: [1, T, T] float, 1 where a
    chart covers the centre. Row 0 is at v = 0. Position and normal are 0 outside charts.
    """

    face: Tensor
    position: Tensor
    normal: Tensor
    mask: Tensor

    def to(self, device: torch.device | str) -> Atlas:
        """A copy on another device."""
        return Atlas(
            self.face.to(device), self.position.to(device), self.normal.to(device), self.mask.to(device)
        )


def build_atlas(mesh: Mesh, size: int) -> Atlas:
    """Find the surface point of every texel centre ((j + .5) / size, (i + .5) / size). Not differentiable.

    Where charts overlap one of the faces wins; `overlapping_share` measures how often.
    """
    if size < 1:
        raise ValueError(f"The texture size is {size}; give a positive number of texels.")
    centres = (torch.arange(size, device=mesh.uvs.device, dtype=mesh.uvs.dtype) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    face, bary = faces_at(mesh.uvs, mesh.uv_faces, torch.stack((u, v), dim=-1).reshape(-1, 2))
    inside = (face >= 0)[:, None]
    corners = mesh.faces[face.clamp(min=0)]
    position = (mesh.vertices[corners] * bary[..., None]).sum(dim=1) * inside
    normal = (mesh.vertex_normals[corners] * bary[..., None]).sum(dim=1)
    normal = torch.nn.functional.normalize(normal, dim=-1) * inside
    return Atlas(
        face=face.reshape(size, size),
        position=position.reshape(size, size, 3),
        normal=normal.reshape(size, size, 3),
        mask=inside.to(mesh.vertices.dtype).reshape(1, size, size),
    )


def texel_barycentrics(mesh: Mesh, atlas: Atlas) -> Tensor:
    """[T, T, 3] barycentrics of each texel's centre in the face that covers it, 0 outside charts.

    Computed from the uv triangle by areas, so they need not be stored with the atlas.
    """
    size = atlas.face.shape[0]
    centres = (torch.arange(size, device=mesh.uvs.device, dtype=torch.float64) + 0.5) / size
    v, u = torch.meshgrid(centres, centres, indexing="ij")
    point = torch.stack((u, v), dim=-1)
    a, b, c = mesh.uvs.double()[mesh.uv_faces[atlas.face.clamp(min=0)]].unbind(dim=-2)
    areas = torch.stack((_cross(b - point, c - point), _cross(c - point, a - point)), dim=-1)
    weights = areas / _cross(b - a, c - a)[..., None]
    weights = torch.cat((weights, 1 - weights.sum(dim=-1, keepdim=True)), dim=-1)
    # A texel centre on an edge may lie outside by rounding; a face without area gives no number at all.
    weights = torch.nan_to_num(weights, nan=1 / 3).clamp(0, 1)
    weights = weights / weights.sum(dim=-1, keepdim=True)
    return (weights * (atlas.face >= 0)[..., None]).to(mesh.vertices.dtype)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def faces_at(uvs: Tensor, uv_faces: Tensor, uv: Tensor) -> tuple[Tensor, Tensor]:
    """Places uv [R, 2] in a layout (uvs [T, 2], uv_faces [F, 3]) -> face [R] (-1 = no chart) and barycentrics
    [R, 3] in it. Where charts overlap one of the faces wins."""
    flat = torch.nn.functional.pad(uvs, (0, 1))
    origins = torch.nn.functional.pad(uv, (0, 1), value=1.0)
    directions = torch.zeros_like(origins)
    directions[:, 2] = -1.0
    face, _, bary = first_hits(flat, uv_faces, origins, directions)
    return face, bary


def overlapping_share(mesh: Mesh) -> float:
    """The share of the uv area, in [0, 1], whose texels belong to more than one face: a lower bound.

    A point strictly inside a face must hit that face; where it hits another, two faces share the place. Of
    two stacked charts one wins everywhere, so full overlap of everything measures one half.
    """
    points = mesh.uvs.new_tensor([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])
    a, b, c = mesh.uvs[mesh.uv_faces].unbind(dim=1)
    area = _cross(b - a, c - a).abs()
    # Slivers thinner than float32 resolves may miss their own inside; they are not an overlap.
    longest = torch.stack(((b - a), (c - b), (a - c))).norm(dim=-1).amax(dim=0)
    kept = (area > 1e-5 * longest).nonzero()[:, 0]
    if kept.numel() == 0:
        return 0.0
    samples = torch.einsum("pk,fkc->pfc", points, mesh.uvs[mesh.uv_faces[kept]])
    face, _ = faces_at(mesh.uvs, mesh.uv_faces, samples.reshape(-1, 2))
    other = (face.reshape(len(points), -1) != kept).to(area.dtype).mean(dim=0)
    return float((other * area[kept]).sum() / area[kept].sum())

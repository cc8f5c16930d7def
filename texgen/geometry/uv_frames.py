"""From the surface to the texture: vertex values, and tangent directions pushed through the charts.

A principal direction is a line without a sign, so it is stored as the tensor d d^T (xx, xy, yy), which can
be interpolated where vectors of opposite signs would cancel. x is u and y is v, which are also the columns
and the rows of a texture tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from texgen.mesh.mesh import Mesh
from texgen.render.atlas import Atlas, texel_barycentrics


def bake(mesh: Mesh, atlas: Atlas, values: Tensor, bary: Tensor | None = None) -> Tensor:
    """Vertex values [V, C] -> texture [C, T, T] by barycentric interpolation, 0 outside the charts.

    bary: what `texel_barycentrics` returned for the atlas, when the caller has it.
    """
    bary = texel_barycentrics(mesh, atlas) if bary is None else bary
    corners = mesh.faces[atlas.face.clamp(min=0)]
    return (values[corners] * bary[..., None]).sum(dim=-2).permute(2, 0, 1) * atlas.mask


def uv_line_field(mesh: Mesh, atlas: Atlas, directions: Tensor, bary: Tensor | None = None) -> Tensor:
    """Push a field of tangent lines at the vertices to the texture.

    directions: [V, 3], any length, any sign; 0 = none. Each is pushed by the Jacobian of each of its faces,
    d_uv = D (E^T E)^-1 E^T d with E [3, 2] the face's edges in 3D and D [2, 2] its edges in uv, and made a
    tensor of trace 1 there; tensors are then interpolated by barycentrics. A line has an isotropic tensor
    (1/2, 0, 1/2) where it has no direction or its face has no uv area.
    Returns [3, T, T] (xx, xy, yy), trace 1 inside the charts, 0 outside.
    """
    bary = texel_barycentrics(mesh, atlas) if bary is None else bary
    pushed = push_to_uv(mesh, directions)
    square = (pushed**2).sum(dim=-1, keepdim=True)
    unit = pushed / square.sqrt().clamp(min=1e-30)
    x, y = unit.unbind(dim=-1)
    tensor = torch.stack((x * x, x * y, y * y), dim=-1)
    isotropic = tensor.new_tensor([0.5, 0.0, 0.5])
    tensor = torch.where(square > 1e-24, tensor, isotropic).to(mesh.vertices.dtype)
    field = (tensor[atlas.face.clamp(min=0)] * bary[..., None]).sum(dim=-2)
    return field.permute(2, 0, 1) * atlas.mask


def push_to_uv(mesh: Mesh, directions: Tensor) -> Tensor:
    """[V, 3] directions -> [F, 3, 2] float64: at each corner of each face, its image in uv per unit length.

    The part of a direction along the face's normal is lost, as in the least-squares solution.
    """
    a, b, c = mesh.vertices.double()[mesh.faces].unbind(dim=1)
    edges = torch.stack((b - a, c - a), dim=-1)  # [F, 3, 2]
    a, b, c = mesh.uvs.double()[mesh.uv_faces].unbind(dim=1)
    uv_edges = torch.stack((b - a, c - a), dim=-1)  # [F, 2, 2]
    p, q = edges.unbind(dim=-1)
    pp, pq, qq = (p * p).sum(-1), (p * q).sum(-1), (q * q).sum(-1)
    determinant = (pp * qq - pq * pq).clamp(min=1e-300)
    inverse = (
        torch.stack((torch.stack((qq, -pq), -1), torch.stack((-pq, pp), -1)), -2) / determinant[:, None, None]
    )
    jacobian = uv_edges @ inverse @ edges.mT  # [F, 2, 3]
    return torch.einsum("fij,fkj->fki", jacobian, directions.double()[mesh.faces])

"""Strokes along directions on the surface, drawn into pictures."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.collections import LineCollection
from scipy.ndimage import gaussian_filter
from torch import Tensor

from report.pictures import MeshPictures
from texgen.mesh.mesh import Mesh
from texgen.render.texture_lookup import sample


class Strokes:
    """Headless strokes at a grid of pixels, for line directions given in the texture or on the surface."""

    def __init__(self, look: MeshPictures, mesh: Mesh, step: int) -> None:
        """step: picture pixels between strokes."""
        self.look, self.step = look, step
        buffer, scale = look.buffer, look.supersample
        rows = torch.arange(step // 2, look.size, step) * scale
        i, j = (grid.reshape(-1) for grid in torch.meshgrid(rows, rows, indexing="ij"))
        seen = look.mask[0][i, j] & (buffer.cosine[0, 0][i, j] > 0.25)
        i, j = i[seen], j[seen]
        self.x, self.y = (j.numpy() + 0.5) / scale - 0.5, (i.numpy() + 0.5) / scale - 0.5
        self.uv = buffer.uv[0][i, j]
        self._uv_of_pixel = torch.stack((buffer.uv_dx[0][i, j], buffer.uv_dy[0][i, j]), dim=-1)
        self._metric = uv_metric(mesh, buffer.face[0][i, j])

    def curvature(self, geometry) -> Tensor:
        """[S, 2] uv directions of minimum curvature."""
        xx, xy, yy = sample(geometry.min_direction_tensor, self.uv).unbind(dim=-1)
        angle = 0.5 * torch.atan2(2 * xy, xx - yy)  # of the tensor's larger eigenvector
        return torch.stack((angle.cos(), angle.sin()), dim=-1)

    def anisotropy(self, geometry) -> Tensor:
        """[S] in [0, 1]: how clear the direction is."""
        return sample(geometry.anisotropy, self.uv)[:, 0]

    def gradient(self, texture: Tensor) -> tuple[Tensor, Tensor]:
        """uv directions [S, 2] of the luma's gradient on the surface, and its strength [S] in [0, 1]."""
        blurred = torch.from_numpy(gaussian_filter(luma(texture).numpy(), 1.0))
        rows, columns = torch.gradient(blurred)
        size = texture.shape[-1]
        covector = sample(torch.stack((columns, rows)) * size, self.uv)
        direction = torch.linalg.solve(self._metric, covector[..., None])[..., 0]
        strength = (covector * direction).sum(dim=-1).clamp(min=0).sqrt()
        return direction, strength / (strength + 5.0)

    def draw(self, axis, direction: Tensor, length: Tensor, colour: str) -> None:
        """Strokes along uv directions [S, 2]; length [S] in [0, 1], of the grid's step."""
        pixel = torch.linalg.solve(self._uv_of_pixel, direction[..., None])[..., 0]
        pixel = torch.nan_to_num(pixel / pixel.norm(dim=-1, keepdim=True).clamp(min=1e-30))
        half = (pixel * length[:, None] * 0.46 * self.step).numpy()
        kept = length.numpy() > 0.15
        middle = np.stack((self.x[kept], self.y[kept]), axis=-1)
        ends = np.stack((middle - half[kept], middle + half[kept]), axis=1)
        axis.add_collection(LineCollection(ends, colors=colour, linewidths=0.8, capstyle="round"))


def uv_metric(mesh: Mesh, face: Tensor) -> Tensor:
    """[S, 2, 2]: the metric J^T J of d(position) / d(uv) of some faces [S]."""
    a, b, c = mesh.vertices[mesh.faces[face]].unbind(dim=1)
    edges = torch.stack((b - a, c - a), dim=-1)
    a, b, c = mesh.uvs[mesh.uv_faces[face]].unbind(dim=1)
    jacobian = edges @ torch.linalg.pinv(torch.stack((b - a, c - a), dim=-1))
    return jacobian.mT @ jacobian + 1e-9 * torch.eye(2)


def luma(texture: Tensor) -> Tensor:
    """[T, T] luma (BT.601) of a texture [3, T, T]."""
    return torch.einsum("c,chw->hw", texture.new_tensor([0.299, 0.587, 0.114]), texture)

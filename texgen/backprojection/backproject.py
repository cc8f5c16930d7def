"""Image to texture by deciding pixel by pixel, as the published baselines do.

Unlike `texgen.backprojection.project.gather` these operators leave holes where no pixel falls on a texel;
each method closes them in its own way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from texgen.backprojection.fill import padding_index
from texgen.backprojection.project import Visibility
from texgen.render.atlas import Atlas
from texgen.render.images import GeometryBuffer


def face_visibility(visibility: Visibility, buffer: GeometryBuffer, atlas: Atlas) -> Visibility:
    """The same, but every texel of a face of which the view has one pixel counts as visible.

    Paint3D and SyncMVD decide visibility so; partly hidden large triangles take colours of what hides them.
    """
    seen = torch.unique(buffer.face[buffer.face >= 0])
    visible = torch.isin(atlas.face, seen) & (atlas.face >= 0)
    return replace(visibility, visible=visible[None].to(visibility.cosine.dtype))


def overwrite4(image: Tensor, buffer: GeometryBuffer, size: int, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Each masked pixel writes its colour into the four texels around its uv; the last pixel wins (Text2Tex).

    image: [C, H, W]. buffer: one view at (H, W). size: T. mask: [1, H, W], pixels above 0.5 write. Row by row
    from the top, so the result is the same on every device.
    Returns values [C, T, T] and hit [1, T, T] in {0, 1}.
    """
    chosen = torch.nonzero(((buffer.face[0] >= 0) & (mask[0] > 0.5)).reshape(-1)).squeeze(1)
    position = buffer.uv[0].reshape(-1, 2)[chosen] * size - 0.5
    corner = position.floor()
    last = torch.full((size * size,), -1, dtype=torch.int64, device=image.device)
    for step_x in (0, 1):
        for step_y in (0, 1):
            column = (corner[:, 0] + step_x).clamp(0, size - 1).long()
            row = (corner[:, 1] + step_y).clamp(0, size - 1).long()
            last = last.scatter_reduce(0, row * size + column, chosen, "amax")
    values = image.flatten(1)[:, last.clamp(min=0)] * (last >= 0)
    return values.reshape(-1, size, size), (last >= 0).to(image.dtype).reshape(1, size, size)


def pixel_texels(buffer: GeometryBuffer, size: int) -> Tensor:
    """[H * W] int64: the texel, as a flat index, in which each pixel of one view lies; -1 off the object."""
    cell = (buffer.uv[0].reshape(-1, 2) * size).floor().clamp(0, size - 1).long()
    return torch.where(buffer.face[0].reshape(-1) >= 0, cell[:, 1] * size + cell[:, 0], -1)


def read_nearest(texture: Tensor, texel: Tensor, buffer: GeometryBuffer) -> Tensor:
    """Texture [C, T, T] as a view sees it without any interpolation: [1, C, H, W], 0 off the object."""
    image = texture.flatten(1)[:, texel.clamp(min=0)] * (texel >= 0)
    return image.reshape(1, -1, *buffer.face.shape[-2:])


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Which texel each pixel of a view shows, nearest neighbour: `render` and `bake` are exact opposites.

    texel: [H * W] int64 flat texel index, -1 off the object. nearest: [T, T] int64, for every texel the
    nearest texel in the texture plane that a pixel shows (Voronoi cells).
    """

    texel: Tensor
    nearest: Tensor
    height: int
    width: int

    @staticmethod
    def of(buffer: GeometryBuffer, size: int) -> PixelMap:
        """The map of one view's buffer for textures of side `size`. Raises ValueError for an empty view."""
        height, width = buffer.face.shape[-2:]
        texel = pixel_texels(buffer, size)
        hit = torch.zeros(size * size, device=texel.device)
        hit[texel[texel >= 0]] = 1
        return PixelMap(texel, padding_index(hit.reshape(1, size, size)), height, width)

    def render(self, texture: Tensor) -> Tensor:
        """Texture [C, T, T] -> image [C, H, W], 0 off the object."""
        image = texture.flatten(1)[:, self.texel.clamp(min=0)] * (self.texel >= 0)
        return image.reshape(-1, self.height, self.width)

    def bake(self, image: Tensor) -> Tensor:
        """Image [C, H, W] -> texture [C, T, T]: the mean of the pixels on each texel, Voronoi-filled.

        SyncMVD obtains the mean as one gradient step on the texture, divided by the number of pixels.
        """
        size = self.nearest.shape[-1]
        on = self.texel >= 0
        payload = torch.cat([image.flatten(1), torch.ones_like(image[:1].flatten(1))])[:, on]
        total = payload.new_zeros(len(payload), size * size).index_add(1, self.texel[on], payload)
        mean = total[:-1] / total[-1:].clamp(min=1)
        return mean[:, self.nearest.reshape(-1)].reshape(-1, size, size)

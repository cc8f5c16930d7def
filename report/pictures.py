"""Pictures of textured meshes for people: lit renders, so that the shape can be made out under its colours.

Scores are never taken from these; they judge unlit renders.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.mesh.mesh import Mesh
from texgen.render.cameras import Angles, Cameras, clip_from_world, eye, transform
from texgen.render.images import geometry_buffer
from texgen.render.texture_lookup import build_mips, sample

PICTURE_BACKGROUND = (0.93, 0.93, 0.93)
WHITE = (1.0, 1.0, 1.0)
DISTANCE = 3.2
"""From the centre; far enough that perspective does not swell what is near."""


class MeshPictures:
    """One mesh from fixed cameras, ready to be shown with any texture.

    azimuth, elevation: degrees, of N cameras, which zoom in alike until the mesh fills the share `fill` of
    the widest picture. size: pixels of a picture. The light comes from above the camera's left shoulder. The
    geometry is rasterised once, at `supersample` times the size.
    """

    def __init__(
        self,
        mesh: Mesh,
        azimuth: Angles,
        elevation: Angles,
        size: int = 192,
        supersample: int = 2,
        background: tuple[float, float, float] = PICTURE_BACKGROUND,
        fill: float = 0.94,
    ) -> None:
        self.cameras = fitted_cameras(mesh, azimuth, elevation, fill)
        self.size, self.supersample, self.background = size, supersample, background
        with torch.no_grad():
            self.buffer = buffer = geometry_buffer(mesh, self.cameras, size * supersample)
            self._index = torch.nonzero(buffer.face.reshape(-1) >= 0).squeeze(1)
            self._uv = buffer.uv.reshape(-1, 2)[self._index]
            across = torch.stack((buffer.uv_dx, buffer.uv_dy)).norm(dim=-1).reshape(2, -1)[:, self._index]
            self._footprint = float(across.median()) if len(self._index) else 0.0
            self.light = self._lighting().reshape(-1)[self._index]

    def _lighting(self) -> Tensor:
        """[N, S, S] factor of the colours: ambient and diffuse light; back sides are lit as well."""
        buffer, eyes = self.buffer, eye(self.cameras)
        towards = F.normalize(eyes, dim=-1)
        right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]).expand_as(towards), towards)
        light = F.normalize(towards + torch.tensor([0.0, 0.9, 0.0]) - 0.5 * right, dim=-1)
        # The normal is turned towards the eye, so that back sides of open surfaces are lit as well.
        side = (buffer.normal * (eyes[:, None, None] - buffer.position)).sum(-1, keepdim=True)
        normal = buffer.normal * torch.sign(side)
        return 0.62 + 0.42 * torch.einsum("nhwc,nc->nhw", normal, light).clamp(min=0)

    @torch.no_grad()
    def __call__(self, texture: Tensor, lit: bool = True) -> Tensor:
        """[N, 3, size, size] in [0, 1]. texture: [3, T, T] in [0, 1]."""
        # One mip level serves the whole picture: the one whose texels are as large as the median pixel.
        texels = max(self._footprint * texture.shape[-1], 1.0)
        texture = build_mips(texture, int(np.log2(texels)) + 1)[-1]
        return self.spread(sample(texture, self._uv), lit)

    @torch.no_grad()
    def spread(self, colours: Tensor, lit: bool = True) -> Tensor:
        """Colours [P, 3] of the pixels that see the surface -> pictures [N, 3, size, size]."""
        if lit:
            colours = (colours * self.light[:, None]).clamp(0, 1)
        views, height, width = self.buffer.face.shape
        canvas = colours.new_tensor(self.background).expand(views * height * width, 3)
        canvas = canvas.index_copy(0, self._index, colours).reshape(views, height, width, 3)
        return F.avg_pool2d(canvas.permute(0, 3, 1, 2), self.supersample)

    def at_pixels(self, field: Tensor) -> Tensor:
        """A field of the texture [C, T, T] at the pixels that see the surface, [P, C]."""
        return sample(field, self._uv)

    def project(self, points: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Points [P, 3] -> picture coordinates x [P], y [P] in the first view; pixel centres at integers."""
        clip = transform(points.float(), clip_from_world(self.cameras[0]))[0]
        ndc = clip[:, :2] / clip[:, 3:]
        x, y = (ndc[:, 0] + 1) * self.size / 2 - 0.5, (1 - ndc[:, 1]) * self.size / 2 - 0.5
        return x.numpy(), y.numpy()

    @property
    def mask(self) -> Tensor:
        """[N, size * supersample, size * supersample] bool: where the surface is seen."""
        return self.buffer.face >= 0


def fitted_cameras(mesh: Mesh, azimuth: Angles, elevation: Angles, fill: float) -> Cameras:
    """Cameras around the origin whose common field of view just holds the mesh from each of them."""
    wide = Cameras.orbit(azimuth, elevation, distance=DISTANCE)
    clip = transform(mesh.vertices, clip_from_world(wide))
    reach = float((clip[..., :2] / clip[..., 3:]).abs().max())
    half = math.tan(math.radians(float(wide.fov_y[0])) / 2) * reach / fill
    return Cameras.orbit(azimuth, elevation, distance=DISTANCE, fov_y=2 * math.degrees(math.atan(half)))


def pixels(image: Tensor) -> np.ndarray:
    """[3, H, W] in [0, 1], row 0 at the top -> [H, W, 3] uint8."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()


def texture_pixels(texture: Tensor, mask: Tensor | None = None, side: int = 512) -> np.ndarray:
    """A texture [3, T, T] as a picture with v up, faded outside `mask` [1, T, T], at most `side` wide."""
    shown = texture if mask is None else texture * mask + (0.25 * texture + 0.75) * (1 - mask)
    while shown.shape[-1] > side:
        shown = F.avg_pool2d(shown[None], 2)[0]
    return pixels(shown.flip(1))

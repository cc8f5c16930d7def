"""Pictures of textured meshes for people: lit renders, so that the shape can be made out under its colours.

Scores are never taken from these; they judge unlit renders.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.cameras import Cameras, eye
from texgen.mesh import Mesh
from texgen.render import geometry_buffer, shade

PICTURE_BACKGROUND = (0.93, 0.93, 0.93)


@torch.no_grad()
def lit_render(
    mesh: Mesh, texture: Tensor, azimuth: float, elevation: float, size: int = 192, supersample: int = 2
) -> Tensor:
    """One textured mesh under a soft light from above the camera's left shoulder, over light grey.

    texture: [3, T, T] in [0, 1]. azimuth, elevation: degrees. Returns [3, size, size] in [0, 1].
    """
    camera = Cameras.orbit(azimuth, elevation, distance=2.25)
    buffer = geometry_buffer(mesh, camera, size * supersample)
    image = shade(buffer, texture, PICTURE_BACKGROUND)
    towards = F.normalize(eye(camera)[0], dim=0)
    right = torch.linalg.cross(torch.tensor([0.0, 1.0, 0.0]), towards)
    light = F.normalize(towards + torch.tensor([0.0, 0.9, 0.0]) - 0.5 * right, dim=0)
    # The normal is turned towards the eye, so that back sides of open surfaces are lit as well.
    facing = torch.sign((buffer.normal * (eye(camera)[0] - buffer.position)).sum(-1, keepdim=True))
    diffuse = ((buffer.normal * facing) @ light).clamp(min=0)[:, None]
    lit = (image * (0.62 + 0.42 * diffuse)).clamp(0, 1)
    image = torch.where(buffer.mask > 0, lit, image)
    return F.avg_pool2d(image, supersample)[0]

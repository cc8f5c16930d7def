"""Orbit cameras: where the eye is, the matrices, the ray through each pixel, and the cameras of a rig.

World: right-handed, +y up, the object faces +z. Azimuth 0 looks at the object from +z, azimuth 90 from +x;
a positive elevation is above. Camera: OpenGL, x right, y up, looking down -z. Images: row 0 at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from texgen.render.rigs import DISTANCES, RIGS

Angles = float | Sequence[float] | Tensor
Size = int | tuple[int, int]


@dataclass(frozen=True, eq=False)
class Cameras:
    """N cameras on spheres around the origin, all looking at it.

    azimuth, elevation: [N] degrees. distance: [N] from the origin, world units. fov_y: [N] vertical field of
    view, degrees. near, far: distances along the view axis between which surfaces are seen.
    Every function of this module is differentiable in the four tensors.
    """

    azimuth: Tensor
    elevation: Tensor
    distance: Tensor
    fov_y: Tensor
    near: float = 0.01
    far: float = 100.0

    def __len__(self) -> int:
        return self.azimuth.shape[0]

    def __getitem__(self, index: int | slice) -> Cameras:
        """The chosen cameras, always batched: an integer gives a batch of one."""
        if isinstance(index, int):
            if not -len(self) <= index < len(self):  # IndexError also ends `for camera in cameras`
                raise IndexError(f"camera {index} of {len(self)}")
            index = slice(index, index + 1 or None)
        parts = (self.azimuth, self.elevation, self.distance, self.fov_y)
        return Cameras(*(part[index] for part in parts), self.near, self.far)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Cameras:
        parts = (self.azimuth, self.elevation, self.distance, self.fov_y)
        return Cameras(*(part.to(device=device, dtype=dtype) for part in parts), self.near, self.far)

    @staticmethod
    def orbit(
        azimuth: Angles,
        elevation: Angles,
        distance: Angles = 2.5,
        fov_y: Angles = 50.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Cameras:
        """Cameras from numbers, lists or tensors, each of length N or 1 (broadcast). Tensors keep their
        graph.

        Raises ValueError when the lengths do not agree.
        """
        given = (azimuth, elevation, distance, fov_y)
        values = [torch.as_tensor(value, dtype=dtype, device=device).reshape(-1) for value in given]
        lengths = [value.shape[0] for value in values]
        if any(length not in (1, max(lengths)) for length in lengths):
            raise ValueError(
                "azimuth, elevation, distance and fov_y must have one length, or length 1; "
                f"they have {', '.join(map(str, lengths))}."
            )
        return Cameras(*torch.broadcast_tensors(*values))


def image_size(size: Size) -> tuple[int, int]:
    """(height, width) of an image size given as one side or as (height, width)."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _axes(cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Unit right, up and backward (from the target to the eye) of each camera in the world, each [N, 3].

    Written from the angles rather than by a look-at product, so that the poles are not singular.
    """
    azimuth, elevation = torch.deg2rad(cameras.azimuth), torch.deg2rad(cameras.elevation)
    sin_a, cos_a, sin_e, cos_e = azimuth.sin(), azimuth.cos(), elevation.sin(), elevation.cos()
    right = torch.stack([cos_a, torch.zeros_like(cos_a), -sin_a], dim=-1)
    up = torch.stack([-sin_e * sin_a, cos_e, -sin_e * cos_a], dim=-1)
    backward = torch.stack([cos_e * sin_a, sin_e, cos_e * cos_a], dim=-1)
    return right, up, backward


def eye(cameras: Cameras) -> Tensor:
    """Positions of the eyes in the world, [N, 3]."""
    return _axes(cameras)[2] * cameras.distance[:, None]


def view_from_world(cameras: Cameras) -> Tensor:
    """Rigid matrices [N, 4, 4] that take world points (columns) to camera space."""
    rotation = torch.stack(_axes(cameras), dim=1)
    zero = torch.zeros_like(cameras.distance)
    translation = torch.stack([zero, zero, -cameras.distance], dim=-1)
    top = torch.cat([rotation, translation[:, :, None]], dim=2)
    bottom = top.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(cameras), 1, 4)
    return torch.cat([top, bottom], dim=1)


def _focal(cameras: Cameras) -> Tensor:
    """[N] distance of the image plane at which the image is 2 high."""
    return 1.0 / torch.tan(torch.deg2rad(cameras.fov_y) / 2)


def clip_from_view(cameras: Cameras, aspect: float = 1.0) -> Tensor:
    """Perspective matrices [N, 4, 4]; clip w is the distance along the view axis. aspect: width / height."""
    near, far = cameras.near, cameras.far
    focal = _focal(cameras)
    zero, one = torch.zeros_like(focal), torch.ones_like(focal)
    rows = [
        [focal / aspect, zero, zero, zero],
        [zero, focal, zero, zero],
        [zero, zero, one * ((near + far) / (near - far)), one * (2 * near * far / (near - far))],
        [zero, zero, -one, zero],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=1)


def clip_from_world(cameras: Cameras, aspect: float = 1.0) -> Tensor:
    """`clip_from_view @ view_from_world`, [N, 4, 4]."""
    return clip_from_view(cameras, aspect) @ view_from_world(cameras)


def transform(points: Tensor, matrix: Tensor) -> Tensor:
    """Homogeneous images [N, V, 4] of points [V, 3] under matrices [N, 4, 4]."""
    return torch.einsum("nij,vj->nvi", matrix[:, :, :3], points) + matrix[:, None, :, 3]


def pixel_grid(
    size: Size, dtype: torch.dtype, device: torch.device | str | None = None
) -> tuple[Tensor, Tensor]:
    """ndc x of the pixel columns [W], rising to the right, and ndc y of the pixel rows [H], falling."""
    height, width = image_size(size)
    x = (torch.arange(width, dtype=dtype, device=device) + 0.5) * (2.0 / width) - 1.0
    y = 1.0 - (torch.arange(height, dtype=dtype, device=device) + 0.5) * (2.0 / height)
    return x, y


def pixel_rays(cameras: Cameras, size: Size) -> tuple[Tensor, Tensor]:
    """Rays through the pixel centres: origins [N, 3] (the eyes), unit directions [N, H, W, 3] in the world.

    size: image side, or (height, width); pixels are square.
    """
    height, width = image_size(size)
    x, y = pixel_grid(size, cameras.azimuth.dtype, cameras.azimuth.device)
    right, up, backward = _axes(cameras)
    focal = _focal(cameras)[:, None]
    across = (x * (width / height))[None, :, None] * (right / focal)[:, None, :]
    upward = y[None, :, None] * (up / focal)[:, None, :]
    directions = across[:, None] + upward[:, :, None] - backward[:, None, None]
    return eye(cameras), directions / directions.norm(dim=-1, keepdim=True)


def turned_from_front(azimuth: float) -> float:
    """Degrees between an azimuth and the front, to either side, in [0, 180]."""
    return abs(180.0 - (180.0 - azimuth) % 360.0)


def direction_word(azimuth: float, elevation: float) -> str:
    """The word for a view in a prompt: "top", "bottom", "front", "side" or "back" (InTeX, paper 2506.18331).

    azimuth, elevation in degrees, positive elevation above; the azimuth is wrapped to (-180, 180].
    """
    if elevation >= 60:
        return "top"
    if elevation <= -60:
        return "bottom"
    turned = turned_from_front(azimuth)
    if turned < 30:
        return "front"
    return "side" if turned < 90 else "back"


def rig_cameras(name: str, distance: float = 2.5, fov_y: float = 50.0) -> Cameras:
    """The cameras of a named list, in its order. Raises ValueError for an unknown name.

    distance: of all cameras; the few rigs with several distances scale theirs by it.
    """
    if name not in RIGS:
        raise ValueError(f"There is no camera rig {name!r}; choose one of {', '.join(RIGS)}.")
    azimuth, elevation = zip(*RIGS[name], strict=True)
    distances = [distance * factor for factor in DISTANCES.get(name, (1.0,) * len(azimuth))]
    return Cameras.orbit(azimuth, elevation, distances, fov_y)

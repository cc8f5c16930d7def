"""Rendering: one geometry buffer per mesh, rig and size, shaded by any number of textures."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.mesh.mesh import Mesh
from texgen.render.cameras import Cameras, Size, clip_from_world, eye, image_size, transform
from texgen.render.interpolate import hit_corners, interpolate_hits, mix_corners, pixel_barycentrics, spread
from texgen.render.rasterize import visible_faces
from texgen.render.setting_types import DepthConvention
from texgen.render.texture_lookup import sample

DEPTH_CONVENTIONS = get_args(DepthConvention)


@dataclass(frozen=True, eq=False)
class GeometryBuffer:
    """What N cameras see of one mesh at H x W; all values are 0 where nothing is seen, except face = -1.

    face: [N, H, W] int64. bary: [N, H, W, 3] perspective-correct. depth: [N, H, W] along the view axis.
    uv: [N, H, W, 2]. uv_dx, uv_dy: [N, H, W, 2] change of uv to the next pixel on the right, and below, in
    the plane of the same face. mask: [N, 1, H, W], 1 where something is seen. position, normal: [N, H, W, 3]
    in the world, the normal interpolated from the vertices and of unit length. cosine: [N, 1, H, W] in [0,
    1], |cos| between the normal and the direction to the eye.
    """

    face: Tensor
    bary: Tensor
    depth: Tensor
    uv: Tensor
    uv_dx: Tensor
    uv_dy: Tensor
    mask: Tensor
    position: Tensor
    normal: Tensor
    cosine: Tensor

    def __len__(self) -> int:
        return self.face.shape[0]

    def view(self, i: int) -> GeometryBuffer:
        """The buffer of camera i alone (N = 1)."""
        if not 0 <= i < len(self):
            raise IndexError(f"view {i} of {len(self)}")
        return GeometryBuffer(*(getattr(self, field.name)[i : i + 1] for field in fields(self)))


def geometry_buffer(mesh: Mesh, cameras: Cameras, size: Size, backend: str = "warp") -> GeometryBuffer:
    """Rasterise a mesh and interpolate what shading and projection need.

    size: image side, or (height, width). backend: see `rasterize`. Differentiable in the cameras and the
    vertices, except for `face` and `mask`: which face a pixel sees is a constant.
    """
    cameras = cameras.to(mesh.vertices.device, mesh.vertices.dtype)
    views = len(cameras)
    face = visible_faces(mesh.vertices, mesh.faces, cameras, size, backend)
    hits = hit_corners(mesh.vertices, mesh.faces, cameras, face, size)
    seen = face.reshape(-1)[hits.index]

    bary = pixel_barycentrics(hits)
    depth = mix_corners(hits.corners[..., 2:], bary)
    uv_corners = mesh.uvs.index_select(0, mesh.uv_faces.index_select(0, seen).reshape(-1)).reshape(-1, 3, 2)
    uv = mix_corners(uv_corners, bary)
    # Barycentrics sum to 1, so mixing their differences gives the uv differences without cancellation.
    uv_dx = mix_corners(uv_corners, pixel_barycentrics(hits, (1.0, 0.0)) - bary)
    uv_dy = mix_corners(uv_corners, pixel_barycentrics(hits, (0.0, 1.0)) - bary)

    position = interpolate_hits(mesh.vertices, mesh.faces, seen, bary)
    normal = F.normalize(interpolate_hits(mesh.vertex_normals, mesh.faces, seen, bary), dim=-1)
    height, width = image_size(size)
    camera = torch.div(hits.index, height * width, rounding_mode="floor")
    to_eye = F.normalize(eye(cameras)[camera] - position, dim=-1)
    cosine = (normal * to_eye).sum(dim=-1, keepdim=True).abs()
    return GeometryBuffer(
        face=face,
        bary=spread(bary, hits, views),
        depth=spread(depth, hits, views)[..., 0],
        uv=spread(uv, hits, views),
        uv_dx=spread(uv_dx, hits, views),
        uv_dy=spread(uv_dy, hits, views),
        mask=(face >= 0).to(bary.dtype)[:, None],
        position=spread(position, hits, views),
        normal=spread(normal, hits, views),
        cosine=spread(cosine, hits, views)[..., 0][:, None],
    )


def _background(background: Tensor | tuple[float, ...], texture: Tensor) -> Tensor:
    colour = torch.as_tensor(background, dtype=texture.dtype, device=texture.device)
    if colour.shape != (texture.shape[0],):
        raise ValueError(
            f"The background has shape {tuple(colour.shape)}; a texture of {texture.shape[0]} channels needs "
            f"{texture.shape[0]} values."
        )
    return colour


def shade(
    buffer: GeometryBuffer, texture: Tensor, background: Tensor | tuple[float, ...] = (1.0, 1.0, 1.0)
) -> Tensor:
    """The texture [C, H', W'] seen through a geometry buffer, mip-mapped, over a background: [N, C, H, W].

    background: C values. No light: the texture's values come out unchanged. Differentiable in the texture,
    the background and the buffer. Raises ValueError when the background's length is not C.
    """
    views, height, width = buffer.face.shape
    colour = _background(background, texture)
    index = torch.nonzero(buffer.face.reshape(-1) >= 0).squeeze(1)
    uv, uv_dx, uv_dy = (part.reshape(-1, 2)[index] for part in (buffer.uv, buffer.uv_dx, buffer.uv_dy))
    values = sample(texture, uv, uv_dx, uv_dy)
    canvas = colour.expand(views * height * width, -1).index_copy(0, index, values)
    return canvas.reshape(views, height, width, -1).permute(0, 3, 1, 2).contiguous()


def render(
    mesh: Mesh,
    texture: Tensor,
    cameras: Cameras,
    size: Size,
    background: Tensor | tuple[float, ...] = (1.0, 1.0, 1.0),
    supersample: int = 1,
    backend: str = "warp",
) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] of a textured mesh, and their alpha [N, 1, H, W] in [0, 1].

    texture [C, H', W']. size: image side, or (height, width). supersample s: everything is computed at s
    times the size and averaged, which antialiases silhouettes and seams; s = 1 leaves them hard. backend: see
    `rasterize`.
    """
    height, width = image_size(size)
    buffer = geometry_buffer(mesh, cameras, (height * supersample, width * supersample), backend)
    return render_buffer(buffer, texture, (len(cameras), height, width), background, supersample)


def render_buffer(
    buffer: GeometryBuffer,
    texture: Tensor,
    shape: tuple[int, int, int],
    background: Tensor | tuple[float, ...] = (1.0, 1.0, 1.0),
    supersample: int = 1,
) -> tuple[Tensor, Tensor]:
    """`render` where the geometry is there already. buffer: at supersample times the images' size.

    shape: of the images, (N, H, W). Raises ValueError when the buffer has another one.
    """
    views, height, width = shape
    expected = (views, height * supersample, width * supersample)
    if tuple(buffer.face.shape) != expected:
        raise ValueError(
            f"The geometry buffer has shape {tuple(buffer.face.shape)}, but {expected} is needed."
        )
    images, alpha = shade(buffer, texture, background), buffer.mask
    if supersample > 1:
        images, alpha = F.avg_pool2d(images, supersample), F.avg_pool2d(alpha, supersample)
    return images, alpha


def depth_map(mesh: Mesh, cameras: Cameras, buffer: GeometryBuffer, convention: str) -> Tensor:
    """The depth image [N, 1, H, W] in [0, 1] that a depth ControlNet reads: near is bright, the background is
    0 but for the last convention.

    convention:
    - "disparity-global": 1 / depth, 0 to 1 between the farthest and the nearest of all vertices, seen or not
    (InTeX); - "disparity-view": the same between the farthest and the nearest visible pixel (as MiDaS-like
    estimators give); - "linear-0.5-1": depth, from 1 at the nearest visible pixel to 0.5 at the farthest
    (TEXTure); - "linear-50-255": depth, from 255 at the nearest visible pixel to 50 at the farthest, over a
    background of 10, all of 255 (Text2Tex). Every view is scaled by itself. A view of constant depth is 1
    where something is seen.
    Raises ValueError for another convention.
    """
    if convention not in DEPTH_CONVENTIONS:
        raise ValueError(
            f"There is no depth convention {convention!r}; choose one of {', '.join(DEPTH_CONVENTIONS)}."
        )
    seen = buffer.mask[:, 0] > 0
    value = buffer.depth.masked_fill(~seen, 1.0)
    value = -value if convention.startswith("linear") else 1.0 / value
    if convention == "disparity-global":
        cameras = cameras.to(mesh.vertices.device, mesh.vertices.dtype)
        ends = 1.0 / transform(mesh.vertices, clip_from_world(cameras))[..., 3].clamp(min=cameras.near)
        low, high = ends.amin(dim=1), ends.amax(dim=1)
    else:
        infinity = torch.inf
        low = value.masked_fill(~seen, infinity).flatten(1).amin(dim=1)
        high = value.masked_fill(~seen, -infinity).flatten(1).amax(dim=1)
    low, high = low[:, None, None], high[:, None, None]
    span = high - low
    usable = torch.isfinite(span) & (span > 0)
    scaled = (value - low.where(usable, value)) / span.where(usable, torch.ones_like(span))
    scaled = torch.where(usable, scaled, torch.ones_like(scaled)).clamp(0, 1)
    if convention == "linear-0.5-1":
        scaled = 0.5 + 0.5 * scaled
    background = 0.0
    if convention == "linear-50-255":
        scaled, background = (50 + 205 * scaled) / 255, 10 / 255
    return torch.where(seen, scaled, torch.full_like(scaled, background))[:, None]

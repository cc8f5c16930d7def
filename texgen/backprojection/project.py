"""Image to texture: the two projection operators that the painting methods differ in.

`gather` asks every texel where it is seen in the image and samples there: no holes, no atomics, exact
gradient. `scatter_mip` asks every pixel where it lands in the texture and splats it there, InTeX's way: it
leaves holes, which are closed from splats at lower resolutions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.mesh.mesh import Mesh
from texgen.render.atlas import Atlas
from texgen.render.cameras import Cameras, Size, clip_from_world, eye, image_size, transform
from texgen.render.images import GeometryBuffer
from texgen.render.rasterize import first_hits

FULLY_COVERED = 0.99


@dataclass(frozen=True)
class Visibility:
    """Where one camera sees the texels of one mesh.

    pixel: [T, T, 2] continuous (x, y) in pixels, pixel centres at half-integers, y down.
    visible: [1, T, T] float, 1 where the surface point of the texel centre is seen from the eye.
    cosine: [1, T, T] in [0, 1], |cos| between the surface normal and the direction to the eye, 0 off the
    charts.
    """

    pixel: Tensor
    visible: Tensor
    cosine: Tensor


def texel_visibility(
    mesh: Mesh,
    atlas: Atlas,
    camera: Cameras,
    size: Size,
    min_cosine: float = 0.0,
    epsilon: float = 1e-4,
) -> Visibility:
    """Project every texel into a camera and test by a ray from the eye whether it is seen.

    The ray test is exact: it does not compare with a depth image, so the answer does not depend on the
    image's resolution. A texel is seen when the ray's first hit is its own face, or lies no nearer than
    `(1 - epsilon)` of the texel's distance (a neighbour across a shared edge), or when nothing is hit at
    all (the ray slipped through the crack between two faces at the silhouette).

    mesh, atlas: the atlas belongs to this mesh. camera: one camera. size: image side, or (height, width).
    min_cosine: texels seen at a smaller cosine count as not visible. epsilon: relative to the distance.
    `pixel` and `cosine` are differentiable in the camera; `visible` is constant.
    Raises ValueError when `camera` holds more or fewer than one camera.
    """
    if len(camera) != 1:
        raise ValueError(f"texel_visibility takes exactly one camera and got {len(camera)}; pass rig[i].")
    height, width = image_size(size)
    points = atlas.position.reshape(-1, 3)
    camera = camera.to(points.device, points.dtype)
    clip = transform(points, clip_from_world(camera, aspect=width / height))[0]
    depth = clip[:, 3]
    # Texels off the charts sit at the origin; a camera there would divide by zero.
    ndc = clip[:, :2] / torch.where(depth.abs() < 1e-8, torch.full_like(depth, 1e-8), depth)[:, None]
    pixel = torch.stack([(ndc[:, 0] + 1) * (width / 2), (1 - ndc[:, 1]) * (height / 2)], dim=-1)

    to_eye = eye(camera)[0] - points
    distance = to_eye.norm(dim=-1)
    covered = atlas.mask.reshape(-1) > 0
    cosine = (F.normalize(to_eye, dim=-1) * atlas.normal.reshape(-1, 3)).sum(-1).abs().clamp(max=1.0)
    cosine = cosine * covered

    with torch.no_grad():
        in_frame = (pixel >= 0).all(-1) & (pixel[:, 0] <= width) & (pixel[:, 1] <= height)
        in_frame &= (depth > camera.near) & (depth < camera.far)
        asked = torch.nonzero(covered & in_frame & (cosine >= min_cosine)).squeeze(-1)
        visible = torch.zeros_like(distance)
        if len(asked):
            origins = eye(camera).expand(len(asked), 3)
            face, hit, _ = first_hits(mesh.vertices, mesh.faces, origins, -F.normalize(to_eye[asked], dim=-1))
            own = face == atlas.face.reshape(-1)[asked]
            unblocked = (face < 0) | own | (hit >= distance[asked] * (1 - epsilon))
            visible[asked] = unblocked.to(visible.dtype)

    texels = atlas.face.shape
    return Visibility(pixel.reshape(*texels, 2), visible.reshape(1, *texels), cosine.reshape(1, *texels))


def gather(image: Tensor, visibility: Visibility, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sample an image at every texel that sees it.

    image: [C, H, W]. visibility: of the same camera, made with this image's (H, W).
    mask: [1, H, W] in [0, 1], how much of a pixel the object covers; a pixel counts as inside from 0.99 on,
    since less means that background is mixed into it. None = the whole image is inside.
    Returns values [C, T, T] (bilinear sample, 0 where the weight is 0) and weight [1, T, T] in {0, 1}: 1
    where the texel is visible and none of the pixels its bilinear sample reads is outside the mask or the
    image, so that no background colour bleeds into the texture. Differentiable in `image` (and in
    `visibility.pixel`).
    """
    height, width = image.shape[-2:]
    if mask is not None and mask.shape[-2:] != image.shape[-2:]:
        raise ValueError(f"mask is {tuple(mask.shape[-2:])}, image is {(height, width)}; make them equal.")
    pixel = visibility.pixel.to(image.dtype)
    with torch.no_grad():
        inside = _footprint_inside(pixel, height, width, mask)
        weight = visibility.visible.to(image.dtype) * inside[None]
    extent = pixel.new_tensor([width, height])
    grid = (pixel / extent * 2 - 1)[None]
    values = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return values[0] * weight, weight


def _footprint_inside(pixel: Tensor, height: int, width: int, mask: Tensor | None) -> Tensor:
    """[T, T] bool: every pixel with a positive bilinear weight at `pixel` [T, T, 2] is in the image and the
    mask.
    """
    corner = (pixel - 0.5).floor()
    exact = (pixel - 0.5) == corner  # the far neighbour then has weight 0 and may lie anywhere
    limit = pixel.new_tensor([width, height])
    inside = torch.ones(pixel.shape[:-1], dtype=torch.bool, device=pixel.device)
    for step_x in (0, 1):
        for step_y in (0, 1):
            step = pixel.new_tensor([step_x, step_y])
            at = corner + step
            ok = ((at >= 0) & (at < limit)).all(-1)
            if mask is not None:
                column = at[..., 0].clamp(0, width - 1).long()
                row = at[..., 1].clamp(0, height - 1).long()
                ok &= mask[0, row, column] >= FULLY_COVERED
            unread = (exact & (step > 0)).any(-1)
            inside &= ok | unread
    return inside


def splat(values: Tensor, uv: Tensor, weight: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Add samples into a square texture with bilinear weights: the transpose of bilinear clamp-to-edge
    sampling.

    values: [P, C]. uv: [P, 2] in [0, 1]. weight: [P] non-negative. size: texels per side.
    Returns the weighted sum of values [C, size, size] and the sum of weights [1, size, size].
    Differentiable in values, uv and weight.
    """
    position = uv * size - 0.5
    corner = position.detach().floor()
    part = position - corner
    payload = torch.cat([values, torch.ones_like(values[:, :1])], dim=1) * weight[:, None]
    grid = payload.new_zeros(size * size, payload.shape[1])
    for step_x in (0, 1):
        for step_y in (0, 1):
            share_x = part[:, 0] if step_x else 1 - part[:, 0]
            share_y = part[:, 1] if step_y else 1 - part[:, 1]
            column = (corner[:, 0] + step_x).clamp(0, size - 1).long()
            row = (corner[:, 1] + step_y).clamp(0, size - 1).long()
            grid = grid.index_add(0, row * size + column, payload * (share_x * share_y)[:, None])
    grid = grid.T.reshape(-1, size, size)
    return grid[:-1], grid[-1:]


def scatter_mip(
    image: Tensor, buffer: GeometryBuffer, texture_size: int, mask: Tensor, min_level: int = 128
) -> tuple[Tensor, Tensor]:
    """InTeX's back-projection: splat pixels into the texture, close holes from splats at lower resolutions.

    The image is splatted at `texture_size`; texels that received exactly nothing take values and weights of
    the splat at half that size, upsampled bilinearly, and so on while the level's size exceeds `min_level`
    (1024, 512, 256 for the published 1024 texture). Texel centres are at half-integers here; the published
    grid puts them on the texture's border (`align_corners`), half a texel away.

    image: [C, H, W]. buffer: one view rendered at (H, W). texture_size: T. mask: [1, H, W] >= 0, a factor
    on each pixel's weight (0 leaves it out; pixels that see no face, or see it edge-on at cosine 0, are
    always left out).
    Returns value_sum [C, T, T] and weight [1, T, T]; the colour is value_sum / weight where weight > 0.
    Differentiable in image, mask and buffer.uv. Raises ValueError on unequal sizes.
    Source: InTeX (arXiv 2403.11878), section 3.
    """
    if buffer.face.shape[0] != 1:
        raise ValueError(f"scatter_mip takes one view, not {buffer.face.shape[0]}; pass buffer.view(i).")
    if not image.shape[-2:] == buffer.face.shape[-2:] == mask.shape[-2:]:
        raise ValueError(
            f"image {tuple(image.shape[-2:])}, buffer {tuple(buffer.face.shape[-2:])} and mask "
            f"{tuple(mask.shape[-2:])} must have equal height and width; resize the image to the render size."
        )
    used = (buffer.face[0] >= 0) & (buffer.cosine[0, 0] > 0) & (mask[0] > 0)
    values = image[:, used].T
    uv = buffer.uv[0][used].to(image.dtype)
    pixel_weight = mask[0][used].to(image.dtype)

    value_sum, weight = splat(values, uv, pixel_weight, texture_size)
    level = texture_size // 2
    while level > min_level and len(values):
        holes = weight == 0
        if not holes.any():
            break
        coarse = torch.cat(splat(values, uv, pixel_weight, level))
        size = (texture_size, texture_size)
        fine = F.interpolate(coarse[None], size=size, mode="bilinear", align_corners=False)[0]
        value_sum = torch.where(holes, fine[:-1], value_sum)
        weight = torch.where(holes, fine[-1:], weight)
        level //= 2
    return value_sum, weight

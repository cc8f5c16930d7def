"""The miniature's training data: views of procedural shapes, painted with random solid materials.

Rendering geometry is slow and painting is quick, so it is done in two stages.  `build_views` rasterises each
shape from random cameras once and keeps, per view, the surface positions under every pixel; `paint_views`
draws a material and a caption for a view and paints it.  Both depend on their seed alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from texgen.cameras import Cameras, eye, pixel_rays, transform, view_from_world
from texgen.miniature.captions import caption
from texgen.miniature.materials import BACKGROUND, draw_paint, paint
from texgen.miniature.shapes import SHAPES, make_shape
from texgen.rasterize import first_hits

SUPERSAMPLE = 2


@dataclass
class View:
    """One view of one shape: what is needed to paint it.

    Attributes:
        shape: name of the shape, for the caption.
        pixels: ``[P]`` flat indices of the pixels that see the surface.
        positions: ``[P, 3]`` float16 mean surface position under each of them.
        coverage: ``[P]`` uint8 share of the pixel's subsamples that see the surface, 255 = all.
        depth: ``[size, size]`` uint8 control image, 1/depth scaled over all vertices (near 255, else 0).
    """

    shape: str
    pixels: Tensor
    positions: Tensor
    coverage: Tensor
    depth: Tensor


def random_camera(generator: torch.Generator) -> Cameras:
    """A camera anywhere around the object, most often near the horizon."""
    azimuth = 360 * torch.rand(1, generator=generator) - 180
    if torch.rand(1, generator=generator) < 0.8:
        elevation = 65 * torch.rand(1, generator=generator) - 20
    else:
        elevation = torch.rad2deg(torch.asin(2 * torch.rand(1, generator=generator) - 1)).clamp(-89, 89)
    distance = 2.3 + 0.5 * torch.rand(1, generator=generator)
    return Cameras.orbit(azimuth, elevation, distance)


def view_shape(name: str, vertices: Tensor, faces: Tensor, camera: Cameras, size: int) -> View:
    """Rasterise one shape ``[V, 3]``, ``[F, 3]`` from one camera at ``size`` pixels."""
    fine = size * SUPERSAMPLE
    origin, rays = pixel_rays(camera, fine)
    rays = rays.reshape(-1, 3)
    origin = origin.expand(len(rays), 3).contiguous()
    face, distance, _ = first_hits(vertices, faces, origin, rays)
    pixels = (face >= 0).nonzero()[:, 0]
    positions = origin[pixels] + rays[pixels] * distance[pixels, None]
    along_axis = -transform(vertices, view_from_world(camera))[0, :, 2]
    near, far = 1 / along_axis.min(), 1 / along_axis.max()
    towards = -(positions - eye(camera)) @ view_from_world(camera)[0, 2, :3]
    disparity = ((1 / towards - far) / (near - far)).clamp(0, 1)
    depth = torch.zeros(fine * fine)
    depth[pixels] = disparity
    depth = depth.view(fine, fine)[::SUPERSAMPLE, ::SUPERSAMPLE]
    return View(name, *pool_hits(pixels, positions, size), (depth * 255).round().to(torch.uint8))


def pool_hits(pixels: Tensor, positions: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """From subsamples ``[S]`` with positions ``[S, 3]`` to pixels: index, mean position and coverage."""
    fine = size * SUPERSAMPLE
    rows = torch.div(pixels, fine, rounding_mode="floor") // SUPERSAMPLE
    owner = rows * size + pixels % fine // SUPERSAMPLE
    index, group, count = owner.unique(return_inverse=True, return_counts=True)
    mean = torch.zeros(len(index), 3).index_add(0, group, positions) / count[:, None]
    coverage = (count.float() / SUPERSAMPLE**2 * 255).round().to(torch.uint8)
    return index.to(torch.int32), mean.half(), coverage


def build_views(count: int, seed: int, size: int = 128, views_per_shape: int = 6) -> Iterator[View]:
    """Views of random shapes, ``views_per_shape`` of each jittered shape."""
    names = sorted(SHAPES)
    made = 0
    while made < count:
        index = made // views_per_shape
        rng = np.random.default_rng([seed, index])
        generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
        name = names[index % len(names)]
        vertices, faces = (torch.from_numpy(np.ascontiguousarray(a)) for a in make_shape(name, rng))
        for _ in range(min(views_per_shape, count - made)):
            yield view_shape(name, vertices.float(), faces.long(), random_camera(generator), size)
            made += 1


def paint_view(view: View, albedo: Tensor, size: int, background: Tensor) -> tuple[Tensor, Tensor]:
    """Compose albedo ``[P, 3]`` at the view's pixels over a background ``[3]``, antialiased.

    Returns:
        image ``[3, size, size]`` in [0, 1] and alpha ``[1, size, size]``.
    """
    index, cover = view.pixels.long(), view.coverage.float()[:, None] / 255
    image = background.expand(size * size, 3).clone()
    image[index] = albedo * cover + background * (1 - cover)
    alpha = torch.zeros(size * size, 1)
    alpha[index] = cover
    return image.T.view(3, size, size), alpha.T.view(1, size, size)


@dataclass
class Samples:
    """Painted views with captions; images are uint8 to keep tens of thousands in memory.

    Attributes:
        images: ``[N, 3, size, size]`` uint8.
        alpha: ``[N, size, size]`` uint8 foreground coverage.
        depth: ``[N, size, size]`` uint8.
        positions: ``[N, 3, size, size]`` float16 surface position, 0 off the object.
        captions: N strings.
        materials: N material names.
        colours: N tuples of colour names.
        shapes: N shape names.
    """

    images: Tensor
    alpha: Tensor
    depth: Tensor
    positions: Tensor
    captions: list[str]
    materials: list[str]
    colours: list[tuple[str, ...]]
    shapes: list[str]

    def __len__(self) -> int:
        return len(self.captions)


def paint_views(views: list[View], count: int, seed: int, size: int = 128) -> Samples:
    """Paint ``count`` samples, going through the views in turn with a new material each time."""
    images = torch.empty(count, 3, size, size, dtype=torch.uint8)
    alpha = torch.empty(count, size, size, dtype=torch.uint8)
    depth = torch.empty(count, size, size, dtype=torch.uint8)
    positions = torch.zeros(count, 3, size, size, dtype=torch.float16)
    captions, materials, colours, shapes = [], [], [], []
    background = torch.tensor(BACKGROUND)
    for i in range(count):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        rng = np.random.default_rng([seed, i])
        view = views[i % len(views)]
        spec = draw_paint(generator)
        image, cover = paint_view(view, paint(view.positions, spec), size, background)
        images[i] = (image * 255).round().to(torch.uint8)
        alpha[i] = (cover[0] * 255).round().to(torch.uint8)
        depth[i] = view.depth
        positions[i] = pixel_positions(view, size)
        captions.append(caption(spec.material, spec.colours, view.shape, rng))
        materials.append(spec.material)
        colours.append(spec.colours)
        shapes.append(view.shape)
    return Samples(images, alpha, depth, positions, captions, materials, colours, shapes)


def pixel_positions(view: View, size: int) -> Tensor:
    """Surface positions ``[3, size, size]`` float16 at every pixel, 0 off the object."""
    canvas = torch.zeros(size * size, 3, dtype=torch.float16)
    canvas[view.pixels.long()] = view.positions
    return canvas.T.view(3, size, size)


def draw_known_masks(alpha: Tensor, positions: Tensor, generator: torch.Generator) -> Tensor:
    """What an inpainting model is shown of each image: like a view in the middle of texturing an object.

    A third of the samples show nothing, a sixth show only the background, the rest show the background and
    the part of the surface on one side of a random plane, or outside a random ball.

    Args:
        alpha: ``[B, size, size]`` in [0, 1].
        positions: ``[B, 3, size, size]``.

    Returns:
        known ``[B, 1, size, size]``, 1 where the pixel is given.
    """
    batch = len(alpha)
    kind = torch.rand(batch, generator=generator)
    normal = torch.nn.functional.normalize(torch.randn(batch, 3, generator=generator), dim=1)
    offset = 0.5 * torch.randn(batch, generator=generator)
    plane = torch.einsum("bchw,bc->bhw", positions, normal) > offset[:, None, None] * 0.8
    centre = 0.5 * torch.randn(batch, 3, generator=generator)
    radius = 0.25 + 0.5 * torch.rand(batch, generator=generator)
    ball = (positions - centre[:, :, None, None]).norm(dim=1) > radius[:, None, None]
    surface = torch.where((kind < 0.85)[:, None, None], plane, ball)
    surface &= (kind > 0.5)[:, None, None]
    outside = (alpha < 0.004) & (kind > 0.33)[:, None, None]
    inside = (alpha > 0.996) & surface
    return (outside | inside)[:, None].float()

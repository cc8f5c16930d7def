"""The miniature's training data: views of procedural shapes, painted with random solid materials.

Rendering geometry is slow and painting is quick, so it is done in two stages.  `build_views` rasterises each
shape from random cameras once and keeps, per view, the surface positions under every pixel; `paint_views`
draws a material and a caption for a view and paints it.  Both depend on their seed alone.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import repeat
from multiprocessing import get_context

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.cameras import Cameras, clip_from_world, direction_word, pixel_rays, transform, view_from_world
from texgen.mesh import area_weighted_normals
from texgen.miniature.captions import caption
from texgen.miniature.lighting import soft_light
from texgen.miniature.materials import BACKGROUND, Paint, draw_paint, paint
from texgen.miniature.shapes import SHAPES, make_shape
from texgen.rasterize import first_hits

SUPERSAMPLE = 2
SOFT_SHARE = 0.15  # of the samples are softly lit


@dataclass
class View:
    """One view of one shape: what is needed to paint it.

    Attributes:
        shape: name of the shape, for the caption.
        pixels: ``[P]`` flat indices of the pixels that see the surface.
        positions: ``[P, 3]`` float16 mean surface position under each of them.
        coverage: ``[P]`` uint8 share of the pixel's subsamples that see the surface, 255 = all.
        normals: ``[P, 3]`` int8 mean world-space normal under each of them, times 127.
        depth: ``[size, size]`` uint8 control image, 1/depth scaled over all vertices (near 255, else 0).
        eye: ``[3]`` float32 unit direction from the object to the camera.
        word: the word for that direction, `texgen.cameras.direction_word`.
    """

    shape: str
    pixels: Tensor
    positions: Tensor
    coverage: Tensor
    normals: Tensor
    depth: Tensor
    eye: Tensor
    word: str


def random_camera(generator: torch.Generator) -> Cameras:
    """A camera around the object: mostly near the horizon, else anywhere on the sphere or near its poles."""
    azimuth = 360 * torch.rand(1, generator=generator) - 180
    kind, height = torch.rand(2, generator=generator)
    if kind < 0.6:
        elevation = 65 * height[None] - 20
    elif kind < 0.85:
        elevation = torch.rad2deg(torch.asin(2 * height[None] - 1))
    else:
        elevation = (60 + 60 * (height[None] % 0.5)) * (1 if height < 0.5 else -1)
    distance = 2.3 + 0.5 * torch.rand(1, generator=generator)
    return Cameras.orbit(azimuth, elevation.clamp(-89.9, 89.9), distance)


def view_shape(
    name: str, vertices: Tensor, faces: Tensor, normals: Tensor, camera: Cameras, size: int
) -> View:
    """Rasterise one shape ``[V, 3]``, ``[F, 3]`` with vertex normals ``[V, 3]`` at ``size`` pixels."""
    fine = size * SUPERSAMPLE
    window = object_window(vertices, camera, fine)
    origin, rays = pixel_rays(camera, fine)
    rays = rays[0][window].reshape(-1, 3)
    face, distance, weights = first_hits(vertices, faces, origin.expand(len(rays), 3).contiguous(), rays)
    hit = (face >= 0).nonzero()[:, 0]
    pixels = torch.arange(fine * fine).view(fine, fine)[window].reshape(-1)[hit]
    positions = origin + rays[hit] * distance[hit, None]
    hit_normals = (normals[faces[face[hit]]] * weights[hit, :, None]).sum(1)
    along_axis = -transform(vertices, view_from_world(camera))[0, :, 2]
    near, far = 1 / along_axis.min(), 1 / along_axis.max()
    towards = -(positions - origin) @ view_from_world(camera)[0, 2, :3]
    disparity = ((1 / towards - far) / (near - far)).clamp(0, 1)
    depth = torch.zeros(fine * fine, dtype=torch.uint8)
    depth[pixels] = (disparity * 255).round().to(torch.uint8)
    index, coverage, (positions, hit_normals) = pool_hits(pixels, (positions, hit_normals), size)
    return View(
        shape=name,
        pixels=index,
        positions=positions.half(),
        coverage=coverage,
        normals=(F.normalize(hit_normals, dim=1) * 127).round().to(torch.int8),
        depth=depth.view(fine, fine)[::SUPERSAMPLE, ::SUPERSAMPLE].contiguous(),
        eye=F.normalize(origin[0], dim=0),
        word=direction_word(float(camera.azimuth), float(camera.elevation)),
    )


def object_window(vertices: Tensor, camera: Cameras, size: int) -> tuple[slice, slice]:
    """Rows and columns of an image of side ``size`` outside of which no vertex ``[V, 3]`` is seen."""
    clip = transform(vertices, clip_from_world(camera))[0]
    ndc = clip[:, :2] / clip[:, 3:]
    low = ((ndc.amin(0) + 1) / 2 * size).floor().clamp(0, size).long().tolist()
    high = ((ndc.amax(0) + 1) / 2 * size).ceil().clamp(0, size).long().tolist()
    return slice(size - high[1], size - low[1]), slice(low[0], high[0])


def pool_hits(
    pixels: Tensor, values: tuple[Tensor, ...], size: int
) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """From subsamples ``[S]`` with values ``[S, 3]`` to pixels: index, coverage and the values' means."""
    fine = size * SUPERSAMPLE
    rows = torch.div(pixels, fine, rounding_mode="floor") // SUPERSAMPLE
    owner = rows * size + pixels % fine // SUPERSAMPLE
    count = owner.bincount(minlength=size * size)
    index = count.nonzero()[:, 0]
    count = count[index].float()
    means = tuple(torch.zeros(size * size, 3).index_add(0, owner, v)[index] / count[:, None] for v in values)
    return index.to(torch.int32), (count / SUPERSAMPLE**2 * 255).round().to(torch.uint8), means


def build_views(
    count: int, seed: int, size: int = 128, views_per_shape: int = 6, workers: int = 1
) -> Iterator[View]:
    """Views of random shapes, ``views_per_shape`` of each jittered shape.

    workers: processes that rasterise shapes side by side; the views and their order do not depend on it.
    """
    starts = range(0, count, views_per_shape)
    counts = [min(views_per_shape, count - start) for start in starts]
    if workers == 1:
        for index, number in enumerate(counts):
            yield from shape_views(index, number, seed, size)
        return
    # One thread each: the processes share the cores.
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        every = pool.map(_pickled_views, range(len(counts)), counts, repeat(seed), repeat(size))
        for views in every:
            yield from pickle.loads(views)


def shape_views(index: int, count: int, seed: int, size: int) -> list[View]:
    """``count`` views of the jittered shape number ``index``."""
    rng = np.random.default_rng([seed, index])
    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    names = sorted(SHAPES)
    name = names[index % len(names)]
    vertices, faces = (torch.from_numpy(np.ascontiguousarray(a)) for a in make_shape(name, rng))
    normals = area_weighted_normals(vertices, faces)
    return [view_shape(name, vertices, faces, normals, random_camera(generator), size) for _ in range(count)]


def _pickled_views(*arguments: int) -> bytes:
    # Tensors would come back in shared memory, one open file each, of which there are not thousands.
    return pickle.dumps(shape_views(*arguments))


def paint_view(view: View, albedo: Tensor, background: Tensor) -> Tensor:
    """Colours ``[P, 3]`` uint8 of the view's pixels: albedo ``[P, 3]`` over a background ``[3]``."""
    cover = view.coverage.float()[:, None] / 255
    return ((background + (albedo - background) * cover) * 255).round().to(torch.uint8)


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
        words: N words for the direction seen from; soft: N whether softly lit.
    """

    images: Tensor
    alpha: Tensor
    depth: Tensor
    positions: Tensor
    captions: list[str]
    materials: list[str]
    colours: list[tuple[str, ...]]
    shapes: list[str]
    words: list[str] = field(default_factory=list)
    soft: list[bool] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.captions)


def paint_views(views: list[View], count: int, seed: int, size: int = 128) -> Samples:
    """Paint ``count`` samples, going through the views in turn with a new material each time."""
    samples = empty_samples(count, size)
    for i in range(count):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        rng = np.random.default_rng([seed, i])
        view = views[i % len(views)]
        spec = draw_paint(generator)
        albedo = paint(view.positions, spec)
        soft = rng.random() < SOFT_SHARE
        if soft:
            albedo = albedo * soft_light(view.normals.float() / 127, view.eye, generator)[:, None]
        text = caption(spec.material, spec.colours, view.shape, rng, view.word, soft)
        write_sample(samples, i, view, albedo, spec, text, soft)
    return samples


def empty_samples(count: int, size: int) -> Samples:
    """``count`` pictures of the background without any description, to be written in order."""
    colour = (torch.tensor(BACKGROUND) * 255).round().to(torch.uint8).view(1, 3, 1, 1)
    return Samples(
        images=colour.repeat(count, 1, size, size),
        alpha=torch.zeros(count, size, size, dtype=torch.uint8),
        depth=torch.empty(count, size, size, dtype=torch.uint8),
        positions=torch.zeros(count, 3, size, size, dtype=torch.float16),
        captions=[],
        materials=[],
        colours=[],
        shapes=[],
    )


def write_sample(
    samples: Samples, i: int, view: View, albedo: Tensor, spec: Paint, text: str, soft: bool = False
) -> None:
    """Put a view painted with albedo ``[P, 3]`` in place ``i``, which is the next one, with its caption."""
    pixels = view.pixels.long()
    samples.images[i].view(3, -1)[:, pixels] = paint_view(view, albedo, torch.tensor(BACKGROUND)).T
    samples.alpha[i].view(-1)[pixels] = view.coverage
    samples.positions[i].view(3, -1)[:, pixels] = view.positions.T
    samples.depth[i] = view.depth
    samples.captions.append(text)
    samples.materials.append(spec.material)
    samples.colours.append(spec.colours)
    samples.shapes.append(view.shape)
    samples.words.append(view.word)
    samples.soft.append(soft)


def draw_known_masks(alpha: Tensor, positions: Tensor, generator: torch.Generator) -> Tensor:
    """What an inpainting model is shown of each image: like a view in the middle of texturing an object.

    A sixth of the samples show nothing, a sixth show only the background, the rest show the background and
    the part of the surface on one side of a random plane, or outside a random ball.

    Args:
        alpha: ``[B, size, size]`` in [0, 1].
        positions: ``[B, 3, size, size]``.

    Returns:
        known ``[B, 1, size, size]``, 1 where the pixel is given.
    """
    batch = len(alpha)
    kind = torch.rand(batch, generator=generator)
    normal = F.normalize(torch.randn(batch, 3, generator=generator), dim=1)
    offset = 0.5 * torch.randn(batch, generator=generator)
    plane = torch.einsum("bchw,bc->bhw", positions, normal) > offset[:, None, None] * 0.8
    centre = 0.5 * torch.randn(batch, 3, generator=generator)
    radius = 0.25 + 0.5 * torch.rand(batch, generator=generator)
    ball = (positions - centre[:, :, None, None]).norm(dim=1) > radius[:, None, None]
    surface = torch.where((kind < 0.8)[:, None, None], plane, ball)
    surface &= (kind > 1 / 3)[:, None, None]
    outside = (alpha < 0.004) & (kind > 1 / 6)[:, None, None]
    inside = (alpha > 0.996) & surface
    return (outside | inside)[:, None].float()

"""Rasterised views of the miniature's procedural shapes: the part of its world that needs rays.

Each shape is seen from random cameras; a view keeps the surface positions under every pixel, so that it can
be painted again and again. Views depend on their seed alone.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.mesh.mesh import area_weighted_normals
from texgen.miniature.shape_views import ShapeView
from texgen.miniature.shapes import SHAPES, make_shape
from texgen.render.cameras import (
    Cameras,
    clip_from_world,
    direction_word,
    pixel_rays,
    transform,
    view_from_world,
)
from texgen.render.rasterize import first_hits

SUPERSAMPLE = 2


def random_camera(generator: torch.Generator) -> Cameras:
    """A camera around the object: mostly near the horizon, else anywhere on the sphere or near its poles.

    Half of them stand at azimuths of the rigs that methods paint from, multiples of 45 degrees.
    """
    azimuth = 360 * torch.rand(1, generator=generator) - 180
    kind, height, of_rigs = torch.rand(3, generator=generator)
    if of_rigs < 0.5:
        azimuth = (azimuth / 45).round() * 45
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
) -> ShapeView:
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
    return ShapeView(
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


def shape_views(index: int, count: int, seed: int, size: int) -> list[ShapeView]:
    """``count`` views of the jittered shape number ``index``."""
    rng = np.random.default_rng([seed, index])
    generator = torch.Generator().manual_seed(seed * 1_000_003 + index)
    names = sorted(SHAPES)
    name = names[index % len(names)]
    vertices, faces = (torch.from_numpy(np.ascontiguousarray(a)) for a in make_shape(name, rng))
    normals = area_weighted_normals(vertices, faces)
    return [view_shape(name, vertices, faces, normals, random_camera(generator), size) for _ in range(count)]

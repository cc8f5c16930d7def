"""Views of meshes that the miniature never met, painted as its world is: what it is evaluated on."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from texgen.mesh import procedural as procedural_meshes
from texgen.mesh.mesh import area_weighted_normals
from texgen.mesh.sources import pymeshlab_samples
from texgen.miniature.captions import canonical
from texgen.miniature.dataset import view_shape
from texgen.miniature.materials import draw_paint, paint
from texgen.miniature.scale import IMAGE_SIZE, Sizes
from texgen.miniature.shape_views import ShapeView
from texgen.miniature.shapes import LONGEST_SIDE
from texgen.miniature.world_arrays import World, WorldSamples
from texgen.miniature.world_makers import write_others
from texgen.reading.read import read_raw
from texgen.render.cameras import Cameras

SCANNED = ("bunny", "cow", "airplane", "bone")
NOUNS = {"trefoil": "knot", "superellipsoid": "box", "bumpy_ball": "ball", "twisted_column": "column"}


@cache
def unseen_meshes() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Name -> vertices ``[V, 3]`` and faces ``[F, 3]``, placed as the world's shapes are.

    The abstract shapes of `texgen.mesh.procedural` and four samples of pymeshlab.
    """
    meshes = {name: make() for name, make in procedural_meshes.ABSTRACT.items()}
    files = pymeshlab_samples()
    for name in SCANNED:
        meshes[name] = _raw(files[name])
    return {name: _placed(*mesh) for name, mesh in meshes.items()}


def unseen_views(count: int, seed: int, size: int = IMAGE_SIZE) -> list[ShapeView]:
    """``count`` views of the unseen meshes in turn, from around the horizon and a little above."""
    meshes = list(unseen_meshes().items())
    normals = {name: area_weighted_normals(*mesh) for name, mesh in meshes}
    generator = torch.Generator().manual_seed(seed)
    views = []
    for i in range(count):
        name, (vertices, faces) = meshes[i % len(meshes)]
        azimuth, height = torch.rand(2, generator=generator).tolist()
        camera = Cameras.orbit(360 * azimuth - 180, 50 * height - 10, 2.5)
        noun = NOUNS.get(name, name.replace("_", " "))
        views.append(view_shape(noun, vertices, faces, normals[name], camera, size))
    return views


def unseen_samples(views: list[ShapeView], count: int, seed: int, others: int = 0) -> WorldSamples:
    """The views in turn, ``count`` pictures, flat lit, with canonical captions as prompts; the first
    ``others`` of them painted wrongly, too."""
    world = World(Sizes(len(views), count, others))
    for row, view in enumerate(views):
        world.write_view(row, view)
    for i in range(count):
        view = views[i % len(views)]
        generator = torch.Generator().manual_seed(seed * 1_000_003 + i)
        spec = draw_paint(generator)
        text = canonical(spec.material, spec.colours, view.shape)
        world.write_sample(i, view, paint(view.positions, spec), spec, text)
        if i < others:
            write_others(world, i, view, (spec.material, spec.colours), 1.0, generator)
    return WorldSamples(world, torch.device("cpu"))


def _raw(path: Path) -> tuple[np.ndarray, np.ndarray]:
    mesh = read_raw(path)
    return mesh.vertices, mesh.faces


def _placed(vertices: np.ndarray, faces: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    low, high = vertices.min(0), vertices.max(0)
    placed = (vertices - (low + high) / 2) * (LONGEST_SIDE / (high - low).max())
    return torch.tensor(placed, dtype=torch.float32), torch.tensor(faces, dtype=torch.int64)

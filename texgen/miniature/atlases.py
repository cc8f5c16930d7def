"""Atlases of procedural shapes: what the ControlNet of the role uv_position is trained on."""

from __future__ import annotations

import numpy as np
import torch

from texgen.mesh.mesh import Mesh, area_weighted_normals
from texgen.miniature.scale import IMAGE_SIZE
from texgen.miniature.shape_views import ShapeView
from texgen.miniature.shapes import make_shape
from texgen.reading.unwrap import unwrap
from texgen.render.atlas import build_atlas

# Random polygons of thousands of charts would be all border at 128 texels.
MOST_CHARTS = 60


def shape_atlas(
    name: str, rng: np.random.Generator, size: int = IMAGE_SIZE
) -> tuple[ShapeView, float] | None:
    """The atlas of one shape as if it were a view, row 0 at v = 1, as pictures of atlases are.

    Returns the view and the scale of its positions in Paint3D's frame, where the farthest vertex is at 0.6
    before all are raised (`diffusion_batches.position_maps`). None if there are too many charts.
    """
    vertices, faces = make_shape(name, rng)
    cut = unwrap(vertices, faces)
    if cut.charts > MOST_CHARTS:
        return None
    corners = torch.from_numpy(vertices)
    mesh = Mesh(
        name=name,
        vertices=corners,
        faces=torch.from_numpy(faces),
        uvs=torch.from_numpy(cut.uvs),
        uv_faces=torch.from_numpy(cut.uv_faces),
        vertex_normals=area_weighted_normals(corners, torch.from_numpy(faces)),
        centre=torch.zeros(3, dtype=torch.float64),
        scale=1.0,
    )
    atlas = build_atlas(mesh, size)
    mask, position, normal = (x.flip(0).flatten(0, 1) for x in (atlas.mask[0], atlas.position, atlas.normal))
    covered = mask.nonzero()[:, 0]
    view = ShapeView(
        shape=name,
        pixels=covered.to(torch.int32),
        positions=position[covered].half(),
        coverage=torch.full((len(covered),), 255, dtype=torch.uint8),
        normals=(normal[covered] * 127).round().to(torch.int8),
        depth=torch.zeros(size, size, dtype=torch.uint8),
        eye=torch.zeros(3),
        word="",
    )
    return view, float(0.6 / corners.norm(dim=1).max())

"""Painted atlases of procedural shapes: what the ControlNet of the role uv_position is trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from texgen.atlas import build_atlas
from texgen.mesh import Mesh, area_weighted_normals
from texgen.miniature.captions import caption
from texgen.miniature.dataset import Samples, View, empty_samples, write_sample
from texgen.miniature.materials import draw_paint, paint
from texgen.miniature.scale import IMAGE_SIZE
from texgen.miniature.shapes import SHAPES, make_shape
from texgen.unwrap import unwrap

# Random polygons of thousands of charts would be all border at 128 texels.
MOST_CHARTS = 60


def shape_atlas(name: str, rng: np.random.Generator, size: int = IMAGE_SIZE) -> tuple[View, Tensor] | None:
    """The atlas of one shape as if it were a view, row 0 at v = 1, as pictures of atlases are.

    Returns the view and, ``[P, 3]``, its positions in Paint3D's frame: farthest vertex at 0.6, raised by
    0.25. None if there are too many charts.
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
    view = View(
        shape=name,
        pixels=covered.to(torch.int32),
        positions=position[covered].half(),
        coverage=torch.full((len(covered),), 255, dtype=torch.uint8),
        normals=(normal[covered] * 127).round().to(torch.int8),
        depth=torch.zeros(size, size, dtype=torch.uint8),
        eye=torch.zeros(3),
        word="",
    )
    framed = position[covered] * (0.6 / corners.norm(dim=1).max()) + torch.tensor([0.0, 0.25, 0.0])
    return view, framed.half()


def atlas_samples(shapes: int, paints: int, seed: int, size: int = IMAGE_SIZE) -> Samples:
    """Up to ``shapes`` atlases, each painted ``paints`` times, flat, on the world's background.

    The samples' positions are those of Paint3D's frame.
    """
    names = sorted(SHAPES)
    views = []
    for i in range(shapes):
        rng = np.random.default_rng([seed, 77, i])
        made = shape_atlas(names[int(rng.integers(len(names)))], rng, size)
        if made is not None:
            views.append(made)
    if not views:
        raise ValueError(f"none of {shapes} shapes has an atlas of at most {MOST_CHARTS} charts; draw more")
    samples = empty_samples(len(views) * paints, size)
    for i in range(len(samples.images)):
        view, framed = views[i // paints]
        spec = draw_paint(torch.Generator().manual_seed(seed * 1_000_003 + 77_000_000 + i))
        text = caption(spec.material, spec.colours, view.shape, np.random.default_rng([seed, 78, i]))
        albedo = paint(view.positions, spec)
        write_sample(samples, i, replace(view, positions=framed), albedo, spec, text)
    return samples


def position_maps(positions: Tensor, alpha: Tensor) -> Tensor:
    """Control images ``[B, 3, H, W]`` in [0, 1] as Paint3D's: positions / 2 + 0.5 in the charts, else 0.

    Args:
        positions: ``[B, 3, H, W]`` in Paint3D's frame; alpha: ``[B, H, W]``, above 0 in the charts.
    """
    return (positions.float().clamp(-1, 1) / 2 + 0.5) * (alpha > 0)[:, None]

"""Regions of a texture, told by the mesh: a box in the file's coordinates, parts by their names."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from texgen.backprojection.fill import padding_index
from texgen.errors import PlainError
from texgen.mesh.mesh import Mesh
from texgen.render.atlas import Atlas


def box_region(mesh: Mesh, atlas: Atlas, low: Sequence[float], high: Sequence[float]) -> Tensor:
    """[1, T, T] of 0s and 1s: texels whose surface lies in a box, given by two corners (x, y, z) in the
    coordinates of the mesh's file, faces of the box included; with the padding of what it covers.

    Raises PlainError where no texel's surface lies in it.
    """
    flat = atlas.position.double() / mesh.scale + mesh.centre.to(atlas.position.device)
    points = flat @ mesh.rotation.to(flat)
    low, high = (torch.as_tensor(corner, dtype=flat.dtype, device=flat.device) for corner in (low, high))
    inside = ((points >= low) & (points <= high)).all(dim=-1) & (atlas.face >= 0)
    if not bool(inside.any()):
        vertices = mesh.input_vertices()
        spans = ", ".join(
            f"{axis} {least:.4g} to {most:.4g}"
            for axis, least, most in zip(
                "xyz", vertices.amin(0).tolist(), vertices.amax(0).tolist(), strict=True
            )
        )
        raise PlainError(f"The box holds no surface of the mesh, which spans {spans}; choose another box.")
    return with_padding(inside, atlas)


def part_names(mesh: Mesh) -> list[str]:
    """Names by which `part_region` finds parts: of nodes, meshes and materials of the file, each once."""
    found = [name for part in mesh.structure.parts for name in _names(mesh, part)]
    return list(dict.fromkeys(found))


def part_region(mesh: Mesh, atlas: Atlas, names: Sequence[str]) -> Tensor:
    """[1, T, T] of 0s and 1s: texels of the parts with some names, each that of a node, mesh or material;
    with the padding of what they cover.

    Raises PlainError for a name that the file lacks and for parts without a texel.
    """
    known = part_names(mesh)
    for name in names:
        if name not in known:
            listed = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
            raise PlainError(f"The mesh has no part {name!r}; its parts are {listed or 'without names'}.")
    numbers = [
        number
        for number, part in enumerate(mesh.structure.parts)
        if set(_names(mesh, part)).intersection(names)
    ]
    if mesh.part is None:
        inside = (atlas.face >= 0) & bool(numbers)
    else:
        chosen = torch.isin(mesh.part, torch.tensor(numbers, device=mesh.part.device))
        inside = chosen.to(atlas.face.device)[atlas.face.clamp(min=0)] & (atlas.face >= 0)
    if not bool(inside.any()):
        raise PlainError(f"The part {', '.join(names)} covers no texel; take a larger texture.")
    return with_padding(inside, atlas)


def with_padding(inside: Tensor, atlas: Atlas) -> Tensor:
    """Chart texels [T, T] bool -> [1, T, T] of 0s and 1s with those off the charts that pad them: what lies
    around a chart is sampled at its border, and goes with the nearest texel."""
    return inside.to(atlas.mask).reshape(-1)[padding_index(atlas.mask).reshape(-1)].reshape(atlas.mask.shape)


def _names(mesh: Mesh, part) -> list[str]:
    nodes = mesh.structure.nodes
    node = nodes[part.node].name if 0 <= part.node < len(nodes) else None
    return [name for name in (node, part.mesh, part.material) if name]

"""OFF files: [ST][C][N][4]OFF as text, with or without the keyword, counts on its line or on the next."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from texgen.mesh.mesh import MeshError
from texgen.mesh.parts import RawMesh
from texgen.reading.polygons import cut
from texgen.reading.text import decode, number, read_bytes, statements

KEYWORD = re.compile(r"(ST)?(C)?(N)?(4)?(n)?OFF\b", re.IGNORECASE)


def read_off(path: Path) -> RawMesh:
    """Read an OFF file. Raises MeshError that names the line."""
    rows = list(statements(decode(read_bytes(path))))
    match = KEYWORD.match(rows[0][1]) if rows else None
    has_uvs = has_colours = has_normals = has_weight = False
    if match:
        has_uvs, has_colours, has_normals, has_weight = (match[i] is not None for i in range(1, 5))
        rest = rows[0][1][match.end() :].strip()
        if match[5] or "BINARY" in rest.upper():
            raise MeshError(
                f"{path} is a kind of OFF that is not read ({rows[0][1][:30]}); export it as OBJ."
            )
        rows = [(rows[0][0], rest), *rows[1:]] if rest else rows[1:]
    line = rows[0][0] if rows else 1
    try:
        points, count = (int(word) for word in rows[0][1].split()[:2])
        if points < 0 or count < 0 or points + count > len(rows) - 1:
            raise MeshError(
                f"{path} claims {points} vertices and {count} faces and has {len(rows) - 1} lines; it is no "
                "whole OFF file, export the mesh again."
            )
        table = []
        for each, text in rows[1 : points + 1]:
            line = each
            table.append([number(word) for word in text.split()])
        width = min((len(row) for row in table), default=3)
        values = np.array([row[:width] for row in table], dtype=np.float64).reshape(points, -1)
        corners, counts = [], []
        for each, text in rows[points + 1 : points + 1 + count]:
            line = each
            words = text.split()
            size = int(words[0])
            indices = [int(word) for word in words[1 : size + 1]]
            if size < 0 or len(indices) < size or any(not 0 <= i < points for i in indices):
                raise ValueError("a face")
            corners += indices
            counts.append(size)
    except (ValueError, IndexError):
        raise MeshError(f"{path}, line {line}: this is not valid OFF; export the mesh again.") from None
    if width < 3:
        raise MeshError(f"{path} has vertices of {width} coordinates; export the mesh again.")
    vertices, at = values[:, :3], 3
    if has_weight and width > 3:
        with np.errstate(all="ignore"):
            vertices = vertices / values[:, 3:4]
        at = 4
    normals = values[:, at : at + 3] if has_normals and width >= at + 3 else None
    uvs = values[:, -2:] if has_uvs and width >= at + 2 else None
    table = np.array(corners, dtype=np.int64).reshape(-1, 1)
    triangles, _ = cut(vertices, table, np.array(counts, dtype=np.int64), path)
    faces = triangles[..., 0]
    notes = ("Vertex colours are not kept: the texture replaces them.",) if has_colours else ()
    return RawMesh(
        vertices=vertices,
        faces=faces,
        uvs=uvs,
        uv_faces=None if uvs is None else faces,
        normals=normals,
        normal_faces=None if normals is None else faces,
        notes=notes,
    )

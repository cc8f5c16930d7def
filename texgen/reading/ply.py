"""PLY files: text or binary, faces or triangle strips, texture coordinates of vertices or of face corners."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from texgen.mesh.mesh import MeshError
from texgen.mesh.parts import RawMesh
from texgen.reading.ply_data import Data, parse_header
from texgen.reading.polygons import cut
from texgen.reading.text import decode

UV_NAMES = (("s", "t"), ("u", "v"), ("texture_u", "texture_v"), ("texture_s", "texture_t"))
FACE_NAMES = ("vertex_indices", "vertex_index")
KNOWN = {"x", "y", "z", "nx", "ny", "nz", *FACE_NAMES, *(name for pair in UV_NAMES for name in pair)}
COLOURS = {
    "red",
    "green",
    "blue",
    "alpha",
    "diffuse_red",
    "diffuse_green",
    "diffuse_blue",
    "r",
    "g",
    "b",
    "a",
}


def read_ply(path: Path, content: bytes) -> RawMesh:
    """Read a PLY file's bytes. Raises MeshError."""
    if content[:4] != b"ply\n" and content[:3] != b"ply":
        content = decode(content).encode("utf-8")  # saved as text by an editor, with a mark or in UTF-16
    form, elements, at = parse_header(path, content)
    data = Data(path, form, content, at)
    tables = {}
    for element in elements:
        found = data.read(element)
        tables.setdefault(element.name, found)
    vertex = tables.get("vertex", {})
    if not {"x", "y", "z"} <= vertex.keys():
        raise MeshError(f"{path} cannot be read as PLY (it has no vertices x, y, z); export the mesh again.")
    vertices = np.stack([vertex[axis] for axis in "xyz"], axis=1)
    notes = _losses(tables)
    corners, counts, wedges = _polygons(path, tables)
    if len(corners) and (corners.min() < 0 or corners.max() >= len(vertices)):
        raise MeshError(f"{path} has a face that names a vertex that does not exist; export the mesh again.")
    rows = np.stack((corners, np.arange(len(corners))), axis=1)
    triangles, _ = cut(vertices, rows, counts, path)
    faces, at = triangles[..., 0], triangles[..., 1]
    uvs, uv_faces = None, None
    if wedges is not None:
        uvs, uv_faces = wedges, at
    for names in UV_NAMES:
        if uvs is None and vertex.keys() >= set(names):
            uvs, uv_faces = np.stack([vertex[name] for name in names], axis=1), faces
    normals = None
    if {"nx", "ny", "nz"} <= vertex.keys():
        normals = np.stack([vertex[f"n{axis}"] for axis in "xyz"], axis=1)
    return RawMesh(
        vertices=vertices,
        faces=faces,
        uvs=uvs,
        uv_faces=uv_faces,
        normals=normals,
        normal_faces=None if normals is None else faces,
        notes=tuple(notes),
    )


def _polygons(path: Path, tables: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Corners [N], corners of each polygon [P], and uvs [N, 2] of the corners where faces have them."""
    corners, counts, wedges = [], [], None
    face = tables.get("face", {})
    name = next((each for each in FACE_NAMES if isinstance(face.get(each), tuple)), None)
    if name is not None:
        lengths, values = face[name]
        corners.append(values.astype(np.int64))
        counts.append(lengths)
        texture = face.get("texcoord")
        if isinstance(texture, tuple) and (texture[0] == 2 * lengths).all():
            wedges = texture[1].reshape(-1, 2)
    for element in ("tristrips", "trianglestrip", "tristrip"):
        for lengths, values in (v for v in tables.get(element, {}).values() if isinstance(v, tuple)):
            found = strips(np.split(values.astype(np.int64), np.cumsum(lengths)[:-1]))
            corners.append(found.reshape(-1))
            counts.append(np.full(len(found), 3, dtype=np.int64))
            wedges = None
    if not corners:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), None
    return np.concatenate(corners), np.concatenate(counts), wedges


def strips(rows: list[np.ndarray]) -> np.ndarray:
    """Triangle strips -> triangles [F, 3]. A -1 begins a new strip; every second triangle is turned."""
    found = [np.zeros((0, 3), dtype=np.int64)]
    for row in rows:
        for strip in np.split(row, np.flatnonzero(row < 0)):
            strip = strip[strip >= 0]
            if len(strip) < 3:
                continue
            triangles = np.stack((strip[:-2], strip[1:-1], strip[2:]), axis=1)
            triangles[1::2] = triangles[1::2][:, [0, 2, 1]]
            found.append(triangles)
    return np.concatenate(found)


def _losses(tables: dict) -> list[str]:
    notes = []
    vertex = set(tables.get("vertex", {}))
    if vertex & COLOURS or set(tables.get("face", {})) & COLOURS:
        notes.append("Colours of vertices or faces are not kept: the texture replaces them.")
    extra = sorted(vertex - KNOWN - COLOURS)
    if extra:
        notes.append(f"The vertices' {', '.join(extra[:6])} are not kept.")
    others = sorted(set(tables) - {"vertex", "face", "tristrips", "trianglestrip", "tristrip"})
    if others:
        notes.append(f"The elements {', '.join(others[:6])} are not kept.")
    return notes

"""Wavefront OBJ: objects, groups, materials, smoothing groups, relative indices, and editors' habits.

Not by trimesh, which gives a vertex with two uvs two numbers, so that the surface is cut at every seam, and
drops smoothing groups.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from texgen.mesh.mesh import MeshError
from texgen.mesh.parts import MeshPart, Node, RawMesh, Structure
from texgen.reading.polygons import cut
from texgen.reading.text import decode, number, read_bytes, statements

# Cutting a polygon takes the square of its corners at best.
MOST_CORNERS = 4096
LISTS = {"v": 3, "vt": 2, "vn": 3}


class ObjFile:
    """An OBJ file while it is read: lists of numbers, corners of polygons, and what each belongs to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lists: dict[str, list[list[float]]] = {kind: [] for kind in LISTS}
        self.corners: list[tuple[int, int, int]] = []
        self.counts: list[int] = []
        self.lines: list[int] = []
        self.owners: list[int] = []
        self.smooth: list[int] = []
        self.parts: dict[tuple[str | None, str | None, str | None], int] = {}
        self.object: str | None = None
        self.group: str | None = None
        self.material: str | None = None
        self.smoothing = 0
        self.says_smoothing = self.coloured = False
        self.others = 0

    def read(self) -> RawMesh:
        """The whole file. Raises MeshError that names the line."""
        for line, text in statements(decode(read_bytes(self.path))):
            words = text.split()
            try:
                self._statement(line, words, text)
            except MeshError:
                raise
            except (ValueError, IndexError):
                raise MeshError(
                    f"{self.path}, line {line}: '{text[:60]}' is not valid OBJ; export the mesh again."
                ) from None
        return self._mesh()

    def _statement(self, line: int, words: list[str], text: str) -> None:
        kind = words[0]
        if kind == "f":
            self._face(line, words[1:])
        elif kind in LISTS:
            self._values(kind, words[1:])
        elif kind in ("o", "g", "usemtl", "s"):
            name = text[len(kind) :].strip() or None
            if kind == "o":
                self.object = name
            elif kind == "g":
                self.group = name
            elif kind == "usemtl":
                self.material = name
            else:
                self.says_smoothing = True
                self.smoothing = 0 if name in (None, "off", "0") else int(number(name))
        elif kind in ("l", "p", "curv", "surf"):
            self.others += 1

    def _values(self, kind: str, words: list[str]) -> None:
        wanted = LISTS[kind]
        if kind == "vt" and len(words) == 1:
            words = [*words, "0"]
        if kind == "v" and len(words) >= 6:
            self.coloured = True
        values = [number(word) for word in words[:wanted]]
        if len(values) < wanted:
            raise ValueError("too few numbers")
        self.lists[kind].append(values)

    def _face(self, line: int, words: list[str]) -> None:
        if len(words) >= MOST_CORNERS:
            raise MeshError(
                f"{self.path}, line {line}: a face of {len(words)} corners is too much; triangulate the mesh "
                "and export it again."
            )
        counts = [len(self.lists[kind]) for kind in LISTS]
        self.corners += [_corner(word, counts) for word in words]
        self.counts.append(len(words))
        self.lines.append(line)
        self.owners.append(self.parts.setdefault((self.object, self.group, self.material), len(self.parts)))
        self.smooth.append(self.smoothing)

    def _mesh(self) -> RawMesh:
        vertices, uvs, normals = (
            np.array(self.lists[kind], dtype=np.float64).reshape(-1, width) for kind, width in LISTS.items()
        )
        corners = np.array(self.corners, dtype=np.int64).reshape(-1, 3)
        counts = np.array(self.counts, dtype=np.int64)
        wrong = (corners[:, 0] < 0) | (corners[:, 0] >= len(vertices))
        if wrong.any():
            line = self.lines[int(np.repeat(np.arange(len(counts)), counts)[wrong.argmax()])]
            raise MeshError(
                f"{self.path}, line {line}: the face names a vertex that does not exist; export it again."
            )
        notes = []
        for column, table, what in ((1, uvs, "texture coordinates (vt)"), (2, normals, "normals (vn)")):
            # -1 = none given; anything else outside the table is a reference to nothing
            missing = (corners[:, column] < -1) | (corners[:, column] >= len(table))
            if missing.any():
                faces = len(np.unique(np.repeat(np.arange(len(counts)), counts)[missing]))
                then = "the mesh is unwrapped anew" if column == 1 else "they are computed"
                notes.append(f"{faces} faces name {what} that the file lacks; {then}.")
                corners[missing, column] = -1
        triangles, polygon = cut(vertices, corners, counts, self.path)
        has_uvs, has_normals = bool((triangles[..., 1] >= 0).any()), bool((triangles[..., 2] >= 0).any())
        structure, part = self._structure(notes)
        return RawMesh(
            vertices=vertices,
            faces=triangles[..., 0],
            uvs=uvs if has_uvs else None,
            uv_faces=triangles[..., 1] if has_uvs else None,
            normals=normals if has_normals else None,
            normal_faces=triangles[..., 2] if has_normals else None,
            part=part[np.array(self.owners, dtype=np.int64)[polygon]] if len(polygon) else None,
            structure=structure,
            smooth=np.array(self.smooth, dtype=np.int64)[polygon] if self.says_smoothing else None,
            notes=tuple(notes),
        )

    def _structure(self, notes: list[str]) -> tuple[Structure, np.ndarray]:
        """Nodes by objects, or by groups where there are no objects; and the part of each owner."""
        by_object = any(name is not None for name, _, _ in self.parts)
        groups = {group for _, group, _ in self.parts if group is not None}
        if by_object and len(groups) > 1:
            notes.append(f"{len(groups)} groups are merged into their objects; objects are kept.")
        if self.coloured:
            notes.append("Vertex colours are not kept: the texture replaces them.")
        if self.others:
            notes.append(f"{self.others} lines, points or curves are not kept.")
        nodes: dict[str | None, int] = {}
        parts: dict[tuple[int, str | None], int] = {}
        owners = []
        for thing, group, material in self.parts:
            name = thing if by_object else group
            node = nodes.setdefault(name, len(nodes))
            owners.append(parts.setdefault((node, material), len(parts)))
        names = list(nodes)
        found = Structure(
            tuple(Node(name) for name in names) or (Node(),),
            tuple(MeshPart(node, names[node], material) for node, material in parts) or (MeshPart(),),
        )
        return found, np.array(owners, dtype=np.int64)


def _corner(word: str, counts: list[int]) -> tuple[int, int, int]:
    """'v', 'v/vt', 'v//vn' or 'v/vt/vn' -> zero-based (position, texcoord, normal); -1 = none.

    Negative numbers count back from the last one read so far. A texcoord or normal that cannot be is -2, a
    position -1.
    """
    parts = word.split("/")
    if len(parts) > 3:
        raise ValueError("too many parts")
    position = int(parts[0])
    found = [position - 1 if position > 0 else counts[0] + position if position < 0 else -1]
    for part, count in zip(parts[1:], counts[1:], strict=False):
        value = int(part) if part else None
        if value is None:
            found.append(-1)
        elif value > 0:
            found.append(value - 1)
        else:
            found.append(count + value if value < 0 and count + value >= 0 else -2)
    return (*found, *(-1,) * (3 - len(found)))


def read_obj(path: Path) -> RawMesh:
    """Read an OBJ file. Raises MeshError that names the line."""
    return ObjFile(path).read()

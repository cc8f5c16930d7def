"""What a mesh file says beside its surface: nodes, parts, materials. Kept, so that the export has them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Node:
    """One node of the file's hierarchy. parent: index of a node, -1 = none. transform: what glTF writes for
    it: translation, rotation, scale or matrix, as lists."""

    name: str | None = None
    parent: int = -1
    transform: dict[str, list[float]] = field(default_factory=dict)

    def matrix(self) -> np.ndarray:
        """[4, 4] float64, from the node's to its parent's coordinates."""
        if "matrix" in self.transform:
            return np.array(self.transform["matrix"], dtype=np.float64).reshape(4, 4).T
        found = np.eye(4)
        x, y, z, w = self.transform.get("rotation", (0, 0, 0, 1))
        length = float(np.sqrt(x * x + y * y + z * z + w * w)) or 1.0
        x, y, z, w = x / length, y / length, z / length, w / length
        found[:3, :3] = [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
        found[:3, :3] *= np.array(self.transform.get("scale", (1, 1, 1)), dtype=np.float64)
        found[:3, 3] = self.transform.get("translation", (0, 0, 0))
        return found


@dataclass(frozen=True)
class MeshPart:
    """Faces that belong together: one material of one mesh of one node. node: which node shows them. mesh,
    material: their names in the file. double_sided: whether their backs are seen."""

    node: int = 0
    mesh: str | None = None
    material: str | None = None
    double_sided: bool = True


@dataclass(frozen=True)
class Structure:
    """The nodes and parts of a file. A face's number in `Mesh.part` is an index of `parts`."""

    nodes: tuple[Node, ...] = (Node(),)
    parts: tuple[MeshPart, ...] = (MeshPart(),)

    def world(self, node: int) -> np.ndarray:
        """[4, 4] float64, from a node's coordinates to those of the scene."""
        found = np.eye(4)
        while node >= 0:
            found = self.nodes[node].matrix() @ found
            node = self.nodes[node].parent
        return found

    def named(self, name: str) -> Structure:
        """The same, with `name` for a single node, mesh and material that have none."""
        nodes, parts = self.nodes, self.parts
        if len(nodes) == 1 and not nodes[0].name:
            nodes = (replace(nodes[0], name=name),)
        if len(parts) == 1:
            part = parts[0]
            parts = (replace(part, mesh=part.mesh or name, material=part.material or name),)
        return Structure(nodes, parts)

    def to_json(self) -> str:
        """As text, for `from_json`."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Structure:
        """The structure that `to_json` wrote."""
        stored: dict[str, Any] = json.loads(text)
        return Structure(
            tuple(Node(**each) for each in stored["nodes"]),
            tuple(MeshPart(**each) for each in stored["parts"]),
        )


@dataclass(frozen=True, eq=False)
class RawMesh:
    """What a file says, as triangles in the scene's coordinates.

    vertices: [V, 3] float64. faces: [F, 3] int64. uvs: [T, 2] float64, v up, and uv_faces: [F, 3] int64 with
    -1 where a corner has no uv; both None when the file has no uvs. normals: [N, 3] float64 and normal_faces:
    [F, 3] int64, -1 = none, likewise. part: [F] int64, the face's part in `structure`. second_uvs: [S, 2] and
    second_faces: [F, 3], a second uv set that is kept as it is. smooth: [F] int64 smoothing group, 0 = none;
    None where the format knows none. notes: what the file holds and is not kept, one sentence each.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray | None = None
    uv_faces: np.ndarray | None = None
    normals: np.ndarray | None = None
    normal_faces: np.ndarray | None = None
    part: np.ndarray | None = None
    structure: Structure = Structure()
    second_uvs: np.ndarray | None = None
    second_faces: np.ndarray | None = None
    smooth: np.ndarray | None = None
    notes: tuple[str, ...] = ()

    def parts(self) -> np.ndarray:
        """[F] int64, `part` with its default: all faces in part 0."""
        return np.zeros(len(self.faces), dtype=np.int64) if self.part is None else self.part

    def chosen(self, kept: np.ndarray) -> RawMesh:
        """The same with some faces only: a mask or indices."""
        return self._per_face(lambda rows: rows[kept])

    def turned(self, which: np.ndarray) -> RawMesh:
        """The same with some faces, a mask [F], wound the other way."""
        turned = self._per_face(
            lambda rows: rows if rows.ndim == 1 else np.where(which[:, None], rows[:, ::-1], rows)
        )
        return turned

    def _per_face(self, change) -> RawMesh:
        names = ("faces", "uv_faces", "normal_faces", "second_faces", "part", "smooth")
        found = {name: getattr(self, name) for name in names}
        return replace(self, **{k: None if v is None else change(v) for k, v in found.items()})


def merged(pieces: list[RawMesh], structure: Structure, notes: tuple[str, ...] = ()) -> RawMesh:
    """Several surfaces as one; each piece's `part` already counts in `structure`."""
    if not pieces:
        return RawMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64), structure=structure, notes=notes)
    vertices, faces = _stacked([(piece.vertices, piece.faces) for piece in pieces], 3)
    uvs, uv_faces = _optional([(p.uvs, p.uv_faces, len(p.faces)) for p in pieces], 2)
    normals, normal_faces = _optional([(p.normals, p.normal_faces, len(p.faces)) for p in pieces], 3)
    second, second_faces = _optional([(p.second_uvs, p.second_faces, len(p.faces)) for p in pieces], 2)
    return RawMesh(
        vertices=vertices,
        faces=faces,
        uvs=uvs,
        uv_faces=uv_faces,
        normals=normals,
        normal_faces=normal_faces,
        part=np.concatenate([piece.parts() for piece in pieces]),
        structure=structure,
        second_uvs=second,
        second_faces=second_faces,
        notes=notes,
    )


def _stacked(pairs: list[tuple[np.ndarray, np.ndarray]], width: int) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0] + [len(values) for values, _ in pairs])
    corners = [
        np.where(faces >= 0, faces + offset, -1) for (_, faces), offset in zip(pairs, offsets, strict=False)
    ]
    return (
        np.concatenate([values.reshape(-1, width) for values, _ in pairs]),
        np.concatenate(corners).reshape(-1, 3).astype(np.int64),
    )


def _optional(found: list, width: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    if all(values is None for values, _, _ in found):
        return None, None
    empty = np.zeros((0, width))
    return _stacked(
        [
            (empty, np.full((count, 3), -1)) if values is None else (values, faces)
            for values, faces, count in found
        ],
        width,
    )

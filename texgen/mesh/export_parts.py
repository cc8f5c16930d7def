"""A working mesh as a file wants it: node by node and part by part, in the nodes' own coordinates."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from texgen.mesh.mesh import Mesh
from texgen.mesh.parts import MeshPart, Node, Structure

# Beyond so many times its size from the origin a mesh is written around its own centre and its node carries
# the place: float32 keeps 7 digits, so that a mesh 8 sizes away still has its millionth.
FAR = 8.0
# A node's matrix that is closer to losing a dimension is not inverted; its part is put at the top instead.
MOST_CONDITION = 1e7


@dataclass(frozen=True, eq=False)
class ExportedPart:
    """One part, one vertex per distinct corner. positions, normals: [K, 3] float64 in the node's coordinates.
    uvs: [K, 2] v up; second_uvs: [K, 2] or None. faces: [F, 3] int64. part: names; node: index of a node."""

    positions: np.ndarray
    normals: np.ndarray
    uvs: np.ndarray
    second_uvs: np.ndarray | None
    faces: np.ndarray
    part: MeshPart
    node: int


def surfaces(mesh: Mesh) -> tuple[tuple[Node, ...], list[ExportedPart]]:
    """All nodes, and the surfaces that they show. Parts without faces are left out."""
    structure = mesh.structure.named(mesh.name)
    faces, uv_faces = mesh.faces.cpu().numpy(), mesh.uv_faces.cpu().numpy()
    part = np.zeros(len(faces), dtype=np.int64) if mesh.part is None else mesh.part.cpu().numpy()
    normals, normal_faces = _normals(mesh)
    table = [faces, uv_faces, normal_faces]
    if mesh.second_uvs is not None:
        table.append(mesh.second_faces.cpu().numpy())
    rows = np.stack(table, axis=-1)  # [F, 3, 3 or 4]
    world = mesh.input_vertices().cpu().numpy()
    nodes, found = list(structure.nodes), []
    for number in np.unique(part).tolist():
        corners, index = np.unique(
            rows[part == number].reshape(-1, rows.shape[-1]), axis=0, return_inverse=True
        )
        own = structure.parts[number]
        matrix = structure.world(own.node)
        triangles = index.reshape(-1, 3)
        if not np.isfinite(matrix).all() or np.linalg.cond(matrix[:3, :3]) > MOST_CONDITION:
            own = replace(own, node=len(nodes))
            nodes.append(Node(own.mesh))
            matrix = np.eye(4)
        inverse = np.linalg.inv(matrix)
        positions = world[corners[:, 0]] @ inverse[:3, :3].T + inverse[:3, 3]
        turned = normals[corners[:, 2]] @ matrix[:3, :3]
        length = np.linalg.norm(turned, axis=1, keepdims=True)
        second = None
        if rows.shape[-1] == 4 and (corners[:, 3] >= 0).all():
            second = mesh.second_uvs.cpu().numpy()[corners[:, 3]]
        found.append(
            ExportedPart(
                positions=positions,
                normals=turned / np.maximum(length, 1e-300),
                uvs=mesh.uvs.detach().cpu().numpy()[corners[:, 1]].astype(np.float64),
                second_uvs=second,
                faces=triangles[:, ::-1] if np.linalg.det(matrix[:3, :3]) < 0 else triangles,
                part=own,
                node=own.node,
            )
        )
    return _near(Structure(tuple(nodes), structure.parts), found)


def _normals(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Normals [N, 3] in the input's orientation and their corners [F, 3]."""
    if mesh.normals is not None:
        return mesh.normals.double().cpu().numpy(), mesh.normal_faces.cpu().numpy()
    return (mesh.vertex_normals.double() @ mesh.rotation.double()).cpu().numpy(), mesh.faces.cpu().numpy()


def _near(structure: Structure, found: list[ExportedPart]) -> tuple[tuple[Node, ...], list[ExportedPart]]:
    """The surfaces of far-off nodes around their own centre, which their node's transform then carries."""
    nodes = list(structure.nodes)
    parents = {node.parent for node in nodes}
    result: list[ExportedPart] = []
    for number in dict.fromkeys(each.node for each in found):
        own = [each for each in found if each.node == number]
        points = np.concatenate([each.positions for each in own])
        low, high = points.min(axis=0), points.max(axis=0)
        if np.abs(points).max() <= FAR * float((high - low).max()):
            result += own
            continue
        centre = (low + high) / 2
        place = number
        if number in parents:  # its children must stay where they are
            place = len(nodes)
            nodes.append(Node(nodes[number].name, number, {"translation": centre.tolist()}))
        else:
            nodes[number] = _shifted(nodes[number], centre)
        result += [replace(each, positions=each.positions - centre, node=place) for each in own]
    return tuple(nodes), result


def _shifted(node: Node, by: np.ndarray) -> Node:
    """The node with its origin moved to `by`, given in its own coordinates."""
    matrix = node.matrix()
    matrix[:3, 3] += matrix[:3, :3] @ by
    if "matrix" in node.transform:
        return replace(node, transform={**node.transform, "matrix": matrix.T.reshape(-1).tolist()})
    return replace(node, transform={**node.transform, "translation": matrix[:3, 3].tolist()})

"""Which way faces are wound: neighbours alike, solids outwards, component by component."""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

# A component whose boundary could be closed by a lid of less than this share of its area counts as a solid
# with a hole: the vector areas of its faces then nearly cancel.
LID = 0.2
# Of the volume of a ball with the same area; below it a component is a sheet, without an inside.
SHEET = 0.02
# Of so many solids at most it is asked which lies within which.
MOST_NESTED = 500


@dataclass(frozen=True, eq=False)
class Components:
    """label: [F] component of each face across edges of two faces. turn: [F] bool, which faces to turn so
    that neighbours agree (the smaller area of each component). orientable, closed: [C] bool."""

    label: np.ndarray
    turn: np.ndarray
    orientable: np.ndarray
    closed: np.ndarray


def components(vertices: np.ndarray, faces: np.ndarray) -> Components:
    """Find the components of a surface and how their faces must turn to agree."""
    count = len(faces)
    start = faces.reshape(-1)
    end = np.roll(faces, -1, axis=1).reshape(-1)
    low, high = np.minimum(start, end), np.maximum(start, end)
    key = low.astype(np.int64) * len(vertices) + high
    order = np.argsort(key, kind="stable")
    _, first, size = np.unique(key[order], return_index=True, return_counts=True)
    owner, forward = order // 3, (start < end)[order]
    pair = first[size == 2]
    a, b = owner[pair], owner[pair + 1]
    same = forward[pair] == forward[pair + 1]  # both run along the edge the same way: one must turn
    # A face is two nodes, as it is and turned; what goes together is one component of that double graph.
    agreeing, opposed = np.where(same, b + count, b), np.where(same, b, b + count)
    ends = np.concatenate((a, a + count)), np.concatenate((agreeing, opposed))
    graph = coo_matrix((np.ones(2 * len(pair), dtype=np.float32), ends), shape=(2 * count,) * 2)
    _, double = connected_components(graph, directed=False)
    kept, turned = double[:count], double[count:]
    label = np.unique(np.minimum(kept, turned), return_inverse=True)[1].reshape(-1)
    number = int(label.max()) + 1
    orientable = np.ones(number, dtype=bool)
    orientable[label[kept == turned]] = False
    closed = np.ones(number, dtype=bool)
    closed[label[owner[np.repeat(size != 2, size)]]] = False
    turn = (kept > turned) & orientable[label]
    area = np.linalg.norm(_cross(vertices, faces), axis=1)
    swap = np.bincount(label, weights=area * turn) > 0.5 * np.bincount(label, weights=area)
    turn = np.where(swap[label], ~turn, turn) & orientable[label]
    return Components(label, turn, orientable, closed)


def turned_faces(
    vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray | None = None
) -> tuple[np.ndarray, list[str]]:
    """Which faces [F] to turn so that neighbours agree and solids face outwards, and what to say of it.

    normals: [F, 3], what the file says of each face, 0 where it says nothing; they decide for surfaces
    without an inside. A solid within another one may be a hollow and turns with that one only.
    """
    found = components(vertices, faces)
    turn, label = found.turn.copy(), found.label
    number = len(found.closed)
    agreed = np.where(turn[:, None], faces[:, ::-1], faces)
    cross = _cross(vertices, agreed)
    volume, ratio, lid = _volumes(vertices, agreed, cross, label, number)
    solid = found.orientable & (found.closed | (lid < LID)) & (np.abs(ratio) > SHEET)
    inwards = solid & (volume < 0)
    for inner, outer in _containers(vertices, agreed, label, solid).items():
        inwards[inner] = inwards[outer]  # a hollow stays one, and turns with what is around it
    if normals is not None:
        vote = np.bincount(label, weights=(cross * normals).sum(axis=1), minlength=number)
        inwards |= ~solid & found.orientable & (vote < 0)
    turn ^= inwards[label]
    notes = []
    if turn.all():
        notes.append("The faces pointed inwards and were turned.")
    elif turn.any():
        notes.append(
            f"{int(turn.sum())} of {len(faces)} faces were turned, so that neighbours agree and solids face "
            "outwards."
        )
    if not found.orientable.all():
        notes.append(
            f"{int((~found.orientable).sum())} surfaces have one side only (like a Möbius strip), so their "
            "faces cannot all be wound alike."
        )
    return turn, notes


def _cross(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def _volumes(
    vertices: np.ndarray, faces: np.ndarray, cross: np.ndarray, label: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each component: signed volume about its own centre, the same as a share of the ball of its area, and
    the share of its area that a lid over its boundary would need at least."""

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(label, weights=values, minlength=number)

    area = total(np.linalg.norm(cross, axis=1) / 2)
    centre = vertices[faces].mean(axis=1)
    weight = np.linalg.norm(cross, axis=1) / 2
    safe = np.maximum(area, 1e-300)
    middle = np.stack([total(weight * centre[:, axis]) / safe for axis in range(3)], axis=1)
    volume = total(((centre - middle[label]) * cross).sum(axis=1) / 6)
    vector = np.stack([total(cross[:, axis] / 2) for axis in range(3)], axis=1)
    ball = safe**1.5 / (6 * np.sqrt(np.pi))
    return volume, volume / ball, np.linalg.norm(vector, axis=1) / safe


def _containers(
    vertices: np.ndarray, faces: np.ndarray, label: np.ndarray, solid: np.ndarray
) -> dict[int, int]:
    """Solid components that lie inside another: the outermost one around each."""
    chosen = np.flatnonzero(solid)
    if not 1 < len(chosen) <= MOST_NESTED:
        return {}
    rows = {each: faces[label == each] for each in chosen.tolist()}
    boxes = {e: (vertices[f].min(axis=(0, 1)), vertices[f].max(axis=(0, 1))) for e, f in rows.items()}
    around: dict[int, list[int]] = {}
    for inner, shell in rows.items():
        point = vertices[shell[0]].mean(axis=0, keepdims=True)
        for outer, (low, high) in boxes.items():
            if outer == inner or (point[0] < low).any() or (point[0] > high).any():
                continue
            turns = igl.winding_number(
                np.ascontiguousarray(vertices), np.ascontiguousarray(rows[outer]), np.ascontiguousarray(point)
            )
            if abs(float(np.ravel(turns)[0])) > 0.5:
                around.setdefault(inner, []).append(outer)
    return {
        inner: next((each for each in outers if each not in around), outers[0])
        for inner, outers in around.items()
    }

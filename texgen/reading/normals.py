"""Normals of face corners for the export: those of the file, else smooth within an angle, split beyond."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from texgen.mesh.parts import RawMesh

SMOOTH_WITHIN = 50.0
"""Degrees between two faces up to which their edge is smooth where the file says nothing."""


def face_claims(raw: RawMesh) -> np.ndarray | None:
    """[F, 3]: the sum of the normals that the file gives each face's corners; None where it has none."""
    if raw.normals is None:
        return None
    table = np.concatenate((np.nan_to_num(raw.normals), np.zeros((1, 3))))
    return table[raw.normal_faces].sum(axis=1)


def corner_normals(raw: RawMesh) -> tuple[np.ndarray, np.ndarray]:
    """Unit normals [N, 3] float64 and their corners [F, 3] of a cleaned mesh, in its coordinates.

    A file's normals are kept; where they point away from their face, as on faces that were turned, they are
    turned too. Corners without one take the mean, by area, of the faces that meet smoothly there: by the
    file's smoothing groups, else within `SMOOTH_WITHIN` degrees.
    """
    computed, corners = _smooth_normals(raw)
    if raw.normals is None:
        return computed, corners
    length = np.linalg.norm(np.nan_to_num(raw.normals, nan=0.0, posinf=0.0, neginf=0.0), axis=1)
    usable = np.isfinite(raw.normals).all(axis=1) & (length > 1e-12)
    given = np.where(usable[:, None], raw.normals, 0.0) / np.maximum(length, 1e-12)[:, None]
    named = (raw.normal_faces >= 0) & np.append(usable, False)[raw.normal_faces]
    claims = np.concatenate((given, np.zeros((1, 3))))[np.where(named, raw.normal_faces, -1)].sum(axis=1)
    a, b, c = (raw.vertices[raw.faces[:, k]] for k in range(3))
    away = (claims * np.cross(b - a, c - a)).sum(axis=1) < 0
    table = np.concatenate((given, -given, computed))
    chosen = raw.normal_faces + np.where(away, len(given), 0)[:, None]
    corners = np.where(named, chosen, corners + 2 * len(given))
    used, corners = np.unique(corners, return_inverse=True)
    return table[used], corners.reshape(-1, 3)


def _smooth_normals(raw: RawMesh) -> tuple[np.ndarray, np.ndarray]:
    """Corners of faces that meet smoothly at a vertex share one normal."""
    faces = raw.faces
    a, b, c = (raw.vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    unit = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-300)
    start, end = faces.reshape(-1), np.roll(faces, -1, axis=1).reshape(-1)
    corner = np.arange(len(start))
    following = corner - corner % 3 + (corner + 1) % 3
    key = np.minimum(start, end).astype(np.int64) * len(raw.vertices) + np.maximum(start, end)
    order = np.argsort(key, kind="stable")
    alike = key[order][1:] == key[order][:-1]
    one, other = order[:-1][alike], order[1:][alike]
    f, g = one // 3, other // 3
    if raw.smooth is None:
        joined = (unit[f] * unit[g]).sum(axis=1) >= np.cos(np.deg2rad(SMOOTH_WITHIN))
    else:
        joined = (raw.smooth[f] == raw.smooth[g]) & (raw.smooth[f] != 0)
    one, other = one[joined], other[joined]
    # An edge's two ends are corners of both faces; which belong together depends on the winding.
    along = start[one] == start[other]
    pairs = (
        np.concatenate((one, following[one])),
        np.concatenate((np.where(along, other, following[other]), np.where(along, following[other], other))),
    )
    graph = coo_matrix((np.ones(len(pairs[0]), dtype=np.float32), pairs), shape=(len(start),) * 2)
    count, label = connected_components(graph, directed=False)
    total = np.stack(
        [np.bincount(label, weights=np.repeat(cross[:, axis], 3), minlength=count) for axis in range(3)],
        axis=1,
    )
    length = np.linalg.norm(total, axis=1)
    some = np.zeros((count, 3))
    some[label] = np.repeat(unit, 3, axis=0)
    scale = np.bincount(label, weights=np.repeat(np.linalg.norm(cross, axis=1), 3), minlength=count)
    cancelled = length <= 1e-9 * scale
    found = np.where(cancelled[:, None], some, total / np.maximum(length, 1e-300)[:, None])
    return found, label.reshape(-1, 3)

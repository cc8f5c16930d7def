"""Polygons to triangles, also where they are not convex."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from texgen.reading.claims import refuse_costly_cuts


def cut(
    vertices: np.ndarray, corners: np.ndarray, counts: np.ndarray, path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Polygons -> triangles. path: the file that a refusal names; MeshError where cutting takes minutes.

    corners: [N, C] int64, one row per corner, its position first; all polygons after each other. counts: [P]
    corners of each. Returns triangles [F, 3, C] and the polygon of each [F], in the polygons' order. Fewer
    than three corners make none.
    """
    starts, work = np.cumsum(counts) - counts, 0.0
    pieces, owners = [np.zeros((0, 3, corners.shape[1]), dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for n in np.unique(counts[counts >= 3]).tolist():
        which = np.flatnonzero(counts == n)
        table = corners[starts[which][:, None] + np.arange(n)]
        with np.errstate(all="ignore"):  # coordinates that are not numbers, or too large, are refused later
            convex = is_convex(vertices[table[..., 0]]) if n > 3 else np.ones(len(table), dtype=bool)
            fan = np.arange(1, n - 1)[:, None] + [0, 1]
            fan = np.concatenate((np.zeros((n - 2, 1), dtype=np.int64), fan), axis=1)
            pieces.append(table[convex][:, fan].reshape(-1, 3, corners.shape[1]))
            owners.append(np.repeat(which[convex], n - 2))
            work = refuse_costly_cuts(path, work, n, int((~convex).sum()))
            for polygon, row in zip(which[~convex].tolist(), table[~convex], strict=True):
                pieces.append(row[np.array(cut_ears(vertices[row[:, 0]]))])
                owners.append(np.full(n - 2, polygon))
    owner = np.concatenate(owners)
    order = np.argsort(owner, kind="stable")
    return np.concatenate(pieces)[order], owner[order]


def is_convex(points: np.ndarray) -> np.ndarray:
    """[P, n, 3] polygons -> [P] bool: every corner turns the way the polygon does."""
    edges = np.roll(points, -1, axis=1) - points
    normals = np.cross(points - points[:, :1], edges).sum(axis=1, keepdims=True)
    turns = (np.cross(np.roll(edges, 1, axis=1), edges) * normals).sum(axis=-1)
    return (turns >= 0).all(axis=1)


def cut_ears(points: np.ndarray) -> list[tuple[int, int, int]]:
    """Cut a polygon [n, 3], convex or not, into n - 2 triangles of its corners, ear by ear.

    What has no ear (a polygon that crosses itself, or without area) is cut as a fan.
    """
    edges = np.roll(points, -1, axis=0) - points
    normal = np.cross(points - points[0], edges).sum(axis=0)
    left, ring = np.arange(len(points)), _in_plane(points, normal)
    cuts = []
    k = idle = 0
    while len(left) > 3:
        if idle == len(left):  # a whole round without an ear
            return cuts + [(int(left[0]), int(left[i]), int(left[i + 1])) for i in range(1, len(left) - 1)]
        k %= len(left)
        if _is_ear(ring, k):
            cuts.append((int(left[k - 1]), int(left[k]), int(left[(k + 1) % len(left)])))
            left, ring = np.delete(left, k), np.delete(ring, k, axis=0)
            idle = 0
        else:
            # Going on from here, not from the beginning, keeps polygons of thousands of corners cheap.
            k += 1
            idle += 1
    return [*cuts, (int(left[0]), int(left[1]), int(left[2]))]


def _in_plane(points: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """[n, 2]: points in the plane across a normal, in which turning left is turning about the normal."""
    length = np.linalg.norm(normal)
    if not length > 0:
        return np.zeros((len(points), 2))
    normal = normal / length
    first = np.cross(normal, np.eye(3)[np.argmin(np.abs(normal))])
    first /= np.linalg.norm(first)
    return points @ np.stack((first, np.cross(normal, first)), axis=1)


def _is_ear(ring: np.ndarray, k: int) -> bool:
    """Whether corner k of a polygon [n, 2] turns left and no other corner lies in its triangle."""
    corners = [k - 1 if k else len(ring) - 1, k, (k + 1) % len(ring)]
    start, tip, end = ring[corners]

    def turn(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[0] - p[0]) * (r[..., 1] - q[1]) - (q[1] - p[1]) * (r[..., 0] - q[0])

    if not turn(start, tip, end) > 0:
        return False
    inside = (turn(start, tip, ring) >= 0) & (turn(tip, end, ring) >= 0) & (turn(end, start, ring) >= 0)
    inside[corners] = False
    return not inside.any()

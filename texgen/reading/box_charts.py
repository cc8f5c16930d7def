"""Texture coordinates in a time that grows with the faces alone: charts by direction, packed in rows.

For meshes on which xatlas would take too long. Every face looks along one of six axes; connected faces that
look alike are one chart, drawn as seen along that axis. Seams are longer than xatlas's, and what is seen
obliquely gets fewer texels, down to `LEAST_COSINE` of what is seen frontally.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from texgen.render.atlas import faces_at

# A face may follow its neighbours into a chart that sees it this obliquely, else it looks along its own axis.
LEAST_COSINE = 0.35
# The noise of a scan would cut charts into crumbs: normals are averaged over neighbours so many times first.
SMOOTHINGS = 12
# Share of a chart's faces that may have their middle in another one: float32 misses a few that are tiny.
FOLDED = 0.002
MOST_CUTS = 10
LAID_APART = 0.001  # of the square's side, while charts are looked at
# Of the square's side, for all gaps together: where charts are very many, their padding shrinks to this.
MOST_GAPS = 0.25
# The square grows by this until the rows fit.
GROWTH = 1.03


def box_charts(vertices: np.ndarray, faces: np.ndarray, padding: float) -> tuple[np.ndarray, np.ndarray, int]:
    """(uvs [T, 2] in [0, 1], uv_faces [F, 3] int64, number of charts), all charts at one scale.

    vertices [V, 3], faces [F, 3]. padding: between charts, as a share of the square's side. A chart that
    would cover itself, as a ramp that winds upwards does, is cut into halves until it does not.
    """
    crosses = np.cross(
        vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]
    )
    first, second = _neighbours(faces)
    direction = _directions(crosses, first, second)
    chart = _connected(direction, first, second)
    middles = _seen(vertices[faces].mean(axis=1), direction)
    for _ in range(MOST_CUTS):
        folded = _folded(chart, _seen_corners(vertices, faces, direction), middles)
        if not folded.any():
            break
        low, high = _boxes(chart, middles)
        along = (high - low).argmax(axis=1)[chart]
        rows = np.arange(len(faces))
        upper = middles[rows, along] > ((low + high) / 2)[chart, along]
        chart = _connected(2 * chart + (folded[chart] & upper), first, second)
    charts = int(chart.max()) + 1
    corners = np.stack((np.repeat(chart, 3), faces.reshape(-1)), axis=1)
    corners, index = np.unique(corners, axis=0, return_inverse=True)
    looks = np.zeros(charts, dtype=np.int64)
    looks[chart] = direction
    owner = corners[:, 0]
    points = _seen(vertices[corners[:, 1]], looks[owner])
    low, high = _boxes(owner, points)
    places, side = _in_rows(high - low, padding)
    uvs = (points - low[owner] + places[owner]) / side
    return np.clip(uvs, 0, 1), index.reshape(-1, 3).astype(np.int64), int(charts)


def _connected(kind: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[F]: number of the chart of each face: neighbours of one kind [F] are in one."""
    alike = kind[first] == kind[second]
    count = len(kind)
    graph = coo_matrix((np.ones(int(alike.sum())), (first[alike], second[alike])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _boxes(owner: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and greatest coordinates [C, 2] of the points [N, 2] of each owner [N]."""
    count = int(owner.max()) + 1
    low, high = np.full((count, 2), np.inf), np.full((count, 2), -np.inf)
    np.minimum.at(low, owner, points)
    np.maximum.at(high, owner, points)
    return low, high


def _seen_corners(vertices: np.ndarray, faces: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """[F, 3, 2]: the faces' corners, as each face is seen."""
    return np.stack([_seen(vertices[faces[:, k]], direction) for k in range(3)], axis=1)


def _folded(chart: np.ndarray, corners: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """[C]: whether faces of a chart have their middle in another one; charts are laid side by side."""
    low, high = _boxes(np.repeat(chart, 3), corners.reshape(-1, 2))
    places, size = _in_rows(high - low, LAID_APART)
    move = (places - low)[chart]
    laid = torch.from_numpy(((corners + move[:, None]) / size).reshape(-1, 2)).float()
    looked_up = torch.from_numpy((middles + move) / size).float()
    found = faces_at(laid, torch.arange(len(laid)).reshape(-1, 3), looked_up)[0].numpy()
    other = (found >= 0) & (found != np.arange(len(found)))
    share = np.bincount(chart, weights=other) / np.bincount(chart)
    return share > FOLDED


def _neighbours(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of faces with a common edge, [N] and [N]; edges of more than two faces join none."""
    edges = np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    key = edges[:, 0] * (int(faces.max()) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    key, owner = key[order], owner[order]
    _, start, count = np.unique(key, return_index=True, return_counts=True)
    start = start[count == 2]
    return owner[start], owner[start + 1]


def _directions(crosses: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """[F] in 0 to 5: which of +x, -x, +y, -y, +z, -z a face looks along, like its surroundings where it can.

    crosses [F, 3]: normals, as long as the faces are large.
    """
    count = len(crosses)
    pairs = np.concatenate((first, second)), np.concatenate((second, first))
    beside = csr_matrix((np.ones(len(pairs[0])), pairs), shape=(count, count))
    around = crosses / max(float(np.abs(crosses).max()), 1e-300)
    for _ in range(SMOOTHINGS):
        around = (around + beside @ around) / 4
    shared = _nearest_axis(around)
    normals = crosses / np.maximum(np.linalg.norm(crosses, axis=1, keepdims=True), 1e-300)
    signs = 1 - 2 * (shared % 2)
    cosine = normals[np.arange(count), shared // 2] * signs
    return np.where(cosine >= LEAST_COSINE, shared, _nearest_axis(normals))


def _nearest_axis(vectors: np.ndarray) -> np.ndarray:
    axis = np.abs(vectors).argmax(axis=1)
    return 2 * axis + (vectors[np.arange(len(vectors)), axis] < 0)


def _seen(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Points [N, 3] as seen along directions [N] from outside, [N, 2], not mirrored."""
    axis = direction // 2
    one, other = (np.take_along_axis(points, ((axis + k) % 3)[:, None], axis=1)[:, 0] for k in (1, 2))
    negative = direction % 2 == 1
    return np.stack((np.where(negative, other, one), np.where(negative, one, other)), axis=1)


def _in_rows(boxes: np.ndarray, padding: float) -> tuple[np.ndarray, float]:
    """Where boxes [C, 2] (width, height) lie in a square, as corners [C, 2], and the square's side."""
    share = min(padding, MOST_GAPS / np.sqrt(len(boxes)))
    order = np.argsort(-boxes[:, 1], kind="stable")
    side = max(float(np.sqrt(boxes.prod(axis=1).sum())), float(boxes.max()) / (1 - 2 * share), 1e-300)
    while True:
        gap = share * side
        places, height = _rows(boxes[order] + gap, side - gap)
        if height + gap <= side:
            found = np.empty_like(places)
            found[order] = places + gap
            return found, side
        side *= GROWTH


def _rows(boxes: np.ndarray, width: float) -> tuple[np.ndarray, float]:
    """Corners [C, 2] of boxes [C, 2] that are put into rows in their order, and the rows' height."""
    ends = np.cumsum(boxes[:, 0])
    places, start, top = np.zeros_like(boxes), 0, 0.0
    while start < len(boxes):
        before = ends[start] - boxes[start, 0]
        stop = max(int(np.searchsorted(ends, before + width, side="right")), start + 1)
        places[start:stop, 0] = ends[start:stop] - boxes[start:stop, 0] - before
        places[start:stop, 1] = top
        top += float(boxes[start:stop, 1].max())
        start = stop
    return places, top

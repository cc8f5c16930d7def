"""Texture coordinates: are those of the file usable, and new ones by xatlas when they are not."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import xatlas
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from texgen.reading.box_charts import box_charts

# xatlas packs at about this resolution; three texels of padding here keep charts more than one texel apart at
# texture size 256, which bilinear sampling needs.
PACK_RESOLUTION = 512
PACK_PADDING = 3
# Growing and flattening a chart costs more than linearly in its faces: a scan of 56,000 faces took 19 s with
# free charts and 3.6 s with charts of at most 1/100 of its area (41 and 150 charts).
DENSE_FACES = 20_000
DENSE_FACES_PER_CHART = 500
# Beyond this xatlas is not asked: its time is minutes, and nothing can stop it on the way.
MOST_FACES = 400_000


@dataclass(frozen=True, eq=False)
class Unwrapping:
    """uvs: [T, 2] float32 in [0, 1], v up. uv_faces: [F, 3] int64. charts: their number. seconds: taken.
    note: what a person should know of how they were made, one sentence, or None."""

    uvs: np.ndarray
    uv_faces: np.ndarray
    charts: int
    seconds: float
    note: str | None = None


def unwrap(vertices: np.ndarray, faces: np.ndarray) -> Unwrapping:
    """Cut a surface into charts and pack them into the unit square, by xatlas.

    vertices [V, 3], faces [F, 3]. Meshes of more than `DENSE_FACES` faces get smaller charts, for time; those
    of more than `MOST_FACES` the charts of `texgen.reading.box_charts`. Any triangle soup works: edges that
    are not manifold become seams.
    """
    started = time.perf_counter()
    if len(faces) > MOST_FACES:
        uvs, uv_faces, count = box_charts(vertices, faces, PACK_PADDING / PACK_RESOLUTION)
        note = (
            f"A mesh of {len(faces)} faces is unwrapped by direction (faster, with longer seams); for fewer "
            f"seams bring uvs of your own, or at most {MOST_FACES} faces."
        )
        return Unwrapping(uvs.astype(np.float32), uv_faces, count, time.perf_counter() - started, note)
    atlas = xatlas.Atlas()
    atlas.add_mesh(
        np.ascontiguousarray(vertices, dtype=np.float32), np.ascontiguousarray(faces, dtype=np.uint32)
    )
    charts = xatlas.ChartOptions()
    if len(faces) > DENSE_FACES:
        charts.max_chart_area = float(areas(vertices, faces).sum() * DENSE_FACES_PER_CHART / len(faces))
    packing = xatlas.PackOptions()
    packing.resolution = PACK_RESOLUTION
    packing.padding = PACK_PADDING
    atlas.generate(charts, packing)
    _, uv_faces, uvs = atlas.get_mesh(0)
    # xatlas divides by the width and the height of its page apart; one divisor keeps texels square.
    uvs = uvs * np.array([atlas.width, atlas.height], dtype=np.float32) / max(atlas.width, atlas.height)
    return Unwrapping(
        uvs=np.clip(uvs, 0, 1).astype(np.float32),
        uv_faces=uv_faces.astype(np.int64),
        charts=int(atlas.chart_count),
        seconds=time.perf_counter() - started,
    )


def areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """[F] area of each triangle, of 3D vertices [V, 3] or of uvs [T, 2]."""
    if vertices.shape[1] == 2:
        vertices = np.pad(vertices, ((0, 0), (0, 1)))
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2


def uv_problem(uvs: np.ndarray | None, uv_faces: np.ndarray | None, face_areas: np.ndarray) -> str | None:
    """Why these uvs cannot be used, in words that follow "the uvs", or None when they can.

    uvs [T, 2], uv_faces [F, 3] (-1 = none), face_areas [F] in 3D. Usable uvs cover all faces, are finite and
    give area to at least 99 % of the surface. Where they lie and overlap is judged by
    `texgen.reading.uv_layout`.
    """
    if uvs is None or uv_faces is None:
        return "are missing"
    without = int((uv_faces < 0).any(axis=1).sum())
    if without:
        return f"are missing on {without} of {len(uv_faces)} faces"
    used = uvs[np.unique(uv_faces)]
    if not np.isfinite(used).all():
        return "hold numbers that are not finite"
    flat = areas(uvs, uv_faces) <= 1e-12
    share = face_areas[flat].sum() / face_areas.sum()
    if share > 0.01:
        return f"have no area on {share:.0%} of the surface"
    return None


def chart_labels(uv_faces: np.ndarray) -> np.ndarray:
    """[F] int64: number of the chart of each face, from 0. Faces that share a uv corner are in one chart."""
    corners = int(uv_faces.max()) + 1
    ends = np.concatenate((uv_faces[:, [0, 1]], uv_faces[:, [1, 2]]))
    graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(corners, corners))
    _, labels = connected_components(graph, directed=False)
    return np.unique(labels[uv_faces[:, 0]], return_inverse=True)[1]

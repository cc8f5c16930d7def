"""Closed primitives from which the training shapes are assembled.

A part is a pair ``(vertices [V, 3] float64, faces [F, 3] int64)`` with outward (counter-clockwise) faces.
Parts are only concatenated, never cut: a ray stops at the first surface it meets, so hidden inner walls of a
union cost nothing and no boolean library is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Part = tuple[np.ndarray, np.ndarray]
Rng = np.random.Generator
Vector = Sequence[float]


def join(*parts: Part) -> Part:
    """Concatenate parts into one, shifting their face indices."""
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in parts[:-1]])
    vertices = np.concatenate([part[0] for part in parts])
    faces = np.concatenate([part[1] + offset for part, offset in zip(parts, offsets, strict=True)])
    return vertices, faces


def move(part: Part, offset: Vector) -> Part:
    """Translate a part by ``offset`` (x, y, z)."""
    return part[0] + np.asarray(offset, dtype=float), part[1]


def stretch(part: Part, factors: Vector) -> Part:
    """Scale a part along x, y, z; a mirroring scale also flips the faces so that they stay outward."""
    faces = part[1] if np.prod(factors) > 0 else part[1][:, ::-1]
    return part[0] * np.asarray(factors, dtype=float), faces


def turn(part: Part, axis: str, degrees: float) -> Part:
    """Rotate a part about the world axis "x", "y" or "z" by the right-hand rule."""
    a = "xyz".index(axis)
    b, c = (a + 1) % 3, (a + 2) % 3
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    matrix[b, b] = matrix[c, c] = cosine
    matrix[b, c], matrix[c, b] = -sine, sine
    return part[0] @ matrix.T, part[1]


def mirrored(part: Part) -> Part:
    """A part together with its mirror image in the plane x = 0."""
    return join(part, stretch(part, (-1, 1, 1)))


def box(size: Vector, centre: Vector = (0, 0, 0)) -> Part:
    """Axis-aligned box; its six sides share no vertices, so that vertex normals stay crisp."""
    corners, faces = [], []
    for axis in range(3):
        for sign in (-1, 1):
            quad = np.zeros((4, 3))
            quad[:, axis] = sign
            quad[:, (axis + 1) % 3] = np.array([-1, 1, 1, -1]) * sign
            quad[:, (axis + 2) % 3] = [-1, -1, 1, 1]
            faces += [[len(corners) * 4 + k for k in tri] for tri in ((0, 1, 2), (0, 2, 3))]
            corners.append(quad)
    vertices = np.concatenate(corners) * np.asarray(size, dtype=float) / 2 + np.asarray(centre, dtype=float)
    return vertices, np.array(faces, dtype=np.int64)


def subdivide(part: Part) -> Part:
    """Split each triangle into four at its edge midpoints, sharing midpoints between neighbours."""
    vertices, faces = part
    edges = np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique, inverse = np.unique(edges, axis=0, return_inverse=True)
    ab, bc, ca = (inverse.reshape(-1, 3) + len(vertices)).T
    a, b, c = faces.T
    children = [np.stack(t, axis=1) for t in ((a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca))]
    return np.concatenate([vertices, vertices[unique].mean(axis=1)]), np.concatenate(children)


def ball(radii: float | Vector, centre: Vector = (0, 0, 0), level: int = 2) -> Part:
    """Ellipsoid from a subdivided octahedron (8 * 4 ** (level + 1) faces) with the given radii."""
    vertices = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    part = (vertices, faces)
    for _ in range(level + 1):
        part = subdivide(part)
    unit = part[0] / np.linalg.norm(part[0], axis=1, keepdims=True)
    return unit * np.broadcast_to(radii, 3) + np.asarray(centre, dtype=float), part[1]


def _ring_faces(rings: int, segments: int, wrap: bool) -> np.ndarray:
    """Faces between ``rings`` loops of ``segments`` vertices; ``wrap`` joins the last loop to the first."""
    i, j = np.meshgrid(np.arange(rings if wrap else rings - 1), np.arange(segments), indexing="ij")
    up, right = (i + 1) % rings, (j + 1) % segments
    a, b, c, d = i * segments + j, i * segments + right, up * segments + right, up * segments + j
    return np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3).astype(np.int64)


def lathe(profile: Sequence[Vector], segments: int = 28, centre: Vector = (0, 0, 0)) -> Part:
    """Revolve a profile of (radius, y) points about the y axis.

    A solid's profile starts and ends on the axis and runs from the bottom over the outside to the top; a
    vessel's profile returns along its inner wall. Sides flatter than a curve simply use few segments.
    """
    rows = np.asarray(profile, dtype=float)
    angle = 2 * np.pi * np.arange(segments) / segments
    radius, height = rows[:, :1], rows[:, 1:]
    grid = np.stack([radius * np.sin(angle), height + 0 * angle, radius * np.cos(angle)], axis=-1)
    return grid.reshape(-1, 3) + np.asarray(centre, dtype=float), _ring_faces(len(rows), segments, wrap=False)


def smooth_profile(points: Sequence[Vector], count: int = 24) -> np.ndarray:
    """Catmull-Rom curve through ``points`` [P, D], ``count`` samples from the first to the last point."""
    p = np.asarray(points, dtype=float)
    p = np.concatenate([2 * p[:1] - p[1:2], p, 2 * p[-1:] - p[-2:-1]])
    t = np.linspace(0, len(p) - 3 - 1e-9, count)
    k = t.astype(int)
    s = (t - k)[:, None]
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    return 0.5 * (2 * b + (c - a) * s + (2 * a - 5 * b + 4 * c - d) * s**2 + (3 * b - a - 3 * c + d) * s**3)


def frustum(bottom: float, top: float, height: float, centre: Vector = (0, 0, 0), segments: int = 28) -> Part:
    """Upright solid of two end radii: a cylinder when equal, a cone when ``top`` is 0; centred in height."""
    half = height / 2
    return lathe(
        [(0, -half), (bottom, -half), (bottom, -half), (top, half), (top, half), (0, half)], segments, centre
    )


def tube(points: Sequence[Vector], radius: float | Vector, segments: int = 12, closed: bool = False) -> Part:
    """Round tube along a polyline [N, 3] with one radius or a radius per point; open ends are capped.

    Rings follow the curve by parallel transport; a ``closed`` curve must be planar for its ends to meet.
    """
    path = np.asarray(points, dtype=float)
    radii = np.broadcast_to(np.asarray(radius, dtype=float), len(path))
    tangents = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
    normal = np.eye(3)[np.abs(tangents[0]).argmin()]
    if closed:  # the plane's normal is carried along unchanged, so the last ring meets the first
        normal = np.cross(path[0] - path.mean(0), tangents[0])
    rings = []
    for point, tangent, r in zip(path, tangents, radii, strict=True):
        normal = normal - tangent * (normal @ tangent)
        normal /= np.linalg.norm(normal)
        angle = 2 * np.pi * np.arange(segments)[:, None] / segments
        rings.append(point + r * (np.cos(angle) * normal + np.sin(angle) * np.cross(tangent, normal)))
    if not closed:
        rings = [np.repeat(path[:1], segments, 0), *rings, np.repeat(path[-1:], segments, 0)]
    return np.concatenate(rings), _ring_faces(len(rings), segments, wrap=closed)


def stick(
    start: Vector, end: Vector, radius: float, end_radius: float | None = None, segments: int = 12
) -> Part:
    """Straight tube from ``start`` to ``end``, tapered when ``end_radius`` is given."""
    return tube([start, end], [radius, radius if end_radius is None else end_radius], segments)


def torus(major: float, minor: float, centre: Vector = (0, 0, 0), segments: int = 36) -> Part:
    """Ring in the plane y = 0 with tube radius ``minor``."""
    angle = 2 * np.pi * np.arange(segments) / segments
    circle = np.stack([major * np.sin(angle), 0 * angle, major * np.cos(angle)], axis=1)
    return move(tube(circle, minor, 14, closed=True), centre)


def capsule(radius: float, height: float, centre: Vector = (0, 0, 0), segments: int = 24) -> Part:
    """Upright cylinder of total ``height`` with hemispherical ends."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 14)
    shift = np.where(angle < 0, -1, 1) * max(height / 2 - radius, 0)
    return lathe(np.stack([radius * np.cos(angle), radius * np.sin(angle) + shift], axis=1), segments, centre)


def extrude(outline: Sequence[Vector], depth: float, centre: Vector = (0, 0, 0)) -> Part:
    """Simple polygon [N, 2] in the xy plane thickened to ``depth`` along z; rims do not share vertices."""
    shape = np.asarray(outline, dtype=float)
    following = np.roll(shape, -1, 0)
    if (shape[:, 0] * following[:, 1] - shape[:, 1] * following[:, 0]).sum() < 0:
        shape = shape[::-1]
    n = len(shape)
    flat = np.array(_ear_clip(shape), dtype=np.int64)
    front = np.column_stack([shape, np.full(n, depth / 2)])
    back = np.column_stack([shape, np.full(n, -depth / 2)])
    # each rim quad has its own four corners: back j, back j+1, front j+1, front j
    rim = np.stack([back, np.roll(back, -1, 0), np.roll(front, -1, 0), front], axis=1).reshape(-1, 3)
    start = 2 * n + 4 * np.arange(n)[:, None]
    faces = np.concatenate([flat, flat[:, ::-1] + n, start + [0, 1, 2], start + [0, 2, 3]])
    return np.concatenate([front, back, rim]) + np.asarray(centre, dtype=float), faces


def _ear_clip(shape: np.ndarray) -> list[tuple[int, int, int]]:
    """Triangulate a simple counter-clockwise polygon [N, 2] by cutting ears (Meisters 1975)."""

    def turn_of(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        return (q[..., 0] - p[..., 0]) * (r[..., 1] - p[..., 1]) - (q[..., 1] - p[..., 1]) * (
            r[..., 0] - p[..., 0]
        )

    left = list(range(len(shape)))
    triangles = []
    while len(left) > 3:
        for k in range(len(left)):
            a, b, c = left[k - 1], left[k], left[(k + 1) % len(left)]
            others = shape[[i for i in left if i not in (a, b, c)]]
            p, q, r = shape[a], shape[b], shape[c]
            inside = (
                (turn_of(p, q, others) >= 0) & (turn_of(q, r, others) >= 0) & (turn_of(r, p, others) >= 0)
            )
            if turn_of(p, q, r) > 0 and not inside.any():
                break
        else:
            raise ValueError("outline is not a simple polygon: remove its crossings or repeated points")
        triangles.append((a, b, c))
        left.pop(k)
    return [*triangles, tuple(left)]


def isosurface(
    field: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray, cells: int
) -> Part:
    """Zero surface of ``field`` (points [M, 3] -> [M], negative inside) by naive surface nets (Gibson 1998).

    ``low`` and ``high`` bound a box that contains the surface with a margin; ``cells`` counts cells along its
    longest side.
    """
    step = (high - low).max() / cells
    counts = np.ceil((high - low) / step).astype(int) + 1
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in counts], indexing="ij"), axis=-1)
    values = field((low + step * grid).reshape(-1, 3)).reshape(counts)
    cell_index = np.arange(values.size).reshape(counts)
    total, hits, quads = np.zeros((values.size, 3)), np.zeros(values.size), []
    for axis in range(3):
        b, c = (axis + 1) % 3, (axis + 2) % 3
        below, above = [np.moveaxis(values, axis, 0)[s] for s in (slice(None, -1), slice(1, None))]
        at = np.argwhere(np.moveaxis((below < 0) != (above < 0), 0, axis))
        ahead = at + np.eye(3, dtype=int)[axis]
        v0, v1 = values[tuple(at.T)], values[tuple(ahead.T)]
        point = at + (v0 / (v0 - v1))[:, None] * np.eye(3)[axis]
        around = np.repeat(at[:, None], 4, axis=1)
        around[:, [0, 3], b] -= 1
        around[:, [0, 1], c] -= 1
        quad = cell_index[tuple(np.moveaxis(around, -1, 0))]
        np.add.at(total, quad.ravel(), np.repeat(point, 4, axis=0))
        np.add.at(hits, quad.ravel(), 1)
        quads.append(np.where((v0 < 0)[:, None], quad, quad[:, ::-1]))
    quad = np.concatenate(quads)
    used, compact = np.unique(quad, return_inverse=True)
    compact = compact.reshape(-1, 4)
    faces = np.concatenate([compact[:, [0, 1, 2]], compact[:, [0, 2, 3]]])
    return low + step * total[used] / hits[used, None], faces


Bone = tuple[Vector, Vector, float, float]


def organic(bones: Sequence[Bone], blend: float = 0.04, max_faces: int = 6500, max_cells: int = 48) -> Part:
    """Smooth union of tapered capsules, the bodies of animals: one skin without seams between the limbs.

    ``bones`` are (start, end, start radius, end radius); ``blend`` is the length over which neighbours melt
    into each other (log-sum-exp smooth minimum).
    """
    starts, ends = (np.array([bone[k] for bone in bones], dtype=float) for k in (0, 1))
    radii = np.array([bone[2:] for bone in bones], dtype=float)

    def field(points: np.ndarray) -> np.ndarray:
        total = np.zeros(len(points))
        for start, end, (r0, r1) in zip(starts, ends, radii, strict=True):
            along, away = end - start, points - start
            t = np.clip(away @ along / max(along @ along, 1e-12), 0, 1)
            distance = np.linalg.norm(away - t[:, None] * along, axis=1) - (r0 + t * (r1 - r0))
            total += np.exp(np.clip(-distance / blend, -60, 60))
        return -blend * np.log(total + 1e-30)

    margin = radii.max(axis=1, keepdims=True) + 3 * blend
    low = np.minimum(starts - margin, ends - margin).min(0) - 0.05
    high = np.maximum(starts + margin, ends + margin).max(0) + 0.05
    coarse = isosurface(field, low, high, 20)
    # the face count grows with the square of the resolution
    cells = int(min(max_cells, 20 * np.sqrt(max_faces / max(len(coarse[1]), 1))))
    return isosurface(field, low, high, max(cells, 12))

"""Small closed shapes computed from formulas, for meshes that need no file and no licence.

None of them is made as the shapes of the miniature's training world (`texgen.miniature.shapes`) are, and the
abstract ones resemble none of them. They stand upright (+y up) and face +z. Each function returns vertices
[V, 3] float64 and faces [F, 3] int64, wound outwards.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from texgen.mesh.mesh import MeshError
from texgen.mesh.procedural_bodies import BODIES, Shape
from texgen.storage.files import atomic_path


def trefoil(steps: int = 192, sides: int = 20) -> Shape:
    """A tube around a trefoil knot that lies in the xy plane."""
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    curve = np.stack((np.sin(t) + 2 * np.sin(2 * t), np.cos(t) - 2 * np.cos(2 * t), -np.sin(3 * t)), axis=1)
    return tube(curve, np.full(steps, 0.62), sides, closed=True)


def spring(steps: int = 288, sides: int = 16, turns: float = 4.5) -> Shape:
    """A coil around the y axis with rounded ends."""
    t = np.linspace(0, 1, steps)
    angle = 2 * np.pi * turns * t
    curve = np.stack((np.sin(angle), 2.7 * (t - 0.5), np.cos(angle)), axis=1)
    return tube(curve, _rounded_ends(curve, 0.2), sides, closed=False)


def seashell(steps: int = 240, sides: int = 20, turns: float = 4.0) -> Shape:
    """A conical spiral shell that grows downwards, its mouth rounded off."""
    t = np.linspace(0, 1, steps)
    angle, size = 2 * np.pi * turns * t, np.exp(2.4 * (t - 1))
    curve = np.stack((0.62 * size * np.sin(angle), -1.9 * size, 0.62 * size * np.cos(angle)), axis=1)
    return tube(curve, np.minimum(0.55 * size, _rounded_ends(curve, 0.55)), sides, closed=False)


def superellipsoid(cells: int = 24) -> Shape:
    """A box with strongly rounded edges and slightly bulging sides."""
    directions, faces = cube_sphere(cells)
    scaled = np.abs(directions / np.array([0.8, 1.0, 0.65]))
    radius = (scaled**4.5).sum(axis=1) ** (-1 / 4.5)
    return directions * radius[:, None], faces


def pumpkin(cells: int = 28) -> Shape:
    """A flattened ball with nine ribs and dimples at its poles."""
    directions, faces = cube_sphere(cells)
    azimuth = np.arctan2(directions[:, 0], directions[:, 2])
    around = np.hypot(directions[:, 0], directions[:, 2])
    radius = (1 - 0.16 * np.abs(np.sin(4.5 * azimuth)) * around) * (0.55 + 0.45 * around)
    return directions * radius[:, None] * np.array([1.0, 0.95, 1.0]), faces


def bumpy_ball(cells: int = 28) -> Shape:
    """A ball with soft bumps all over."""
    directions, faces = cube_sphere(cells)
    bumps = (
        np.sin(6 * directions[:, 0] + 0.5) * np.sin(6 * directions[:, 1]) * np.sin(6 * directions[:, 2] + 1)
    )
    return directions * (1 + 0.22 * bumps)[:, None], faces


def twisted_column(cells: int = 28) -> Shape:
    """A tall rounded box, twisted by a third of a turn and waisted in the middle."""
    directions, faces = cube_sphere(cells)
    box = directions * ((np.abs(directions) ** 8).sum(axis=1) ** (-1 / 8))[:, None]
    height = box[:, 1]
    angle, width = np.deg2rad(60) * height, 0.42 + 0.16 * height**2
    x = width * (np.cos(angle) * box[:, 0] + np.sin(angle) * box[:, 2])
    z = width * (np.cos(angle) * box[:, 2] - np.sin(angle) * box[:, 0])
    return np.stack((x, height, z), axis=1), faces


def wavy_ring(steps: int = 192, sides: int = 24) -> Shape:
    """A ring that faces +z, with seven waves in its plane and a thickness that swells with them."""
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    radius = 1 + 0.06 * np.cos(7 * t)
    curve = np.stack((radius * np.sin(t), radius * np.cos(t), 0.05 * np.sin(7 * t)), axis=1)
    return tube(curve, 0.3 + 0.04 * np.cos(7 * t), sides, closed=True)


def vase(steps: int = 96, sides: int = 48) -> Shape:
    """A solid of revolution with a belly, a neck and a wide lip."""
    t = np.linspace(0, 1, steps)
    curve = np.stack((np.zeros(steps), 2.2 * (t - 0.5), np.zeros(steps)), axis=1)
    radius = 0.38 + 0.34 * np.sin(np.pi * t.clip(max=0.75) / 0.75) ** 2 + 0.9 * (t - 0.75).clip(min=0)
    ends = np.sqrt(1 - (1 - np.minimum(t, 1 - t).clip(max=0.06) / 0.06) ** 2)
    return tube(curve, radius * ends.clip(min=0.05), sides, closed=False)


ABSTRACT: dict[str, Callable[[], Shape]] = {
    "trefoil": trefoil,
    "spring": spring,
    "superellipsoid": superellipsoid,
    "pumpkin": pumpkin,
    "seashell": seashell,
    "bumpy_ball": bumpy_ball,
    "twisted_column": twisted_column,
    "wavy_ring": wavy_ring,
}
"""Shapes that resemble nothing of the miniature's training world."""
SHAPES: dict[str, Callable[[], Shape]] = {**ABSTRACT, "vase": vase, **BODIES}


def tube(curve: np.ndarray, radius: np.ndarray, sides: int, closed: bool) -> Shape:
    """Sweep a circle along a curve [S, 3] with radius [S]; an open tube is closed by a point at each end.

    Frames are carried along with the least rotation; around a closed curve the rest of the turn is spread
    evenly, so that the last ring meets the first.
    """
    steps = len(curve)
    if closed:
        tangent = np.roll(curve, -1, axis=0) - np.roll(curve, 1, axis=0)
    else:
        tangent = np.gradient(curve, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    normals = [_unit(np.cross(tangent[0], np.eye(3)[np.abs(tangent[0]).argmin()]))]
    for i in range(1, steps + int(closed)):
        along = tangent[i % steps]
        normals.append(_unit(normals[-1] - (normals[-1] @ along) * along))
    normal = np.array(normals[:steps])
    binormal = np.cross(tangent, normal)
    spread = np.zeros(steps)
    if closed:
        missing = np.arctan2(normals[-1] @ binormal[0], normals[-1] @ normal[0])
        spread = -missing * np.arange(steps) / steps
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False) + spread[:, None]
    ring = np.cos(angle)[..., None] * normal[:, None] + np.sin(angle)[..., None] * binormal[:, None]
    vertices = (curve[:, None] + radius[:, None, None] * ring).reshape(-1, 3)
    rows = np.arange(steps if closed else steps - 1)[:, None]
    columns = np.arange(sides)[None, :]
    a, b = rows * sides + columns, rows * sides + (columns + 1) % sides
    c, d = (rows + 1) % steps * sides + (columns + 1) % sides, (rows + 1) % steps * sides + columns
    faces = [np.stack((a, b, c), axis=-1).reshape(-1, 3), np.stack((a, c, d), axis=-1).reshape(-1, 3)]
    if not closed:
        around, after = np.arange(sides), (np.arange(sides) + 1) % sides
        first, last = len(vertices), len(vertices) + 1
        vertices = np.concatenate((vertices, curve[[0, -1]]))
        end = (steps - 1) * sides
        faces.append(np.stack((after, around, np.full(sides, first)), axis=1))
        faces.append(np.stack((end + around, end + after, np.full(sides, last)), axis=1))
    return vertices, np.concatenate(faces)


def cube_sphere(cells: int) -> Shape:
    """Unit directions on the faces of a cube, `cells` by `cells` each: a sphere without crowded poles."""
    ticks = np.tan(np.linspace(-np.pi / 4, np.pi / 4, cells + 1))
    u, v = (grid.ravel() for grid in np.meshgrid(ticks, ticks, indexing="ij"))
    points, faces = [], []
    index = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    patch = np.concatenate((np.stack((a, b, c), axis=1), np.stack((a, c, d), axis=1)))
    for axis in range(3):
        for sign in (1, -1):
            point = np.empty((len(u), 3))
            point[:, axis], point[:, (axis + 1) % 3], point[:, (axis + 2) % 3] = sign, u, v
            faces.append((patch if sign > 0 else patch[:, ::-1]) + len(u) * len(points))
            points.append(point)
    stacked = np.concatenate(points)
    _, first, weld = np.unique(stacked.round(9), axis=0, return_index=True, return_inverse=True)
    directions = stacked[first] / np.linalg.norm(stacked[first], axis=1, keepdims=True)
    return directions, weld.reshape(-1)[np.concatenate(faces)]


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _rounded_ends(curve: np.ndarray, radius: float) -> np.ndarray:
    """Radius along an open curve that falls to almost nothing at both ends like a half ball."""
    step = np.linalg.norm(np.diff(curve, axis=0), axis=1)
    before = np.concatenate(([0.0], np.cumsum(step)))
    depth = np.minimum(before, before[-1] - before).clip(max=radius) / radius
    return radius * np.sqrt(1 - (1 - depth) ** 2).clip(min=0.05)


def write_shape(name: str, path: Path) -> Path:
    """Write a shape of `SHAPES` as OBJ. Raises MeshError for an unknown name."""
    if name not in SHAPES:
        raise MeshError(f"procedural:{name} is not a shape; choose one of {', '.join(SHAPES)}.")
    vertices, faces = SHAPES[name]()
    with atomic_path(path) as temporary:
        with open(temporary, "w", encoding="ascii") as file:
            file.writelines("v {:.7f} {:.7f} {:.7f}\n".format(*vertex) for vertex in vertices.tolist())
            file.writelines("f {} {} {}\n".format(*face) for face in (faces + 1).tolist())
    return path

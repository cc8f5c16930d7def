"""The shapes of the miniature's training world, one table of all families.

None of them is a shape that the evaluation uses (``HELD_OUT``): a model that textures those has generalised.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from texgen.miniature.shapes_animals import ANIMALS
from texgen.miniature.shapes_household import HOUSEHOLD
from texgen.miniature.shapes_outdoor import OUTDOOR
from texgen.miniature.shapes_primitives import Part, subdivide
from texgen.miniature.shapes_random import RANDOM
from texgen.miniature.shapes_solids import SOLIDS
from texgen.miniature.shapes_thin import THIN
from texgen.miniature.shapes_tools import TOOLS

LONGEST_SIDE = 1.6
HELD_OUT = frozenset(
    {
        "bunny",
        "rabbit",
        "cow",
        "airplane",
        "plane",
        "knot",
        "trefoil",
        "spring",
        "superellipsoid",
        "bone",
        "duck",
        "head",
    }
)

SHAPES: dict[str, Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
    **SOLIDS,
    **HOUSEHOLD,
    **TOOLS,
    **THIN,
    **OUTDOOR,
    **ANIMALS,
    **RANDOM,
}
# drawn more often than others by a training set that wants to generalise
RANDOM_FAMILIES = tuple(RANDOM)
_RIGID = frozenset(SOLIDS)


def make_shape(name: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One random instance of a named shape, facing +z with +y up.

    Returns (vertices [V, 3] float32, faces [F, 3] int64) with 100 to 8000 faces of non-zero area,
    outward, the bounding box centred at the origin and its longest side 1.6. Unknown names raise
    ``KeyError``.
    """
    if name not in SHAPES:
        raise KeyError(f"unknown shape {name!r}: choose one of {', '.join(SHAPES)}")
    vertices, faces = SHAPES[name](rng)
    if name not in _RIGID:
        vertices = _deform(vertices * rng.uniform(0.88, 1.14, 3), rng)
    low, high = vertices.min(0), vertices.max(0)
    vertices = (vertices - (low + high) / 2) * (LONGEST_SIDE / (high - low).max())
    vertices, faces = _without_slivers(vertices, faces)
    while len(faces) < 100:
        vertices, faces = subdivide((vertices, faces))
    return vertices.astype(np.float32), faces.astype(np.int64)


def _deform(vertices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slight twist about and taper along the height, in a third of the draws."""
    if rng.random() > 0.33:
        return vertices
    span = np.ptp(vertices[:, 1]) + 1e-9
    t = (vertices[:, 1] - vertices[:, 1].mean()) / span
    scale, angle = 1 + rng.uniform(-0.25, 0.25) * t, np.radians(rng.uniform(-25, 25)) * t
    x, z = vertices[:, 0] * scale, vertices[:, 2] * scale
    return np.stack(
        [x * np.cos(angle) + z * np.sin(angle), vertices[:, 1], z * np.cos(angle) - x * np.sin(angle)], 1
    )


def _without_slivers(vertices: np.ndarray, faces: np.ndarray) -> Part:
    """Drop zero-area faces (poles of revolved profiles, tube caps) and the vertices no face uses."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    faces = faces[np.linalg.norm(np.cross(b - a, c - a), axis=1) > 1e-7]
    used, compact = np.unique(faces, return_inverse=True)
    return vertices[used], compact.reshape(-1, 3)

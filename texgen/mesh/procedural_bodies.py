"""Bodies of several limbs: rounded bones and boxes that melt into one skin, meshed by marching cubes.

Like the shapes of `texgen.mesh.procedural` they stand upright (+y up) and face +z.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import igl
import numpy as np

Shape = tuple[np.ndarray, np.ndarray]
SignedDistance = Callable[[np.ndarray], np.ndarray]
BLEND = 0.05  # length over which two limbs melt into each other, for bodies about two units large


def bone(start: Sequence[float], end: Sequence[float], r0: float, r1: float | None = None) -> SignedDistance:
    """Distance [N] to a capsule whose radius goes from r0 to r1 (default r0), for points [N, 3]."""
    a, along = np.array(start, float), np.array(end, float) - np.array(start, float)
    grow = 0.0 if r1 is None else r1 - r0

    def distance(points: np.ndarray) -> np.ndarray:
        t = np.clip((points - a) @ along / max(along @ along, 1e-12), 0, 1)
        return np.linalg.norm(points - a - t[:, None] * along, axis=1) - (r0 + grow * t)

    return distance


def slab(centre: Sequence[float], half: Sequence[float], rounding: float) -> SignedDistance:
    """Distance [N] to a box of the given half sides whose edges are rounded, for points [N, 3]."""
    middle, inner = np.array(centre, float), np.array(half, float) - rounding

    def distance(points: np.ndarray) -> np.ndarray:
        beyond = np.abs(points - middle) - inner
        return np.linalg.norm(beyond.clip(min=0), axis=1) + beyond.max(axis=1).clip(max=0) - rounding

    return distance


def both_sides(part: Callable[[int], SignedDistance]) -> list[SignedDistance]:
    """A limb on the left and on the right; `part` gets the sign of x."""
    return [part(1), part(-1)]


def skin(
    parts: Sequence[SignedDistance], box: Sequence[float], cells: int = 44, blend: float = BLEND
) -> Shape:
    """The surface where the smooth union of the parts is zero.

    box: half sides of the space to search, around the origin; cells: along its longest side. The vertices of
    marching cubes, which leave slivers, are evened out along the surface and drawn back onto it.
    """

    def field(points: np.ndarray) -> np.ndarray:
        each = np.stack([part(points) for part in parts])
        nearest = each.min(axis=0)
        return nearest - blend * np.log(np.exp((nearest - each) / blend).sum(axis=0))

    half = np.array(box, float)
    step = 2 * half.max() / cells
    counts = np.ceil(2 * half / step).astype(int) + 1
    # A little off centre: a grid point exactly on the surface of a symmetric body would leave a gap.
    ticks = [-h + step * (np.arange(n) + 0.0137) for h, n in zip(half, counts, strict=True)]
    z, y, x = (axis.ravel() for axis in np.meshgrid(*ticks[::-1], indexing="ij"))  # x runs fastest
    grid = np.stack((x, y, z), axis=1)
    vertices, faces = igl.marching_cubes(field(grid), grid, *(int(n) for n in counts), 0.0)[:2]
    neighbours = igl.adjacency_matrix(faces)
    weights = neighbours.multiply(1 / neighbours.sum(axis=1)).tocsr()
    for _ in range(5):
        vertices = _onto_surface(field, 0.5 * vertices + 0.5 * (weights @ vertices), 0.2 * step)
    return vertices, faces


def _onto_surface(field: SignedDistance, points: np.ndarray, step: float) -> np.ndarray:
    """One Newton step along the field's gradient, which central differences of length `step` give."""
    offsets = step * np.eye(3)
    slope = np.stack([(field(points + d) - field(points - d)) / (2 * step) for d in offsets], axis=1)
    return points - (field(points) / (slope**2).sum(axis=1).clip(min=0.05))[:, None] * slope


def quadruped(leg: float, fat: float, neck: tuple[float, float], muzzle: float, ear: float) -> Shape:
    """A four-legged animal; neck: how far the head lies (before, above) the shoulders."""
    y, front, rear = leg + 0.6 * fat, 0.45, -0.45
    head = (0, y + neck[1], front + neck[0])
    nose = (0, head[1] - 0.3 * muzzle, head[2] + muzzle)
    stance = 0.6 * fat
    parts = [
        bone((0, y, rear), (0, y, front), fat, 0.95 * fat),
        bone((0, y + 0.2 * fat, front), head, 0.6 * fat, 0.13),
        bone(head, nose, 0.17, 0.1),
        bone((0, y + 0.4 * fat, rear - 0.6 * fat), (0, y + 0.1, rear - 0.6 * fat - 0.25), 0.06, 0.05),
    ]
    for z in (front, rear):
        parts += both_sides(
            lambda side, z=z: bone((side * stance, y, z), (side * stance, 0.05, z), 0.12, 0.08)
        )
    parts += both_sides(
        lambda side: bone(
            (side * 0.1, head[1] + 0.1, head[2] - 0.02),
            (side * 0.2, head[1] + 0.15 + ear, head[2]),
            0.06,
            0.05,
        )
    )
    return _lowered(parts, (0.5, 1.2, 1.3))


def dog() -> Shape:
    """A dog of middle size, its ears up."""
    return quadruped(leg=0.5, fat=0.23, neck=(0.2, 0.36), muzzle=0.26, ear=0.04)


def horse() -> Shape:
    """A tall animal with a long neck and a long muzzle."""
    return quadruped(leg=0.75, fat=0.26, neck=(0.32, 0.6), muzzle=0.36, ear=0.1)


def pig() -> Shape:
    """A fat animal on short legs."""
    return quadruped(leg=0.26, fat=0.37, neck=(0.22, 0.1), muzzle=0.22, ear=0.08)


def teddy() -> Shape:
    """A sitting bear."""
    parts = [bone((0, 0.4, 0), (0, 0.7, 0), 0.42, 0.34), bone((0, 1.25, 0), (0, 1.25, 0.02), 0.33)]
    parts.append(bone((0, 1.18, 0.25), (0, 1.16, 0.34), 0.13))
    parts += both_sides(lambda side: bone((side * 0.25, 1.5, 0), (side * 0.27, 1.54, 0), 0.13))
    parts += both_sides(lambda side: bone((side * 0.3, 0.85, 0.05), (side * 0.68, 0.6, 0.22), 0.15, 0.13))
    parts += both_sides(lambda side: bone((side * 0.25, 0.15, 0.15), (side * 0.42, 0.12, 0.7), 0.18, 0.16))
    return _lowered(parts, (1.0, 1.1, 1.0))


def fish() -> Shape:
    """A fish seen from its side, its head at +x."""
    parts = [
        bone((-0.5, 0, 0), (0.25, 0, 0), 0.12, 0.34),
        bone((0.25, 0, 0), (0.75, -0.02, 0), 0.34, 0.12),
        bone((0.1, 0.3, 0), (-0.3, 0.5, 0), 0.1, 0.07),
        bone((0.1, -0.3, 0), (-0.1, -0.5, 0), 0.09, 0.06),
    ]
    parts += both_sides(lambda up: bone((-0.5, 0, 0), (-0.95, up * 0.38, 0), 0.1, 0.07))
    parts += both_sides(lambda side: bone((0.2, -0.05, side * 0.28), (-0.1, -0.2, side * 0.5), 0.09, 0.06))
    return skin(parts, (1.25, 0.75, 0.75))


def starfish() -> Shape:
    """Five thick arms in the xy plane."""
    angles = 2 * np.pi * np.arange(5) / 5
    arms = [bone((0, 0, 0), (np.sin(a), np.cos(a), 0), 0.34, 0.13) for a in angles]
    return skin([*arms, bone((0, 0, -0.05), (0, 0, 0.1), 0.4)], (1.35, 1.35, 0.7))


def cactus() -> Shape:
    """A column with two arms that turn upwards, on a round foot."""
    parts = [bone((0, -0.9, 0), (0, 0.9, 0), 0.26), bone((0, -0.95, 0), (0, -0.9, 0), 0.5)]
    for side, low, high in ((1, -0.2, 0.5), (-1, 0.05, 0.65)):
        parts.append(bone((0, low, 0), (side * 0.62, low, 0), 0.15))
        parts.append(bone((side * 0.62, low, 0), (side * 0.62, high, 0), 0.15))
    return skin(parts, (1.0, 1.6, 0.8))


def armchair() -> Shape:
    """A padded chair with two arms on four feet."""
    parts = [
        slab((0, -0.25, 0.05), (0.6, 0.2, 0.55), 0.08),
        slab((0, 0.25, -0.45), (0.6, 0.65, 0.16), 0.1),
    ]
    parts += both_sides(lambda side: slab((side * 0.62, -0.02, 0.05), (0.16, 0.38, 0.55), 0.1))
    for z in (0.45, -0.4):
        parts += both_sides(
            lambda side, z=z: bone((side * 0.55, -0.45, z), (side * 0.58, -0.75, z), 0.09, 0.07)
        )
    return skin(parts, (1.0, 1.1, 0.85), cells=48)


def figure_eight() -> Shape:
    """Two rings that meet, one above the other."""
    angles = np.linspace(0, 2 * np.pi, 21)
    parts = []
    for middle in (0.62, -0.62):
        ring = [np.array((0.6 * np.sin(a), middle + 0.6 * np.cos(a), 0)) for a in angles]
        parts += [bone(a, b, 0.24) for a, b in zip(ring[:-1], ring[1:], strict=True)]
    return skin(parts, (1.0, 1.65, 0.45))


def jack() -> Shape:
    """Six rounded arms along the axes, balls at their ends."""
    ends = [sign * axis for axis in np.eye(3) for sign in (1, -1)]
    parts = [bone((0, 0, 0), 0.8 * end, 0.2) for end in ends]
    return skin([*parts, *(bone(0.8 * end, 0.82 * end, 0.3) for end in ends)], (1.3, 1.3, 1.3))


def rocket() -> Shape:
    """A pointed body with four fins."""
    parts = [bone((0, -0.7, 0), (0, 0.35, 0), 0.32, 0.34), bone((0, 0.35, 0), (0, 1.1, 0), 0.34, 0.06)]
    for x, z in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        parts.append(bone((0.3 * x, -0.4, 0.3 * z), (0.68 * x, -0.95, 0.68 * z), 0.12, 0.08))
    return skin(parts, (0.95, 1.4, 0.95))


def _lowered(parts: Sequence[SignedDistance], box: Sequence[float]) -> Shape:
    """The skin of parts that stand on y = 0, for a box around the origin of half height box[1]."""
    lifted = [lambda points, part=part: part(points + (0, box[1] - 0.15, 0)) for part in parts]
    return skin(lifted, box)


BODIES: dict[str, Callable[[], Shape]] = {
    shape.__name__: shape
    for shape in (dog, horse, pig, teddy, fish, starfish, cactus, armchair, figure_eight, jack, rocket)
}

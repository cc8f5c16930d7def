"""Families without a plan: every draw is a new shape. They keep the models from memorising the named ones."""

from __future__ import annotations

import numpy as np

from texgen.miniature.shapes_primitives import (
    Bone,
    Part,
    Rng,
    ball,
    box,
    capsule,
    frustum,
    isosurface,
    join,
    lathe,
    mirrored,
    move,
    organic,
    smooth_profile,
    torus,
    tube,
    turn,
)


def smooth_noise(points: np.ndarray, rng: Rng, frequency: float, waves: int = 12) -> np.ndarray:
    """Sum of random plane waves at points [M, 3], about unit variance, -> [M]."""
    directions = rng.normal(size=(waves, 3)) * frequency
    phases = rng.uniform(0, 2 * np.pi, waves)
    return np.sin(points @ directions.T + phases).sum(1) * np.sqrt(2 / waves)


def blob(rng: Rng) -> Part:
    """Stretched sphere pushed in and out by smooth noise."""
    unit, faces = ball(1, level=3)
    size = 1 + rng.uniform(0.1, 0.28) * smooth_noise(unit, rng, rng.uniform(1, 2.5))
    size += 0.05 * smooth_noise(unit, rng, 5)
    return unit * np.clip(size, 0.35, 2)[:, None] * rng.uniform(0.6, 1.1, 3), faces


def rock(rng: Rng) -> Part:
    """Noisy sphere flattened by random planes, like a broken stone."""
    unit, faces = ball(1, level=3)
    vertices = unit * (1 + 0.08 * smooth_noise(unit, rng, 3))[:, None] * rng.uniform(0.6, 1.1, 3)
    for _ in range(int(rng.integers(4, 14))):
        normal = rng.normal(size=3)
        normal /= np.linalg.norm(normal)
        over = np.maximum(vertices @ normal - rng.uniform(0.45, 0.8), 0)
        vertices = vertices - over[:, None] * normal * 0.95
    return vertices, faces


def creature(rng: Rng) -> Part:
    """Random animal: a bent trunk with bulges and mirrored limbs of arbitrary number and direction."""
    spine = smooth_profile(
        np.stack([np.zeros(4), rng.uniform(0, 0.7, 4), np.linspace(-0.7, 0.7, 4)], axis=1), 6
    )
    girth = rng.uniform(0.12, 0.4, 6)
    bones: list[Bone] = [(spine[k], spine[k + 1], girth[k], girth[k + 1]) for k in range(5)]
    if rng.random() < 0.8:
        up = spine[-1] + [0, rng.uniform(0, 0.5), rng.uniform(0.1, 0.4)]
        size = rng.uniform(0.15, 0.35)
        bones += [
            (spine[-1], up, girth[-1] * 0.8, size * 0.7),
            (up, up + [0, 0, rng.uniform(0, 0.3)], size, size * 0.6),
        ]
        bones += _both(
            up + [size * 0.5, size * 0.6, 0],
            [rng.uniform(0, 0.25), rng.uniform(0, 0.5), rng.normal(0, 0.15)],
            0.09,
            0.06,
        )
    for _ in range(int(rng.integers(1, 5))):
        at = spine[rng.integers(0, 6)]
        root = at + [rng.uniform(0.05, 0.25), rng.uniform(-0.15, 0.1), 0]
        reach = [rng.uniform(0, 0.5), rng.uniform(-0.7, 0.3), rng.normal(0, 0.2)]
        bones += _both(root, reach, rng.uniform(0.08, 0.18), rng.uniform(0.05, 0.14))
    if rng.random() < 0.6:
        bones.append(
            (spine[0], spine[0] + [0, rng.uniform(-0.3, 0.6), -rng.uniform(0.1, 0.6)], girth[0] * 0.6, 0.05)
        )
    return turn(organic(bones, rng.uniform(0.02, 0.07)), "y", rng.choice([0, 0, 90, -90]))


def _both(root: np.ndarray, reach: list[float], r0: float, r1: float) -> list[Bone]:
    flip = np.array([-1, 1, 1])
    end = root + np.asarray(reach)
    return [(root, end, r0, r1), (root * flip, end * flip, r0, r1)]


def metaballs(rng: Rng) -> Part:
    """A walk of overlapping balls of random radius, melted together."""
    centres = [np.zeros(3)]
    radii = [rng.uniform(0.25, 0.5)]
    for _ in range(int(rng.integers(3, 9))):
        k = rng.integers(len(centres))
        way = rng.normal(size=3)
        radii.append(rng.uniform(0.12, 0.42))
        centres.append(centres[k] + way / np.linalg.norm(way) * (radii[k] + radii[-1] * 0.5))
    return organic([(c, c, r, r) for c, r in zip(centres, radii, strict=True)], rng.uniform(0.03, 0.1))


def coral(rng: Rng) -> Part:
    """Branching growth of tapered limbs."""
    bones: list[Bone] = [(np.zeros(3), np.array([0, 0.5, 0]), 0.2, 0.15)]
    for _ in range(int(rng.integers(4, 10))):
        _, tip, _, r = bones[rng.integers(max(0, len(bones) - 4), len(bones))]
        way = rng.normal(size=3) * [0.8, 0.5, 0.8] + [0, 0.5, 0]
        bones.append((tip, tip + way / np.linalg.norm(way) * rng.uniform(0.3, 0.6), r, max(r * 0.8, 0.07)))
    return organic(bones, 0.04)


def sponge(rng: Rng) -> Part:
    """Smooth blob carved by noise: cavities, bridges and saddles."""
    seed = rng.integers(2**32)
    amount, frequency = rng.uniform(0.1, 0.3), rng.uniform(2.5, 5)
    radii = rng.uniform(0.6, 1, 3)

    def field(points: np.ndarray) -> np.ndarray:
        waves = smooth_noise(points, np.random.default_rng(seed), frequency)
        return np.linalg.norm(points / radii, axis=1) - 0.7 + amount * waves

    # waves are bounded by sqrt(2 * 12), far beyond what is met; the box walls close whatever reaches them
    bound = np.full(3, 1.5)
    return isosurface(lambda p: np.maximum(field(p), np.abs(p).max(1) - 1.4), -bound, bound, 34)


def terrain(rng: Rng) -> Part:
    """A lump of hilly ground with vertical sides."""
    n = 40
    x, z = np.meshgrid(np.linspace(-1, 1, n), np.linspace(1, -1, n), indexing="ij")
    flat = np.stack([x, 0 * x, z], axis=-1).reshape(-1, 3)
    y = 0.25 + 0.16 * smooth_noise(flat, rng, rng.uniform(1.5, 4)) + 0.04 * smooth_noise(flat, rng, 8)
    top = flat + np.maximum(y, 0.03)[:, None] * [0, 1, 0]
    index = np.arange(n * n).reshape(n, n)
    a, b, c, d = index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]
    faces = np.stack([a, b, c, a, c, d], axis=-1).reshape(-1, 3)
    border = np.concatenate([index[:-1, 0], index[-1, :-1], index[:0:-1, -1], index[0, :0:-1]])
    low = top[border] * [1, 0, 1] - [0, 0.2, 0]
    m, base = len(border), n * n
    here, there = np.arange(m), (np.arange(m) + 1) % m
    p, q, r, s = base + here, base + there, border[there], border[here]
    rim = np.stack([p, q, r, p, r, s], axis=-1).reshape(-1, 3)
    centre = np.full(m, base + m)
    floor = np.stack([q, p, centre], axis=-1)
    return np.concatenate([top, low, [[0, -0.2, 0]]]), np.concatenate([faces, rim, floor])


def ornament(rng: Rng) -> Part:
    """Random body of revolution: turned wood, chess pieces, tops."""
    n = int(rng.integers(4, 9))
    rows = np.stack([rng.uniform(0.08, 0.6, n), np.linspace(-0.8, 0.8, n)], axis=1)
    profile = smooth_profile(rows, 40) if rng.random() < 0.7 else np.repeat(rows, 2, axis=0)
    profile[:, 0] = np.maximum(profile[:, 0], 0.04)
    part = lathe([(0, -0.8), *profile, (0, 0.8)], int(rng.choice([5, 8, 32, 32])))
    return turn(part, rng.choice(["x", "z"]), rng.choice([0, 0, 90]))


def _random_piece(rng: Rng) -> Part:
    size = rng.uniform(0.1, 0.7, 3)
    kind = rng.integers(6)
    if kind == 0:
        return box(size * 1.6)
    if kind == 1:
        return ball(size, level=1)
    if kind == 2:
        return frustum(size[0], size[1], size[2] * 2.5, segments=int(rng.choice([4, 6, 20])))
    if kind == 3:
        return capsule(size[0] * 0.5, size[0] + size[1] * 2, segments=16)
    if kind == 4:
        return torus(size[0] + 0.2, min(size[1], size[0] + 0.1) * 0.4, segments=24)
    points = smooth_profile(np.cumsum(rng.normal(0, 0.35, (4, 3)), axis=0), 12)
    return tube(points - points.mean(0), rng.uniform(0.05, 0.2))


def heap(rng: Rng) -> Part:
    """Random primitives turned at random and piled around one point."""
    parts = []
    for _ in range(int(rng.integers(3, 8))):
        piece = turn(turn(_random_piece(rng), "x", rng.uniform(0, 360)), "y", rng.uniform(0, 360))
        parts.append(move(piece, rng.normal(0, 0.4, 3)))
    return join(*parts)


def contraption(rng: Rng) -> Part:
    """A long body with mirrored plates, rods and balls: the plan of many machines."""
    body = (
        turn(capsule(rng.uniform(0.12, 0.4), rng.uniform(1, 1.9)), "x", 90)
        if rng.random() < 0.6
        else box(rng.uniform(0.3, 1, 3) * [1, 1, 2])
    )
    parts = [body]
    for _ in range(int(rng.integers(1, 4))):
        plate = box((rng.uniform(0.2, 1), rng.uniform(0.04, 0.2), rng.uniform(0.1, 0.5)))
        plate = turn(plate, "y", rng.uniform(-40, 40)) if rng.random() < 0.6 else _random_piece(rng)
        plate = turn(plate, "z", rng.choice([0, 0, 90, rng.uniform(-60, 60)]))
        parts.append(
            mirrored(move(plate, (rng.uniform(0.2, 0.7), rng.uniform(-0.3, 0.3), rng.uniform(-0.7, 0.7))))
        )
    for _ in range(int(rng.integers(0, 3))):
        parts.append(move(_random_piece(rng), (0, rng.uniform(-0.2, 0.5), rng.uniform(-0.8, 0.8))))
    return turn(join(*parts), "y", rng.choice([0, 0, 90]))


def bust(rng: Rng) -> Part:
    """A lumpy standing figure: shoulders, neck-like narrowing and a rounded top with bumps."""
    r = rng.uniform(0.3, 0.42)
    bones: list[Bone] = [
        ((-0.3, 0, 0), (0.3, 0, 0), rng.uniform(0.2, 0.3), 0.25),
        ((0, 0.1, 0), (0, 0.45, 0.02), 0.18, 0.17),
        ((0, 0.75, 0), (0, 0.9, 0), r * 0.9, r),
        ((0, 0.7, r * 0.8), (0, 0.85, r), 0.07, 0.05),
    ]
    bones += _both(np.array([r, 0.75, 0]), [0.03, 0.1, 0], 0.07, 0.07)
    for _ in range(int(rng.integers(0, 5))):
        way = rng.normal(size=3) + [0, 0.5, -0.5]
        point = np.array([0, 0.85, 0]) + way / np.linalg.norm(way) * r
        bones.append((point, point, rng.uniform(0.08, 0.2), 0.1))
    return organic(bones, 0.04)


RANDOM = {
    "blob": blob,
    "rock": rock,
    "creature": creature,
    "metaballs": metaballs,
    "coral": coral,
    "sponge": sponge,
    "terrain": terrain,
    "ornament": ornament,
    "heap": heap,
    "contraption": contraption,
    "bust": bust,
}

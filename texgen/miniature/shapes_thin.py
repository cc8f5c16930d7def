"""Thin, pierced and concave things: bars, rings, steps and frames with much air between them."""

from __future__ import annotations

import numpy as np

from texgen.miniature.shapes_primitives import (
    Part,
    Rng,
    ball,
    box,
    frustum,
    join,
    lathe,
    mirrored,
    move,
    smooth_profile,
    stick,
    stretch,
    torus,
    tube,
    turn,
)


def ladder(rng: Rng) -> Part:
    width, height, r = rng.uniform(0.22, 0.4), rng.uniform(0.7, 0.95), rng.uniform(0.05, 0.08)
    rungs = np.linspace(-height * 0.8, height * 0.8, int(rng.integers(4, 7)))
    side = stick((width, -height, 0), (width * rng.uniform(0.6, 1), height, 0), r, r)
    bars = [stick((-width, y, 0), (width, y, 0), r * 0.8, r * 0.8, segments=10) for y in rungs]
    return turn(join(mirrored(side), *bars), "x", rng.uniform(-20, 20))


def fence(rng: Rng) -> Part:
    count, height = int(rng.integers(4, 8)), rng.uniform(0.7, 1.1)
    x = np.linspace(-0.8, 0.8, count)
    width = rng.uniform(0.1, 0.16)
    posts = []
    for at in x:
        posts += [
            box((width, height, 0.08), (at, 0, 0)),
            move(turn(frustum(width * 0.7, 0, 0.16, segments=4), "y", 45), (at, height / 2 + 0.08, 0)),
        ]
    rails = [box((1.8, 0.1, 0.07), (0, y * height, -0.07)) for y in (-0.22, 0.22)]
    return join(*posts, *rails)


def ring_stack(rng: Rng) -> Part:
    radii = np.linspace(rng.uniform(0.5, 0.65), rng.uniform(0.22, 0.4), int(rng.integers(3, 6)))
    minor = rng.uniform(0.11, 0.15)
    rings = [torus(r, minor, (0, 2 * minor * k, 0)) for k, r in enumerate(radii)]
    pole = stick((0, -minor, 0), (0, 2 * minor * len(radii) + 0.15, 0), 0.09, 0.07)
    return join(*rings, pole, ball(0.13, (0, 2 * minor * len(radii) + 0.15, 0), level=1))


def chain(rng: Rng) -> Part:
    links, minor = int(rng.integers(3, 6)), rng.uniform(0.06, 0.09)
    link = stretch(torus(0.24, minor), (1, 1, rng.uniform(1.2, 1.6)))
    length = np.ptp(link[0][:, 2])
    parts = [
        move(turn(link, "z", 90 * (k % 2)), (0, 0, (k - links / 2) * (length - 3 * minor)))
        for k in range(links)
    ]
    return turn(join(*parts), rng.choice(["x", "y"]), 90)


def hook(rng: Rng) -> Part:
    r = rng.uniform(0.3, 0.4)
    angle = np.linspace(np.pi / 2, -rng.uniform(0.6, 1.1) * np.pi, 24)
    bow = np.stack([r * np.cos(angle), r * np.sin(angle) - 0.4, 0 * angle], axis=1)
    path = np.concatenate([[(0, 0.55, 0), (0, 0.2, 0)], bow])
    eye = move(turn(torus(0.16, 0.07), "x", 90), (0, 0.7, 0))
    return join(tube(path, np.linspace(0.1, 0.05, len(path))), eye)


def spiral_staircase(rng: Rng) -> Part:
    steps, turns = int(rng.integers(9, 15)), rng.uniform(0.6, 1.2)
    rise = 1.5 / steps
    tread = box((0.62, rise * 0.6, 0.26), (0.36, 0, 0))
    treads = [move(turn(tread, "y", 360 * turns * k / steps), (0, rise * k - 0.75, 0)) for k in range(steps)]
    return join(*treads, stick((0, -0.8, 0), (0, 0.85, 0), 0.09, 0.09))


def candelabrum(rng: Rng) -> Part:
    arms = int(rng.integers(2, 5))
    foot = lathe([(0, -0.8), (0.34, -0.8), (0.3, -0.72), (0.07, -0.62), (0.06, 0.5), (0, 0.5)])
    parts = [foot]
    reach = rng.uniform(0.4, 0.6)
    for k in range(arms):
        way = 2 * np.pi * k / arms
        arc = smooth_profile([(0, -0.2, 0), (reach * 0.6, -0.25, 0), (reach, 0.1, 0), (reach, 0.35, 0)], 16)
        candle = frustum(0.08, 0.08, 0.3, (reach, 0.45, 0), segments=12)
        parts.append(turn(join(tube(arc, 0.055), candle), "y", np.degrees(way)))
    return join(*parts, frustum(0.09, 0.09, 0.3, (0, 0.6, 0), segments=12))


def cage(rng: Rng) -> Part:
    bars, r, height = int(rng.integers(8, 13)), rng.uniform(0.45, 0.55), rng.uniform(0.8, 1.1)
    parts = [frustum(r + 0.06, r + 0.06, 0.1, (0, -height / 2, 0)), torus(r, 0.05, (0, height * 0.3, 0))]
    for k in range(bars):
        arc = smooth_profile(
            [
                (r, -height / 2, 0),
                (r, 0, 0),
                (r, height * 0.3, 0),
                (0.5 * r, height * 0.62, 0),
                (0, height * 0.72, 0),
            ],
            20,
        )
        parts.append(turn(tube(arc, 0.035, segments=8), "y", 360 * k / bars))
    return join(*parts, move(turn(torus(0.1, 0.04), "x", 90), (0, height * 0.82, 0)))


def arch(rng: Rng) -> Part:
    r, leg, thick = rng.uniform(0.4, 0.55), rng.uniform(0.4, 0.8), rng.uniform(0.11, 0.18)
    angle = np.linspace(0, np.pi, 24)
    bow = np.stack([r * np.cos(angle), r * np.sin(angle), 0 * angle], axis=1)
    path = np.concatenate([[(r, -leg, 0)], bow, [(-r, -leg, 0)]])
    feet = mirrored(box((thick * 3, 0.14, thick * 3), (r, -leg, 0)))
    return stretch(join(tube(path, thick), feet), (1, 1, rng.uniform(0.8, 1.6)))


def rack(rng: Rng) -> Part:
    levels, width, depth = int(rng.integers(3, 5)), rng.uniform(0.5, 0.8), rng.uniform(0.25, 0.4)
    boards = [box((2 * width, 0.08, 2 * depth), (0, y, 0)) for y in np.linspace(-0.6, 0.7, levels)]
    posts = [mirrored(box((0.09, 1.6, 0.09), (width, 0, z))) for z in (-depth, depth)]
    return join(*boards, *posts)


def anchor(rng: Rng) -> Part:
    r, thick = rng.uniform(0.45, 0.6), rng.uniform(0.07, 0.1)
    angle = np.linspace(-0.9 * np.pi, -0.1 * np.pi, 24)
    bow = np.stack([r * np.cos(angle), r * np.sin(angle) - 0.1, 0 * angle], axis=1)
    flukes = mirrored(turn_at(frustum(0.17, 0.02, 0.3, segments=8), bow[-1]))
    shaft = stick((0, 0.6, 0), (0, -r - 0.1, 0), thick, thick)
    bar = stick((-0.32, 0.42, 0), (0.32, 0.42, 0), thick * 0.8, thick * 0.8)
    return join(tube(bow, thick), flukes, shaft, bar, move(turn(torus(0.14, 0.055), "x", 90), (0, 0.74, 0)))


def turn_at(part: Part, place: np.ndarray) -> Part:
    """A part tilted outward and put at a place."""
    return move(turn(part, "z", -20), place)


THIN = {
    "ladder": ladder,
    "fence": fence,
    "ring stack": ring_stack,
    "chain": chain,
    "hook": hook,
    "spiral staircase": spiral_staircase,
    "candelabrum": candelabrum,
    "cage": cage,
    "arch": arch,
    "rack": rack,
    "anchor": anchor,
}

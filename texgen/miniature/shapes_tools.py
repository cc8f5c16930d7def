"""Clothes, tools and other things to hold."""

from __future__ import annotations

import numpy as np

from texgen.miniature.shapes_primitives import (
    Part,
    Rng,
    ball,
    box,
    extrude,
    frustum,
    join,
    lathe,
    mirrored,
    move,
    organic,
    smooth_profile,
    stick,
    stretch,
    torus,
    tube,
    turn,
)


def hat(rng: Rng) -> Part:
    crown, top = rng.uniform(0.35, 0.5), rng.uniform(0.1, 1.0)
    h = rng.uniform(0.4, 1.0)
    return lathe(
        [
            (0, 0.01),
            *smooth_profile([(0.85, -0.02), (0.88, 0), (0.8, 0.04), (crown, 0.06)], 10),
            (crown, 0.08),
            (crown * top, h),
            (crown * top * 0.95, h + 0.03),
            (0, h + 0.02),
        ],
        36,
    )


def crown(rng: Rng) -> Part:
    points, h = int(rng.integers(5, 9)), rng.uniform(0.3, 0.6)
    band = lathe([(0.5, -0.2), (0.56, 0.15), (0.5, 0.15), (0.45, -0.2), (0.5, -0.2)], 36)
    angles = 2 * np.pi * np.arange(points) / points
    spikes = [
        move(frustum(0.16, 0.02, h, segments=10), (0.52 * np.sin(a), 0.1 + h / 2, 0.52 * np.cos(a)))
        for a in angles
    ]
    gems = [ball(0.07, (0.54 * np.sin(a), 0.14 + h, 0.54 * np.cos(a)), level=1) for a in angles]
    return join(band, *spikes, *gems)


def boot(rng: Rng) -> Part:
    h, foot = rng.uniform(0.7, 1.1), rng.uniform(0.5, 0.7)
    shaft = ((0, 0.2, -0.1), (0, h, -0.12), 0.2, 0.23)
    body = organic([shaft, ((0, 0.15, 0), (0, 0.1, foot), 0.18, 0.16)], 0.05, 3000)
    sole = stretch(lathe([(0, 0), (0.24, 0), (0.24, 0.1), (0, 0.1)]), (1, 1, 1.9))
    return join(body, move(sole, (0, -0.13, foot * 0.42)))


def spoon(rng: Rng) -> Part:
    handle = tube(
        smooth_profile([(0, -0.9, 0), (0, -0.3, 0.1), (0, 0.3, 0)], 16), np.linspace(0.09, 0.05, 16)
    )
    return turn(
        join(stretch(handle, (1, 1, 0.8)), ball((rng.uniform(0.2, 0.32), 0.38, 0.1), (0, 0.55, 0))),
        "z",
        rng.choice([0, 90, 180]),
    )


def hammer(rng: Rng) -> Part:
    w = rng.uniform(0.3, 0.5)
    block = (
        box((w * 2, 0.35, 0.35), (0, 0.7, 0))
        if rng.random() < 0.5
        else move(turn(frustum(0.2, 0.2, 2 * w), "z", 90), (0, 0.7, 0))
    )
    return join(block, stick((0, -0.8, 0), (0, 0.8, 0), rng.uniform(0.07, 0.1), 0.06))


def sword(rng: Rng) -> Part:
    w, long = rng.uniform(0.08, 0.18), rng.uniform(1.2, 1.8)
    blade = extrude([(-w, 0), (w, 0), (w * 0.9, long * 0.85), (0, long), (-w * 0.9, long * 0.85)], 0.07)
    guard = box((rng.uniform(0.5, 0.8), 0.1, 0.14))
    return turn(
        join(blade, guard, stick((0, -0.4, 0), (0, 0, 0), 0.06), ball(0.1, (0, -0.42, 0))),
        "z",
        rng.choice([0, 180, 30]),
    )


def axe(rng: Rng) -> Part:
    w = rng.uniform(0.4, 0.6)
    edge = [(0, 0.55), (w * 0.6, 0.3), (w, 0.25), (w * 1.15, 0.6), (w, 0.95), (w * 0.6, 0.85), (0, 0.75)]
    blade = extrude(edge, 0.12)
    return join(mirrored(blade) if rng.random() < 0.4 else blade, stick((0, -0.9, 0), (0, 0.9, 0), 0.07))


def key(rng: Rng) -> Part:
    bow = move(turn(torus(rng.uniform(0.22, 0.3), 0.08), "x", 90), (0, 0.65, 0))
    teeth = [box((rng.uniform(0.15, 0.3), 0.1, 0.1), (0.12, y, 0)) for y in (-0.75, -0.55, -0.38)]
    return join(bow, stick((0, -0.85, 0), (0, 0.45, 0), 0.07), *teeth)


def umbrella(rng: Rng) -> Part:
    dome = lathe(
        [(0, 0.42), (0.8, 0), (0.82, 0.02), *smooth_profile([(0.7, 0.25), (0.4, 0.45), (0, 0.55)], 8)],
        int(rng.choice([8, 24])),
    )
    hook = smooth_profile([(0, 0.6, 0), (0, 0, 0), (0, -0.75, 0), (0.1, -0.9, 0), (0.22, -0.75, 0)], 24)
    return join(dome, tube(hook, 0.04))


def guitar(rng: Rng) -> Part:
    lower, upper = rng.uniform(0.42, 0.52), rng.uniform(0.3, 0.38)
    body = join(
        *[
            turn(frustum(r, r, 0.25), "x", 90)
            if y == 0
            else move(turn(frustum(r, r, 0.24), "x", 90), (0, y, 0))
            for r, y in ((lower, 0), (upper, 0.5))
        ]
    )
    return join(body, box((0.12, 1.1, 0.1), (0, 1.1, 0.08)), box((0.2, 0.3, 0.1), (0, 1.7, 0.05)))


TOOLS = {
    "hat": hat,
    "crown": crown,
    "boot": boot,
    "spoon": spoon,
    "hammer": hammer,
    "sword": sword,
    "axe": axe,
    "key": key,
    "umbrella": umbrella,
    "guitar": guitar,
}

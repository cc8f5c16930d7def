"""Plain geometric solids and flat emblems."""

from __future__ import annotations

import numpy as np

from texgen.miniature.shapes_primitives import (
    Part,
    Rng,
    ball,
    box,
    capsule,
    extrude,
    frustum,
    join,
    lathe,
    move,
    smooth_profile,
    stick,
    torus,
    turn,
)


def cube(rng: Rng) -> Part:
    return box(rng.uniform(0.75, 1, 3))


def sphere(rng: Rng) -> Part:
    return ball(rng.uniform(0.92, 1, 3), level=3)


def cylinder(rng: Rng) -> Part:
    return frustum(0.5, 0.5, rng.uniform(0.5, 2.2), segments=40)


def cone(rng: Rng) -> Part:
    return frustum(0.5, rng.choice([0.0, 0.12]), rng.uniform(0.8, 1.8), segments=40)


def pyramid(rng: Rng) -> Part:
    part = frustum(0.6, rng.choice([0.0, 0.1, 0.25]), rng.uniform(0.6, 1.2), segments=4)
    return turn(part, "y", rng.choice([45, 0]))


def ring(rng: Rng) -> Part:
    part = torus(0.6, rng.uniform(0.08, 0.3), segments=48)
    return turn(part, "x", rng.choice([0, 90, 60]))


def pill(rng: Rng) -> Part:
    part = capsule(0.4, rng.uniform(1.1, 2.2))
    return turn(part, "z", rng.choice([0, 90, 30]))


def prism(rng: Rng) -> Part:
    sides = int(rng.choice([3, 5, 6, 8]))
    return turn(frustum(0.5, 0.5, rng.uniform(0.4, 1.6), segments=sides), "x", rng.choice([0, 90]))


def egg(rng: Rng) -> Part:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 24)
    squeeze = rng.uniform(0.1, 0.3)
    radius = 0.5 * np.cos(angle) * (1 - squeeze * np.sin(angle))
    return lathe(np.stack([radius, rng.uniform(0.6, 0.8) * np.sin(angle)], axis=1), 36)


def star(rng: Rng) -> Part:
    points, inner = int(rng.integers(5, 9)), rng.uniform(0.35, 0.6)
    angle = np.pi / 2 + np.pi * np.arange(2 * points) / points
    radius = np.where(np.arange(2 * points) % 2, inner, 1)
    return extrude(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), rng.uniform(0.2, 0.7))


def heart(rng: Rng) -> Part:
    t = 2 * np.pi * np.arange(48) / 48
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    flat = np.stack([x, y], axis=1) / 16
    depth = rng.uniform(0.3, 0.6)
    rim = [extrude(flat * s, depth * d) for s, d in ((1.0, 0.5), (0.92, 0.8), (0.8, 1.0))]
    return join(*rim)


def moon(rng: Rng) -> Part:
    reach = rng.uniform(0.25, 0.55)
    outer = np.linspace(-2.2, 2.2, 28)
    arc = np.stack([-np.cos(outer), np.sin(outer)], axis=1)
    inner = np.linspace(2.1, -2.1, 26)
    scale = np.sin(2.2) / np.sin(2.1)
    bite = np.stack([-np.cos(inner) * (1 - reach) + 0.15, np.sin(inner) * scale * 0.85], axis=1)
    return extrude(np.concatenate([arc, bite]), rng.uniform(0.2, 0.5))


def arrow(rng: Rng) -> Part:
    w, h, s = rng.uniform(0.15, 0.3), rng.uniform(0.45, 0.7), rng.uniform(0.1, 0.5)
    outline = [(-1, -w), (s, -w), (s, -h), (1, 0), (s, h), (s, w), (-1, w)]
    return turn(extrude(outline, rng.uniform(0.2, 0.5)), "z", rng.choice([0, 90, 180, 45]))


def cross(rng: Rng) -> Part:
    w = rng.uniform(0.25, 0.45)
    up = rng.uniform(-0.1, 0.3)
    return join(box((w, 1.6, w)), box((rng.uniform(0.9, 1.6), w, w * 0.98), (0, up, 0)))


def gear(rng: Rng) -> Part:
    teeth, depth = int(rng.integers(8, 15)), rng.uniform(0.12, 0.25)
    angle = 2 * np.pi * np.arange(4 * teeth) / (4 * teeth)
    radius = np.where(np.arange(4 * teeth) % 4 < 2, 1.0, 1 - depth)
    disc = extrude(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), rng.uniform(0.2, 0.5))
    hub = turn(frustum(0.3, 0.3, rng.uniform(0.5, 0.9)), "x", 90)
    return join(disc, hub)


def disc(rng: Rng) -> Part:
    part = lathe(
        smooth_profile([(0, -0.1), (0.5, -0.1), (0.8, 0), (0.5, 0.1), (0, rng.uniform(0.1, 0.4))]), 40
    )
    return turn(part, "x", rng.uniform(0, 90))


def dumbbell(rng: Rng) -> Part:
    r = rng.uniform(0.28, 0.45)
    bar = stick((-0.7, 0, 0), (0.7, 0, 0), rng.uniform(0.07, 0.15))
    if rng.random() < 0.5:
        weights = [ball(r, (x, 0, 0)) for x in (-0.7, 0.7)]
    else:
        plate = turn(frustum(r, r, rng.uniform(0.15, 0.4)), "z", 90)
        weights = [move(plate, (x, 0, 0)) for x in (-0.65, 0.65)]
    return join(bar, *weights)


def hourglass(rng: Rng) -> Part:
    neck = rng.uniform(0.06, 0.15)
    glass = lathe(smooth_profile([(0.35, -0.7), (0.42, -0.4), (neck, 0), (0.42, 0.4), (0.35, 0.7)], 30))
    ends = [frustum(0.5, 0.5, 0.12, (0, y, 0)) for y in (-0.74, 0.74)]
    posts = [
        stick((0.44 * np.sin(a), -0.7, 0.44 * np.cos(a)), (0.44 * np.sin(a), 0.7, 0.44 * np.cos(a)), 0.035)
        for a in (1.0, 3.1, 5.2)
    ]
    return join(glass, *ends, *posts)


SOLIDS = {
    "cube": cube,
    "sphere": sphere,
    "cylinder": cylinder,
    "cone": cone,
    "pyramid": pyramid,
    "torus": ring,
    "capsule": pill,
    "prism": prism,
    "egg": egg,
    "star": star,
    "heart": heart,
    "moon": moon,
    "arrow": arrow,
    "cross": cross,
    "gear": gear,
    "disc": disc,
    "dumbbell": dumbbell,
    "hourglass": hourglass,
}

"""Buildings, vehicles and plants."""

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
    mirrored,
    move,
    organic,
    smooth_profile,
    stick,
    torus,
    tube,
    turn,
)


def house(rng: Rng) -> Part:
    w, h, d, roof = rng.uniform(0.8, 1.2), rng.uniform(0.5, 0.9), rng.uniform(0.8, 1.3), rng.uniform(0.3, 0.7)
    gable = extrude([(-w * 0.6, h), (w * 0.6, h), (0, h + roof)], d * 1.1)
    chimney = box((0.14, 0.5, 0.14), (w * 0.3, h + roof * 0.6, -d * 0.2))
    door = box((0.2, 0.4, 0.06), (0, 0.2, d / 2))
    whole = join(box((w, h, d), (0, h / 2, 0)), gable, chimney, door)
    return turn(whole, "y", rng.choice([0, 90]))


def castle(rng: Rng) -> Part:
    h = rng.uniform(0.5, 0.8)
    towers = []
    for x, z in ((-0.6, -0.6), (0.6, -0.6), (-0.6, 0.6), (0.6, 0.6)):
        towers.append(frustum(0.2, 0.18, h * 1.4, (x, h * 0.7, z), 16))
        towers.append(frustum(0.25, 0.0, rng.uniform(0.25, 0.5), (x, h * 1.4 + 0.15, z), 16))
    walls = [box((1.2, h, 0.15), (0, h / 2, z)) for z in (-0.6, 0.6)] + [
        box((0.15, h, 1.2), (x, h / 2, 0)) for x in (-0.6, 0.6)
    ]
    teeth = [box((0.12, 0.12, 0.16), (x, h + 0.05, 0.6)) for x in np.linspace(-0.35, 0.35, 4)]
    return join(*towers, *walls, *teeth, box((0.5, h * 1.5, 0.5), (0, h * 0.75, -0.1)))


def tower(rng: Rng) -> Part:
    h = rng.uniform(1.2, 1.8)
    return join(
        frustum(0.35, 0.22, h, (0, h / 2, 0)),
        frustum(0.32, 0.32, 0.08, (0, h, 0)),
        frustum(0.18, 0.18, 0.3, (0, h + 0.15, 0)),
        frustum(0.26, 0, 0.25, (0, h + 0.4, 0)),
    )


def temple(rng: Rng) -> Part:
    n, h = int(rng.integers(3, 6)), rng.uniform(0.6, 0.9)
    columns = [
        frustum(0.08, 0.07, h, (x, h / 2, z), 14) for x in np.linspace(-0.6, 0.6, n) for z in (-0.45, 0.45)
    ]
    roof = extrude([(-0.8, h + 0.08), (0.8, h + 0.08), (0, h + 0.45)], 1.2)
    return join(
        *columns, roof, box((1.5, 0.1, 1.15), (0, h + 0.05, 0)), box((1.6, 0.12, 1.25), (0, -0.05, 0))
    )


def bridge(rng: Rng) -> Part:
    rise = rng.uniform(0.2, 0.5)
    a = np.linspace(-1, 1, 20)
    arch = np.stack([a, rise * (1 - a**2)], axis=1)
    deck = extrude(np.concatenate([arch, arch[::-1] * [0.98, 1] - [0, 0.16]]), rng.uniform(0.4, 0.7))
    posts = [
        stick((x, rise * (1 - x * x) - 0.05, z), (x, rise * (1 - x * x) + 0.25, z), 0.035, segments=8)
        for x in np.linspace(-0.9, 0.9, 5)
        for z in (-0.22, 0.22)
    ]
    return join(deck, *posts)


def stairs(rng: Rng) -> Part:
    n, w = int(rng.integers(4, 9)), rng.uniform(0.6, 1.2)
    steps = [box((w, (k + 1) / n, 1 / n), (0, (k + 1) / n / 2, -(k + 0.5) / n)) for k in range(n)]
    return turn(join(*steps), "y", rng.choice([0, 90, -90]))


def windmill(rng: Rng) -> Part:
    body = join(frustum(0.4, 0.25, 1, (0, 0.5, 0), 12), frustum(0.32, 0, 0.3, (0, 1.15, 0), 12))
    blade = join(box((0.06, 0.7, 0.05), (0, 0.35, 0)), box((0.2, 0.5, 0.04), (0.06, 0.45, 0)))
    spin = rng.uniform(0, 90)
    return join(
        body,
        *[move(turn(blade, "z", spin + 90 * k), (0, 1, 0.38)) for k in range(4)],
        ball(0.1, (0, 1, 0.35), 1),
    )


def tree(rng: Rng) -> Part:
    h = rng.uniform(0.6, 1)
    leaves = [
        ball(rng.uniform(0.25, 0.45), (rng.normal(0, 0.25), h + rng.uniform(0, 0.5), rng.normal(0, 0.25)))
        for _ in range(5)
    ]
    return join(stick((0, 0, 0), (0, h + 0.2, 0), rng.uniform(0.09, 0.16), 0.07), *leaves)


def fir(rng: Rng) -> Part:
    n = int(rng.integers(2, 5))
    tiers = [frustum(0.6 - 0.4 * k / n, 0.05, 0.6, (0, 0.5 + k * 0.9 / n, 0)) for k in range(n)]
    return join(stick((0, 0, 0), (0, 0.5, 0), 0.1), *tiers)


def cactus(rng: Rng) -> Part:
    bones = [((0, 0, 0), (0, 1.5, 0), 0.22, 0.18)]
    for side in (-1, 1):
        y, out = rng.uniform(0.4, 0.9), rng.uniform(0.4, 0.55)
        bones.append(((0, y, 0), (side * out, y + 0.05, 0), 0.11, 0.12))
        bones.append(((side * out, y + 0.05, 0), (side * out, y + rng.uniform(0.3, 0.6), 0), 0.12, 0.1))
    return organic(bones, 0.03)


def mushroom(rng: Rng) -> Part:
    h, r = rng.uniform(0.5, 0.9), rng.uniform(0.5, 0.8)
    cap = lathe(
        [(0, h), *smooth_profile([(r * 0.9, h - 0.1), (r, h), (r * 0.7, h + 0.3), (0, h + 0.45)], 18)]
    )
    return join(cap, lathe([(0, 0), *smooth_profile([(0.25, 0), (0.16, h / 2), (0.2, h)], 10), (0, h)]))


def flower(rng: Rng) -> Part:
    n, r = int(rng.integers(5, 9)), rng.uniform(0.28, 0.4)
    petal = move(ball((0.16, r * 0.6, 0.06), level=1), (0, r, 0))
    petals = [move(turn(petal, "z", 360 * k / n), (0, 0.8, 0.05)) for k in range(n)]
    stem = tube(smooth_profile([(0, -0.9, 0), (0.06, 0, 0), (0, 0.8, 0)], 12), 0.04)
    leaf = mirrored(move(turn(ball((0.25, 0.09, 0.04), level=1), "z", 30), (0.22, -0.4, 0)))
    return join(*petals, ball((0.17, 0.17, 0.12), (0, 0.8, 0.06)), stem, leaf)


def fruit(rng: Rng) -> Part:
    """Apples, pears and pumpkins: a ribbed body of revolution with a stalk."""
    neck, ribs = rng.uniform(0.5, 1), rng.choice([0, 0.06, 0.1])
    profile = smooth_profile(
        [(0, -0.45), (0.35, -0.55), (0.62, -0.1), (0.5 * neck, 0.4), (0.2 * neck, 0.55), (0, 0.45)], 26
    )
    vertices, faces = lathe(profile, 64)
    angle = np.arctan2(vertices[:, 0], vertices[:, 2])
    vertices[:, [0, 2]] *= (1 + ribs * np.cos(8 * angle))[:, None]
    return join(
        (vertices, faces), tube(smooth_profile([(0, 0.4, 0), (0.02, 0.65, 0), (0.12, 0.8, 0)], 8), 0.04)
    )


def snowman(rng: Rng) -> Part:
    r = np.sort(rng.uniform(0.25, 0.55, 3))[::-1]
    y = [r[0], 2 * r[0] + r[1] * 0.7, 2 * r[0] + 1.55 * r[1] + r[2] * 0.7]
    balls = [ball(radius, (0, height, 0)) for radius, height in zip(r, y, strict=True)]
    nose = stick((0, y[2], r[2] * 0.8), (0, y[2], r[2] * 1.6), 0.06, 0.01)
    top = join(
        frustum(r[2] * 1.1, r[2] * 1.1, 0.05, (0, y[2] + r[2] * 0.8, 0)),
        frustum(r[2] * 0.7, r[2] * 0.7, 0.4, (0, y[2] + r[2], 0)),
    )
    arms = mirrored(stick((r[1] * 0.8, y[1], 0), (r[1] + 0.4, y[1] + 0.2, 0), 0.04))
    return join(*balls, nose, top, arms)


def car(rng: Rng) -> Part:
    long, wide, roof, r = (
        rng.uniform(1.6, 2),
        rng.uniform(0.7, 0.85),
        rng.uniform(0.25, 0.4),
        rng.uniform(0.17, 0.24),
    )
    nose, tail = rng.uniform(0.3, 0.6), rng.uniform(0, 0.4)
    side = [
        (-long / 2, 0.2),
        (long / 2, 0.2),
        (long / 2, 0.45),
        (long / 2 - nose, 0.55),
        (long / 2 - nose - 0.2, 0.55 + roof),
        (-long / 2 + tail + 0.1, 0.55 + roof),
        (-long / 2 + tail, 0.55),
        (-long / 2, 0.5),
    ]
    wheel = turn(frustum(r, r, wide * 1.1), "x", 90)
    body = join(extrude(side, wide), *[move(wheel, (x, 0.2, 0)) for x in (-long * 0.3, long * 0.3)])
    return turn(body, "y", rng.choice([-90, -90, 0, 45]))


def truck(rng: Rng) -> Part:
    cargo = box((0.75, rng.uniform(0.6, 0.9), 1.2), (0, 0.7, -0.3))
    cab = box((0.7, 0.55, 0.4), (0, 0.5, 0.6))
    wheel = turn(frustum(0.18, 0.18, 0.8), "z", 90)
    return join(
        cargo,
        cab,
        box((0.7, 0.12, 1.6), (0, 0.25, 0)),
        *[move(wheel, (0, 0.18, z)) for z in (-0.7, -0.2, 0.55)],
    )


def boat(rng: Rng) -> Part:
    hull = extrude([(-0.75, 0), (0.6, 0), (1, 0.35), (-0.95, 0.35)], 0.5)
    hull[0][:, 2] *= np.clip(1.3 - np.abs(hull[0][:, 0]), 0.1, 1)
    mast = stick((0, 0.3, 0), (0, rng.uniform(1.3, 1.7), 0), 0.035)
    sail = extrude([(0.06, 0.5), (0.75, 0.5), (0.06, 1.35)], 0.04)
    jib = extrude([(-0.06, 0.5), (-0.55, 0.5), (-0.06, 1.15)], 0.04)
    return turn(join(hull, mast, sail, jib), "y", rng.choice([0, -90, 45]))


def rocket(rng: Rng) -> Part:
    fat, n = rng.uniform(0.2, 0.34), int(rng.integers(3, 5))
    body = lathe(
        [(0, -0.7), *smooth_profile([(fat * 0.7, -0.7), (fat, -0.1), (fat * 0.85, 0.4), (0, 1)], 24)]
    )
    fin = extrude([(fat * 0.6, -0.35), (fat * 0.6, -0.75), (fat + 0.35, -0.95), (fat + 0.3, -0.65)], 0.06)
    return join(
        body,
        frustum(fat * 0.7, fat * 0.4, 0.15, (0, -0.75, 0)),
        *[turn(fin, "y", 360 * k / n) for k in range(n)],
    )


def submarine(rng: Rng) -> Part:
    hull = turn(capsule(rng.uniform(0.28, 0.4), 1.7), "x", 90)
    sail = move(capsule(0.15, 0.5), (0, 0.45, 0.1))
    fins = join(box((0.9, 0.05, 0.2), (0, 0, -0.7)), box((0.05, 0.8, 0.2), (0, 0, -0.7)))
    return turn(join(hull, sail, fins, stick((0, 0.5, 0.1), (0, 0.9, 0.1), 0.03)), "y", rng.choice([0, 90]))


def wheel(rng: Rng) -> Part:
    n = int(rng.integers(4, 9))
    spokes = [turn(stick((0, 0, 0), (0, 0, 0.7), 0.05, segments=8), "y", 360 * k / n) for k in range(n)]
    return turn(
        join(torus(0.72, rng.uniform(0.08, 0.2)), frustum(0.16, 0.16, 0.3), *spokes),
        "x",
        rng.choice([90, 90, 0]),
    )


def robot(rng: Rng) -> Part:
    w = rng.uniform(0.5, 0.8)
    parts = [
        box((w, 0.7, 0.45), (0, 0.85, 0)),
        box((w * 0.65, 0.4, 0.4), (0, 1.45, 0)),
        stick((0, 1.6, 0), (0, 1.85, 0), 0.03),
    ]
    limb = join(
        box((0.16, 0.65, 0.18), (w / 2 + 0.12, 0.8, rng.uniform(-0.1, 0.2))),
        box((0.2, 0.5, 0.22), (w * 0.28, 0.25, 0)),
        box((0.24, 0.12, 0.36), (w * 0.28, 0.02, 0.06)),
        ball(0.07, (w * 0.17, 1.5, 0.2), 1),
    )
    return join(*parts, mirrored(limb))


OUTDOOR = {
    "house": house,
    "castle": castle,
    "tower": tower,
    "temple": temple,
    "bridge": bridge,
    "stairs": stairs,
    "windmill": windmill,
    "tree": tree,
    "fir": fir,
    "cactus": cactus,
    "mushroom": mushroom,
    "flower": flower,
    "fruit": fruit,
    "snowman": snowman,
    "car": car,
    "truck": truck,
    "boat": boat,
    "rocket": rocket,
    "submarine": submarine,
    "wheel": wheel,
    "robot": robot,
}

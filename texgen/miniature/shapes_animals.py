"""Birds, reptiles, sea animals and people: smooth skins over a few tapered bones, all facing +z."""

from __future__ import annotations

import numpy as np

from texgen.miniature.shapes_primitives import (
    Bone,
    Part,
    Rng,
    ball,
    join,
    lathe,
    mirrored,
    move,
    organic,
    smooth_profile,
    stretch,
    tube,
    turn,
)
from texgen.miniature.shapes_quadrupeds import QUADRUPEDS, pair


def turtle(rng: Rng) -> Part:
    bones: list[Bone] = [
        ((0, 0.25, 0.6), (0, 0.4, 0.95), 0.12, 0.16),
        ((0, 0.2, -0.6), (0, 0.15, -0.85), 0.08, 0.05),
    ]
    bones += pair((0.4, 0.2, 0.4), (0.7, 0.08, 0.6), 0.13, 0.1) + pair(
        (0.4, 0.2, -0.4), (0.65, 0.08, -0.6), 0.13, 0.1
    )
    bones.append(((0, 0.25, -0.3), (0, 0.25, 0.3), 0.35, 0.35))
    return join(organic(bones, 0.03, 4500), ball((0.62, rng.uniform(0.35, 0.55), 0.75), (0, 0.28, 0)))


def bird(rng: Rng) -> Part:
    spread, lift = rng.uniform(0.3, 1.0), rng.uniform(-0.2, 0.5)
    bones: list[Bone] = [
        ((0, 0.6, -0.25), (0, 0.7, 0.2), 0.2, 0.26),
        ((0, 1, 0.42), (0, 1, 0.45), 0.18, 0.17),
        ((0, 0.98, 0.6), (0, 0.95, 0.82), 0.07, 0.03),
    ]
    bones += pair((0.1, 0.5, 0), (0.12, 0.05, 0.05), 0.05, 0.045) + pair(
        (0.12, 0.05, 0.0), (0.12, 0.04, 0.2), 0.05, 0.04
    )
    wing = move(turn(ball((0.2 + spread * 0.4, 0.06, 0.28)), "z", 60 * lift), (0.25 + spread * 0.3, 0.72, 0))
    tail = move(turn(ball((0.16, 0.05, 0.35)), "x", 15), (0, 0.6, -0.55))
    return join(organic(bones, 0.04, 4500), mirrored(wing), tail)


def penguin(rng: Rng) -> Part:
    bones: list[Bone] = [
        ((0, 0.45, 0), (0, 0.9, 0), rng.uniform(0.35, 0.45), 0.3),
        ((0, 1.3, 0.03), (0, 1.32, 0.05), 0.24, 0.22),
        ((0, 1.3, 0.25), (0, 1.27, 0.42), 0.07, 0.035),
    ]
    bones += pair((0.15, 0.07, 0.1), (0.18, 0.06, 0.35), 0.09, 0.08)
    wing = move(turn(ball((0.06, 0.4, 0.15)), "z", rng.uniform(10, 50)), (0.48, 0.75, 0))
    return join(organic(bones, 0.04, 4500), mirrored(wing))


def fish(rng: Rng) -> Part:
    tall, wide = rng.uniform(0.3, 0.55), rng.uniform(0.15, 0.3)
    body = stretch(
        turn(
            lathe(smooth_profile([(0, -1), (0.15, -0.85), (0.9, 0.1), (0.7, 0.6), (0, 0.95)], 26), 30),
            "x",
            90,
        ),
        (wide, tall, 0.8),
    )
    tail = mirrored_up(move(turn(ball((0.05, 0.35, 0.14)), "x", 40), (0, 0.2, -0.95)))
    dorsal = move(turn(ball((0.04, 0.25, 0.3)), "x", -20), (0, tall * 0.85, 0))
    fins = mirrored(move(turn(ball((0.2, 0.04, 0.14)), "z", -30), (wide * 1.1, -0.15, 0.15)))
    return turn(join(body, tail, dorsal, fins), "y", rng.choice([0, 90, -90]))


def mirrored_up(part: Part) -> Part:
    """A part together with its mirror image in the plane y = 0."""
    return join(part, stretch(part, (1, -1, 1)))


def whale(rng: Rng) -> Part:
    bones: list[Bone] = [((0, 0, 0.5), (0, 0, -0.1), 0.42, 0.4), ((0, 0, -0.1), (0, 0.3, -1), 0.36, 0.1)]
    bones += pair((0.3, -0.2, 0.4), (0.75, -0.4, 0.2), 0.1, 0.05) + pair(
        (0, 0.3, -1), (0.4, 0.45, -1.2), 0.1, 0.05
    )
    if rng.random() < 0.5:
        bones.append(((0, 0.35, -0.1), (0, 0.65, -0.3), 0.1, 0.05))
    return turn(organic(bones, 0.05), "y", rng.choice([0, 0, 90]))


def snake(rng: Rng) -> Part:
    t = np.linspace(0, 1, 60)
    path = np.stack(
        [0.35 * np.sin(rng.uniform(8, 14) * t), 0.5 * np.clip(t - 0.8, 0, 1) * 5 * 0.5, 2 * t - 1], axis=1
    )
    body = tube(path, 0.12 * np.clip(np.minimum(t * 5, 1), 0.1, 1), 14)
    skull = ball((0.15, 0.11, 0.2), path[-1] + [0, 0, 0.1])
    return turn(join(body, skull), "y", rng.choice([0, 90]))


def snail(rng: Rng) -> Part:
    bones: list[Bone] = [
        ((0, 0.1, -0.8), (0, 0.12, 0.6), 0.07, 0.16),
        ((0, 0.15, 0.6), (0, 0.4, 0.8), 0.15, 0.13),
    ]
    bones += pair((0.06, 0.45, 0.85), (0.13, 0.75, 0.95), 0.045, 0.05)
    t = np.linspace(0, 1, 60)
    a, r = 2 * np.pi * rng.uniform(2, 2.6) * t, 0.4 * (1 - t) + 0.03
    coil = np.stack([0.25 * t, 0.55 + r * np.sin(a), -0.1 + r * np.cos(a)], axis=1)
    shell = mirrored(tube(coil, 0.04 + 0.2 * (1 - t), 14))
    return join(organic(bones, 0.04, 3000), shell)


def octopus(rng: Rng) -> Part:
    bones: list[Bone] = [((0, 0.75, 0), (0, 0.95, -0.1), 0.38, 0.36)]
    for k in range(8):
        a, out = 2 * np.pi * (k + 0.5) / 8, rng.uniform(0.5, 0.7)
        knee = (out * np.sin(a), rng.uniform(0.2, 0.45), out * np.cos(a))
        tip = (1.6 * knee[0], rng.uniform(0, 0.3), 1.6 * knee[2])
        bones += [((0.2 * np.sin(a), 0.55, 0.2 * np.cos(a)), knee, 0.13, 0.1), (knee, tip, 0.1, 0.05)]
    return organic(bones, 0.04)


def frog(rng: Rng) -> Part:
    bones: list[Bone] = [((0, 0.35, -0.3), (0, 0.5, 0.25), 0.3, 0.28)]
    bones += pair((0.17, 0.75, 0.35), (0.17, 0.76, 0.36), 0.1, 0.1) + pair(
        (0.25, 0.3, 0.25), (0.35, 0.05, 0.4), 0.09, 0.07
    )
    bones += pair((0.25, 0.25, -0.35), (0.55, 0.4, 0), 0.14, 0.1) + pair(
        (0.55, 0.4, 0), (0.5, 0.05, -0.3), 0.1, 0.07
    )
    bones += pair((0.5, 0.05, -0.3), (0.6, 0.04, rng.uniform(-0.1, 0.15)), 0.07, 0.07)
    return organic(bones, 0.035)


def crab(rng: Rng) -> Part:
    bones: list[Bone] = [((-0.25, 0.35, 0), (0.25, 0.35, 0), 0.25, 0.25)]
    for z in (-0.25, -0.05, 0.15):
        bones += pair((0.3, 0.35, z), (0.75, 0.45, z * 1.6), 0.06, 0.06) + pair(
            (0.75, 0.45, z * 1.6), (0.95, 0.05, z * 2), 0.06, 0.04
        )
    bones += pair((0.3, 0.35, 0.2), (0.6, 0.4, 0.55), 0.08, 0.08) + pair(
        (0.55, 0.4, 0.6), (0.35, 0.45, rng.uniform(0.75, 0.95)), 0.15, 0.09
    )
    bones += pair((0.12, 0.5, 0.2), (0.12, 0.72, 0.25), 0.05, 0.06)
    return organic(bones, 0.03)


def dinosaur(rng: Rng) -> Part:
    b = rng.uniform(0.26, 0.38)
    bones: list[Bone] = [
        ((0, 0.75, -0.25), (0, 0.85, 0.2), b, b * 0.85),
        ((0, 0.75, -0.4), (0, 0.45, -1.3), b * 0.75, 0.05),
    ]
    skull = (0, rng.uniform(1.2, 1.6), rng.uniform(0.5, 0.8))
    bones += [
        ((0, 0.9, 0.25), skull, b * 0.6, 0.15),
        (skull, (0, skull[1] - 0.05, skull[2] + 0.35), 0.18, 0.12),
    ]
    bones += pair((0.2, 0.65, -0.25), (0.24, 0.1, -0.2), 0.17, 0.1) + pair(
        (0.24, 0.08, -0.2), (0.25, 0.06, 0.05), 0.09, 0.08
    )
    bones += pair((0.2, 0.8, 0.3), (0.25, rng.choice([0.1, 0.55]), 0.5), 0.09, 0.06)
    return turn(organic(bones, 0.04), "y", rng.choice([0, 0, 90]))


def butterfly(rng: Rng) -> Part:
    lift = rng.uniform(0, 45)
    body = organic(
        [((0, 0, -0.4), (0, 0, 0.4), 0.07, 0.1), *pair((0.03, 0.05, 0.45), (0.2, 0.2, 0.75), 0.04, 0.04)],
        0.03,
        1500,
    )
    wing = join(
        move(turn(ball((0.5, 0.04, 0.3)), "y", -25), (0.5, 0, 0.2)),
        move(turn(ball((0.35, 0.04, 0.25)), "y", 30), (0.38, 0, -0.3)),
    )
    return turn(join(body, mirrored(turn(wing, "z", lift))), "x", rng.choice([0, -90, -45]))


def person(rng: Rng) -> Part:
    w, arm, stride = rng.uniform(0.16, 0.26), rng.uniform(-0.6, 0.7), rng.uniform(0, 0.2)
    bones: list[Bone] = [
        ((0, 0.85, 0), (0, 1.2, 0), w, w * 1.1),
        ((0, 1.3, 0), (0, 1.45, 0), 0.09, 0.09),
        ((0, 1.58, 0), (0, 1.64, 0.01), 0.15, 0.16),
    ]
    bones += [
        ((0.12, 0.8, 0), (0.15, 0.08, stride), 0.13, 0.09),
        ((-0.12, 0.8, 0), (-0.15, 0.08, -stride), 0.13, 0.09),
    ]
    bones += [
        ((0.15, 0.06, stride), (0.15, 0.06, stride + 0.18), 0.08, 0.07),
        ((-0.15, 0.06, -stride), (-0.15, 0.06, 0.18 - stride), 0.08, 0.07),
    ]
    bones += pair((w, 1.25, 0), (w + 0.35, 1.2 + arm * 0.6, rng.uniform(0, 0.3)), 0.09, 0.07)
    return organic(bones, 0.03)


def teddy(rng: Rng) -> Part:
    bones: list[Bone] = [
        ((0, 0.55, 0), (0, 0.65, 0), 0.38, 0.33),
        ((0, 1.2, 0), (0, 1.22, 0), 0.3, 0.3),
        ((0, 1.15, 0.25), (0, 1.13, 0.32), 0.13, 0.11),
    ]
    bones += pair((0.22, 1.45, 0), (0.24, 1.48, 0), 0.11, 0.11) + pair(
        (0.3, 0.8, 0.05), (rng.uniform(0.5, 0.7), rng.uniform(0.5, 1), 0.2), 0.13, 0.12
    )
    bones += pair((0.2, 0.3, 0.1), (0.3, 0.15, rng.uniform(0.3, 0.6)), 0.16, 0.15)
    return organic(bones, 0.035)


ANIMALS = {
    **QUADRUPEDS,
    "turtle": turtle,
    "bird": bird,
    "penguin": penguin,
    "fish": fish,
    "whale": whale,
    "snake": snake,
    "snail": snail,
    "octopus": octopus,
    "frog": frog,
    "crab": crab,
    "dinosaur": dinosaur,
    "butterfly": butterfly,
    "person": person,
    "teddy": teddy,
}

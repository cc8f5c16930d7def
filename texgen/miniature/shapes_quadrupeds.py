"""Four-legged animals: smooth skins over a few tapered bones, facing +z."""

from __future__ import annotations

from dataclasses import dataclass

from texgen.miniature.shapes_primitives import Bone, Part, Rng, ball, join, mirrored, move, organic, turn


def pair(start: tuple, end: tuple, r0: float, r1: float) -> list[Bone]:
    """A bone and its mirror image in x = 0."""
    return [(start, end, r0, r1), ((-start[0], *start[1:]), (-end[0], *end[1:]), r0, r1)]


@dataclass(frozen=True)
class Build:
    """Lengths and radii of a four-legged body. neck: (forward, up). ear: its length; a negative one hangs.
    tail: (back, up, radius).
    """

    leg: float
    long: float
    fat: float
    neck: tuple[float, float]
    skull: float
    muzzle: float
    ear: float
    tail: tuple[float, float, float]
    leg_radius: float = 0.07


def _quadruped(rng: Rng, build: Build) -> Part:
    """A four-legged body near a build: most of its lengths vary."""
    neck, tail, leg_radius = build.neck, build.tail, build.leg_radius
    given = (build.leg, build.long, build.fat, build.skull, build.muzzle, build.ear)
    leg, long, fat, skull, muzzle, ear = rng.uniform(0.85, 1.18, 6) * given
    front, rear, y = long / 2, -long / 2, leg + fat * 0.6
    bones: list[Bone] = [((0, y, rear), (0, y, front), fat * rng.uniform(0.9, 1.1), fat)]
    stance = fat * 0.6
    for z in (front, rear):
        step = rng.uniform(-0.12, 0.12)
        bones += pair((stance, y - fat * 0.3, z), (stance, 0.05, z + step), leg_radius * 1.4, leg_radius)
    top = (0, y + neck[1] * rng.uniform(0.85, 1.18), front + neck[0] * rng.uniform(0.85, 1.18))
    bones.append(((0, y + fat * 0.2, front), top, fat * 0.65, skull * 0.75))
    nose = (0, top[1] - muzzle * rng.uniform(0, 0.6), top[2] + muzzle)
    bones += [(top, top, skull, skull), (top, nose, skull * 0.8, skull * 0.55)]
    bones += pair(
        (skull * 0.6, top[1] + skull * 0.6, top[2]),
        (skull * 0.9, top[1] + skull * 0.7 + ear, top[2]),
        0.06,
        0.04,
    )
    back = (0, y + fat * 0.3, rear - fat * 0.5)
    bones.append((back, (0, back[1] + tail[1], back[2] - tail[0]), tail[2] * 1.2, tail[2]))
    return organic(bones, 0.035)


def cat(rng: Rng) -> Part:
    return _quadruped(rng, Build(0.4, 0.75, 0.2, (0.15, 0.3), 0.2, 0.12, 0.12, (0.2, 0.5, 0.05)))


def dog(rng: Rng) -> Part:
    return _quadruped(rng, Build(0.45, 0.8, 0.22, (0.25, 0.32), 0.18, 0.25, -0.1, (0.2, 0.25, 0.05)))


def horse(rng: Rng) -> Part:
    return _quadruped(rng, Build(0.7, 0.9, 0.24, (0.35, 0.55), 0.13, 0.35, 0.08, (0.15, -0.5, 0.08)))


def sheep(rng: Rng) -> Part:
    return _quadruped(rng, Build(0.35, 0.6, 0.36, (0.3, 0.22), 0.16, 0.15, -0.02, (0.05, 0.0, 0.08)))


def pig(rng: Rng) -> Part:
    return _quadruped(rng, Build(0.25, 0.7, 0.34, (0.25, 0.1), 0.24, 0.2, 0.06, (0.1, 0.15, 0.04)))


def bear(rng: Rng) -> Part:
    return _quadruped(rng, Build(0.4, 0.8, 0.36, (0.25, 0.25), 0.24, 0.2, 0.03, (0.03, 0.0, 0.08), 0.13))


def camel(rng: Rng) -> Part:
    body = _quadruped(rng, Build(0.75, 0.85, 0.25, (0.45, 0.5), 0.13, 0.22, 0.04, (0.08, -0.3, 0.05)))
    y = body[0][:, 1].max()
    humps = [ball((0.2, 0.28, 0.2), (0, y * 0.72, z)) for z in (rng.choice([0, 0.2]), -0.2)]
    return join(body, *humps)


def elephant(rng: Rng) -> Part:
    f = rng.uniform(0.38, 0.5)
    bones: list[Bone] = [((0, 0.9, -0.4), (0, 0.95, 0.3), f, f), ((0, 1.1, 0.7), (0, 1.1, 0.75), 0.3, 0.28)]
    bones += pair((0.25, 0.8, 0.35), (0.27, 0.1, 0.35), 0.17, 0.15) + pair(
        (0.25, 0.8, -0.45), (0.27, 0.1, -0.45), 0.17, 0.15
    )
    bones += [
        ((0, 1.05, 0.95), (0, 0.6, 1.2), 0.15, 0.1),
        ((0, 0.6, 1.2), (0, rng.uniform(0.2, 0.5), 1.3), 0.1, 0.07),
    ]
    bones += pair((0.15, 0.95, 0.95), (0.2, 0.85, 1.3), 0.06, 0.05)
    ear = move(turn(ball((0.34, 0.38, 0.07)), "y", -30), (0.45, 1.15, 0.6))
    return join(organic(bones, 0.04, 5000), mirrored(ear))


QUADRUPEDS = {
    "cat": cat,
    "dog": dog,
    "horse": horse,
    "sheep": sheep,
    "pig": pig,
    "bear": bear,
    "camel": camel,
    "elephant": elephant,
}

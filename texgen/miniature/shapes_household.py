"""Furniture and vessels."""

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
    torus,
    tube,
    turn,
)


def _legs(width: float, depth: float, height: float, thick: float, round_leg: bool) -> list[Part]:
    """Four legs standing on y = 0 at the corners of a ``width`` by ``depth`` rectangle."""
    places = [(sx * (width - thick) / 2, sz * (depth - thick) / 2) for sx in (-1, 1) for sz in (-1, 1)]
    if round_leg:
        return [frustum(thick * 0.35, thick * 0.55, height, (x, height / 2, z), 14) for x, z in places]
    return [box((thick, height, thick), (x, height / 2, z)) for x, z in places]


def chair(rng: Rng) -> Part:
    w, d, h, t = rng.uniform(0.7, 1), rng.uniform(0.7, 0.95), rng.uniform(0.6, 0.85), rng.uniform(0.07, 0.14)
    seat = box((w, rng.uniform(0.08, 0.16), d), (0, h, 0))
    top = rng.uniform(0.7, 1.1)
    if rng.random() < 0.5:
        back = [box((w, top, t), (0, h + top / 2, -(d - t) / 2))]
    else:
        back = [
            box((t, top, t), (x, h + top / 2, -(d - t) / 2))
            for x in np.linspace(-(w - t) / 2, (w - t) / 2, 4)
        ]
        back.append(box((w, 0.2, t * 1.05), (0, h + top - 0.1, -(d - t) / 2)))
    return join(seat, *back, *_legs(w, d, h, t, rng.random() < 0.4))


def armchair(rng: Rng) -> Part:
    w, d = rng.uniform(1.1, 1.8), rng.uniform(0.9, 1.1)
    arm = rng.uniform(0.16, 0.28)
    parts = [box((w, 0.45, d), (0, 0.35, 0)), box((w, 0.7, 0.25), (0, 0.85, -d / 2 + 0.1))]
    parts.append(mirrored(box((arm, 0.4, d), (w / 2 - arm / 2, 0.7, 0))))
    roll = turn(frustum(arm * 0.7, arm * 0.7, d * 1.02), "x", 90)
    return join(*parts, mirrored(move(roll, (w / 2 - arm / 2, 0.9, 0))), *_legs(w, d, 0.2, 0.12, True))


def table(rng: Rng) -> Part:
    w, d, h = rng.uniform(1, 1.8), rng.uniform(0.7, 1.1), rng.uniform(0.6, 0.95)
    if rng.random() < 0.35:
        top = frustum(w / 2, w / 2, 0.1, (0, h, 0), 36)
        return join(top, frustum(0.1, 0.07, h, (0, h / 2, 0)), frustum(0.4, 0.15, 0.12, (0, 0.06, 0)))
    return join(
        box((w, 0.1, d), (0, h, 0)),
        *_legs(w * 0.95, d * 0.95, h, rng.uniform(0.07, 0.15), rng.random() < 0.5),
    )


def stool(rng: Rng) -> Part:
    h, spread = rng.uniform(0.6, 1.1), rng.uniform(0.3, 0.5)
    seat = lathe(smooth_profile([(0, h - 0.1), (0.4, h - 0.08), (0.42, h), (0.36, h + 0.06), (0, h + 0.04)]))
    feet = [
        (spread * np.sin(a), 0, spread * np.cos(a))
        for a in np.arange(3 + rng.integers(0, 2)) * 2.1 / 1.05 * 0.785
    ]
    return join(seat, *[stick(f, (f[0] * 0.6, h, f[2] * 0.6), 0.05, 0.06) for f in feet])


def bench(rng: Rng) -> Part:
    w, h = rng.uniform(1.5, 1.9), rng.uniform(0.4, 0.6)
    slats = [box((w, 0.06, 0.15), (0, h, z)) for z in (-0.2, 0, 0.2)]
    back = [box((w, 0.15, 0.06), (0, h + y, -0.32 - y * 0.15)) for y in (0.25, 0.48)]
    side = join(
        box((0.1, h, 0.5), (w / 2 - 0.2, h / 2, 0)), box((0.08, 0.65, 0.08), (w / 2 - 0.2, h + 0.25, -0.32))
    )
    return join(*slats, *back, mirrored(side))


def bed(rng: Rng) -> Part:
    w, d = rng.uniform(0.9, 1.3), rng.uniform(1.5, 1.9)
    head = box((w, rng.uniform(0.7, 1), 0.1), (0, 0.4, -d / 2))
    pillow = [ball((w * 0.2, 0.1, 0.18), (s * w * 0.25, 0.5, -d / 2 + 0.3)) for s in (-1, 1)]
    return join(box((w, 0.28, d), (0, 0.32, 0)), head, box((w, 0.5, 0.1), (0, 0.3, d / 2)), *pillow)


def vessel(rng: Rng, outline: list[tuple[float, float]], wall: float) -> Part:
    """Hollow body of revolution: the outline outside, a wall thickness further in inside."""
    outer = smooth_profile(outline, 26)
    inner = outer[::-1].copy()
    inner[:, 0] = np.maximum(inner[:, 0] - wall, 0.01)
    inner[-4:, 1] += wall
    return lathe([(0, outer[0, 1]), *outer, *inner, (0, inner[-1, 1])], 32)


def mug(rng: Rng) -> Part:
    r, h, flare = rng.uniform(0.38, 0.5), rng.uniform(0.8, 1.2), rng.uniform(0.85, 1.15)
    body = vessel(rng, [(r * 0.95, -h / 2), (r, 0), (r * flare, h / 2)], 0.05)
    a = np.linspace(-1.75, 1.75, 16)
    x = r * 0.9 + rng.uniform(0.25, 0.4) * np.cos(a)
    handle = tube(np.stack([x, h * 0.32 * np.sin(a), 0 * a], axis=1), rng.uniform(0.05, 0.09))
    return join(body, turn(handle, "y", rng.choice([0, 180, 40])))


def vase(rng: Rng) -> Part:
    r = rng.uniform(0.12, 0.6, 4) * [1, 1.2, 0.8, 0.9] + 0.04
    heights = [-0.8, -0.3, 0.3, 0.65]
    return vessel(rng, [*zip(r, heights, strict=True), (r[3] * rng.uniform(0.9, 1.5), 0.8)], 0.03)


def bottle(rng: Rng) -> Part:
    r, neck, s = rng.uniform(0.25, 0.42), rng.uniform(0.08, 0.14), rng.uniform(0, 0.3)
    profile = smooth_profile(
        [(r * 0.9, -0.8), (r, -0.7), (r, s - 0.2), (r * 0.8, s), (neck, s + 0.25), (neck, 0.75)], 30
    )
    return join(lathe([(0, -0.8), *profile, (0, 0.75)]), frustum(neck * 1.25, neck * 1.2, 0.14, (0, 0.74, 0)))


def bowl(rng: Rng) -> Part:
    deep = rng.uniform(0.35, 0.7)
    return join(
        vessel(rng, [(0.25, 0), (0.6, deep * 0.3), (0.78, deep * 0.7), (0.8, deep)], 0.05),
        frustum(0.3, 0.25, 0.1, (0, -0.03, 0)),
    )


def teapot(rng: Rng) -> Part:
    squash = rng.uniform(0.75, 1.1)
    spout = tube(
        smooth_profile([(0.35, -0.1, 0), (0.65, 0, 0), (0.75, 0.25, 0), (0.95, 0.35, 0)], 14),
        np.linspace(0.14, 0.06, 14),
    )
    a = np.linspace(-1.6, 1.6, 14)
    handle = tube(np.stack([-0.5 - 0.35 * np.cos(a), 0.3 * np.sin(a), 0 * a], axis=1), 0.05)
    lid = join(ball((0.3, 0.12, 0.3), (0, 0.47 * squash, 0)), ball(0.08, (0, 0.6 * squash, 0)))
    return turn(join(ball((0.6, 0.5 * squash, 0.6), level=3), spout, handle, lid), "y", rng.choice([0, 180]))


def lamp(rng: Rng) -> Part:
    h = rng.uniform(0.7, 1.2)
    shade = lathe([(0.25, h + 0.5), (0.55, h), (0.53, h), (0.23, h + 0.5), (0.25, h + 0.5)])
    shade = (shade[0], shade[1][:, ::-1])  # the profile runs downwards on the outside
    foot = frustum(rng.uniform(0.25, 0.42), 0.15, 0.12, (0, 0.06, 0))
    body = [ball((0.2, 0.28, 0.2), (0, 0.35, 0))] if rng.random() < 0.5 else []
    return join(shade, foot, stick((0, 0, 0), (0, h + 0.35, 0), 0.05), ball(0.1, (0, h + 0.25, 0)), *body)


def candle(rng: Rng) -> Part:
    h = rng.uniform(0.6, 1.2)
    flame = lathe(smooth_profile([(0, 0), (0.07, 0.1), (0.04, 0.2), (0, 0.3)], 12), 16, (0, h + 0.05, 0))
    dish = vessel(rng, [(0.2, -0.1), (0.4, -0.06), (0.48, 0.05)], 0.03)
    return join(
        frustum(0.18, 0.17, h, (0, h / 2, 0)),
        flame,
        dish,
        move(turn(torus(0.12, 0.03), "x", 90), (0.52, 0, 0)),
    )


def bell(rng: Rng) -> Part:
    flare = rng.uniform(0.6, 0.8)
    body = lathe(
        [(0, -0.5), *smooth_profile([(flare, -0.55), (0.45, -0.2), (0.35, 0.2), (0.2, 0.5), (0, 0.55)])]
    )
    return join(body, ball(0.13, (0, -0.58, 0)), move(turn(torus(0.12, 0.04), "x", 90), (0, 0.62, 0)))


def barrel(rng: Rng) -> Part:
    belly = rng.uniform(0.5, 0.62)
    rim = lathe(
        [
            (0, -0.65),
            *smooth_profile([(0.42, -0.7), (belly, 0), (0.42, 0.7)]),
            (0.38, 0.7),
            (0.38, 0.64),
            (0, 0.64),
        ]
    )
    hoops = [torus(r, 0.035, (0, y, 0)) for y, r in ((-0.45, belly * 0.94), (0.45, belly * 0.94))]
    return turn(join(rim, *hoops), "z", rng.choice([0, 0, 90]))


def bucket(rng: Rng) -> Part:
    body = vessel(rng, [(0.35, -0.5), (0.45, 0), (rng.uniform(0.5, 0.6), 0.5)], 0.03)
    a = np.linspace(0, np.pi, 20)
    return join(body, tube(np.stack([0.53 * np.cos(a), 0.45 + 0.5 * np.sin(a), 0 * a], axis=1), 0.03))


def basket(rng: Rng) -> Part:
    hoops = [torus(0.4 + 0.2 * y, 0.07, (0, y - 0.3, 0)) for y in np.linspace(0, 0.7, 6)]
    a = np.linspace(0, np.pi, 20)
    arch = tube(np.stack([0.52 * np.cos(a), 0.35 + 0.6 * np.sin(a), 0 * a], axis=1), 0.05)
    return join(frustum(0.4, 0.42, 0.1, (0, -0.3, 0)), arch, *hoops)


HOUSEHOLD = {
    "chair": chair,
    "armchair": armchair,
    "table": table,
    "stool": stool,
    "bench": bench,
    "bed": bed,
    "mug": mug,
    "vase": vase,
    "bottle": bottle,
    "bowl": bowl,
    "teapot": teapot,
    "lamp": lamp,
    "candle": candle,
    "bell": bell,
    "barrel": barrel,
    "bucket": bucket,
    "basket": basket,
}

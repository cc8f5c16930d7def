"""Solid (three-dimensional) materials of the miniature's training world.

A material is a colour field over object space, so that every view of one painted object agrees with every
other.  A field takes surface points ``[P, 3]`` of a shape whose longest side is 1.6 and returns albedo
``[P, 3]`` in [0, 1] (sRGB).  Pattern sizes are chosen for 128-pixel views in which the object spans about 100
pixels: the smallest feature is about six pixels wide, the least that a 32x32 latent can carry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# sRGB values that a person names without hesitation; the world's background is none of them.
COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.86, 0.10, 0.12),
    "orange": (0.98, 0.55, 0.08),
    "yellow": (0.97, 0.88, 0.15),
    "green": (0.13, 0.62, 0.20),
    "blue": (0.12, 0.27, 0.85),
    "purple": (0.50, 0.16, 0.66),
    "pink": (0.98, 0.56, 0.74),
    "brown": (0.43, 0.25, 0.11),
    "black": (0.06, 0.06, 0.07),
    "white": (0.97, 0.97, 0.97),
    "grey": (0.50, 0.50, 0.50),
}

# Light slate: far from every colour above, so that white, grey and black objects all stand out.
BACKGROUND: tuple[float, float, float] = (0.60, 0.74, 0.76)

ONE_COLOUR = ("plain", "crackled")
TWO_COLOURS = ("striped", "checkered", "polka-dotted")
FIXED_PALETTE = ("zebra", "leopard", "giraffe", "brick", "wooden", "marble", "golden")
OPTIONAL_COLOUR = ("camouflage",)
MATERIALS: tuple[str, ...] = ONE_COLOUR + TWO_COLOURS + FIXED_PALETTE + OPTIONAL_COLOUR


@dataclass(frozen=True)
class Paint:
    """A material with its colours and a seed for everything random in it (orientation, phase, cells)."""

    material: str
    colours: tuple[str, ...]
    seed: int


def paint(points: Tensor, spec: Paint) -> Tensor:
    """Evaluate a material at surface points.

    Args:
        points: ``[P, 3]`` object-space positions (longest side of the object 1.6).
        spec: which material, which colours, which random layout.

    Returns:
        albedo ``[P, 3]`` in [0, 1].
    """
    generator = torch.Generator().manual_seed(spec.seed)
    palette = [_colour(name, generator) for name in spec.colours]
    return _FIELDS[spec.material](points.float(), palette, generator).clamp(0, 1)


def draw_paint(generator: torch.Generator, material: str | None = None) -> Paint:
    """A random material (plain ones more often than the rest) with random, distinct colours."""
    if material is None:
        weights = torch.tensor([3.0 if m == "plain" else 1.6 if m in TWO_COLOURS else 1.0 for m in MATERIALS])
        material = MATERIALS[int(torch.multinomial(weights, 1, generator=generator))]
    names = list(COLOURS)
    order = torch.randperm(len(names), generator=generator).tolist()
    if material in ONE_COLOUR:
        count = 1
    elif material in TWO_COLOURS:
        count = 2
    elif material in OPTIONAL_COLOUR:
        count = int(torch.randint(0, 2, (1,), generator=generator))
    else:
        count = 0
    seed = int(torch.randint(0, 2**31 - 1, (1,), generator=generator))
    return Paint(material, tuple(names[i] for i in order[:count]), seed)


def _colour(name: str, generator: torch.Generator) -> Tensor:
    """A named colour with a little natural variation."""
    jitter = 0.05 * (torch.rand(3, generator=generator) - 0.5)
    return torch.tensor(COLOURS[name]) + jitter


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return float(low + (high - low) * torch.rand(1, generator=generator))


def _direction(generator: torch.Generator) -> Tensor:
    """A unit direction; half of the time one of the axes, since that is how people draw stripes."""
    if torch.rand(1, generator=generator) < 0.5:
        return torch.eye(3)[int(torch.randint(0, 3, (1,), generator=generator))]
    d = torch.randn(3, generator=generator)
    return d / d.norm()


def _rotation(generator: torch.Generator) -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    return q


def _mix(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Blend colours ``a`` and ``b`` ``[3]`` by ``t [P]`` in [0, 1]."""
    return a + (b - a) * t[:, None]


def _step(x: Tensor, edge: float, width: float) -> Tensor:
    """A smooth step of the given width around an edge."""
    return ((x - edge) / width + 0.5).clamp(0, 1)


def _hash(cells: Tensor, seed: int, channels: int) -> Tensor:
    """Repeatable pseudo-random numbers ``[..., channels]`` in [0, 1) for integer cells ``[..., 3]``."""
    c = cells.to(torch.int64)
    h = c[..., 0] * 73856093 ^ c[..., 1] * 19349663 ^ c[..., 2] * 83492791 ^ (seed * 2654435761 & 0x7FFFFFFF)
    out = []
    for _ in range(channels):
        h = (h ^ (h >> 15)) * 0x2C1B3C6D & 0xFFFFFFFF
        h = (h ^ (h >> 12)) * 0x297A2D39 & 0xFFFFFFFF
        h = h ^ (h >> 15)
        out.append((h & 0xFFFFFF).float() / 0x1000000)
    return torch.stack(out, -1)


_CORNERS = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
_NEIGHBOURS = torch.tensor([[i, j, k] for i in (-1, 0, 1) for j in (-1, 0, 1) for k in (-1, 0, 1)])


def value_noise(points: Tensor, seed: int) -> Tensor:
    """Smooth value noise ``[P]`` in [0, 1] with lattice period 1."""
    cell = points.floor()
    f = points - cell
    f = f * f * (3 - 2 * f)
    corners = cell[:, None] + _CORNERS
    values = _hash(corners, seed, 1)[..., 0]
    weights = torch.where(_CORNERS.bool(), f[:, None], 1 - f[:, None]).prod(-1)
    return (values * weights).sum(1)


def cell_distances(points: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Worley cells with one jittered seed point per unit cell.

    Returns:
        nearest and second nearest distance ``[P]``, and a random number ``[P]`` of the nearest cell.
    """
    cells = points.floor()[:, None] + _NEIGHBOURS
    random = _hash(cells, seed, 4)
    distance = (points[:, None] - cells - 0.15 - 0.7 * random[..., :3]).norm(dim=-1)
    nearest, index = distance.topk(2, dim=1, largest=False)
    return nearest[:, 0], nearest[:, 1], random[..., 3].gather(1, index[:, :1])[:, 0]


def _plain(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    return palette[0].expand(len(points), 3)


def _striped(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    period = _uniform(generator, 0.22, 0.40)
    s = points @ _direction(generator) / period + _uniform(generator, 0, 1)
    wave = (s - s.floor() - 0.5).abs() * 2  # 0 in the middle of a stripe, 1 at its far side
    return _mix(palette[0], palette[1], _step(wave, 0.5, 0.12))


def _checkered(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    side = _uniform(generator, 0.18, 0.30)
    # An irrational offset keeps flat faces of boxes from lying on a cell border.
    p = points / side + torch.rand(3, generator=generator) + 0.137
    wave = torch.sin(torch.pi * p).prod(-1)
    return _mix(palette[0], palette[1], _step(wave, 0.0, 0.12))


def _polka_dotted(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    spacing = _uniform(generator, 0.30, 0.42)
    nearest, _, _ = cell_distances(points @ _rotation(generator).T / spacing, spec_seed(generator))
    return _mix(palette[1], palette[0], _step(nearest, 0.36, 0.08))


def _zebra(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = spec_seed(generator)
    warp = torch.stack([value_noise(points * 2.6 + k * 17, seed) for k in range(3)], -1) - 0.5
    s = (points + 0.35 * warp) @ _direction(generator) / _uniform(generator, 0.22, 0.30)
    wave = (s - s.floor() - 0.5).abs() * 2
    black, white = torch.tensor([0.06, 0.06, 0.07]), torch.tensor([0.96, 0.96, 0.94])
    return _mix(black, white, _step(wave, 0.5, 0.14))


def _leopard(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    spacing = _uniform(generator, 0.24, 0.30)
    nearest, _, _ = cell_distances(points / spacing, spec_seed(generator))
    fur, centre, ring = (
        torch.tensor([0.90, 0.68, 0.33]),
        torch.tensor([0.66, 0.42, 0.16]),
        torch.tensor([0.12, 0.08, 0.06]),
    )
    inside = _mix(centre, ring, _step(nearest, 0.20, 0.10))
    t = _step(nearest, 0.42, 0.08)
    return inside * (1 - t[:, None]) + fur * t[:, None]


def _giraffe(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    nearest, second, random = cell_distances(points / _uniform(generator, 0.30, 0.40), spec_seed(generator))
    patch = _mix(torch.tensor([0.62, 0.36, 0.13]), torch.tensor([0.50, 0.27, 0.10]), random)
    t = _step(second - nearest, 0.14, 0.10)[:, None]
    return torch.tensor([0.95, 0.87, 0.66]) * (1 - t) + patch * t


def _brick(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    height, length, mortar = 0.16, 0.34, 0.032
    p = points + torch.rand(3, generator=generator)
    row = (p[:, 1] / height).floor()
    y = p[:, 1] - row * height
    shift = (row.remainder(2) * 0.5 * length)[:, None]
    q = p[:, [0, 2]] + shift
    column = (q / length).floor()
    edge = torch.minimum(q - column * length, (column + 1) * length - q).amin(-1)
    edge = torch.minimum(edge, torch.minimum(y, height - y))
    tone = _hash(torch.stack([column[:, 0], row, column[:, 1]], -1), spec_seed(generator), 1)[..., 0]
    bricks = _mix(torch.tensor([0.58, 0.17, 0.11]), torch.tensor([0.76, 0.30, 0.20]), tone)
    t = _step(edge, 0.5 * mortar, 0.02)[:, None]
    return torch.tensor([0.80, 0.77, 0.71]) * (1 - t) + bricks * t


def _wooden(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = spec_seed(generator)
    p = points @ _rotation(generator).T
    wobble = 0.16 * value_noise(p * torch.tensor([2.5, 2.5, 0.8]), seed)
    radius = (p[:, :2] + torch.tensor([0.9, 0.3])).norm(dim=-1) + wobble
    s = radius / _uniform(generator, 0.15, 0.20)
    ring = s - s.floor()
    grain = value_noise(p * torch.tensor([14.0, 14.0, 2.0]), seed + 1)
    wood = _mix(torch.tensor([0.76, 0.53, 0.29]), torch.tensor([0.44, 0.25, 0.10]), ring**2)
    return wood * (0.90 + 0.2 * grain[:, None])


def _marble(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = spec_seed(generator)
    warp = value_noise(points * 2.2, seed) + 0.5 * value_noise(points * 4.4 + 9, seed)
    s = points @ _direction(generator) / 0.55 + 1.6 * warp
    vein = 1 - (s - s.floor() - 0.5).abs() * 2
    t = _step(vein, 0.84, 0.22) * 0.85
    return _mix(torch.tensor([0.94, 0.93, 0.91]), torch.tensor([0.36, 0.37, 0.41]), t)


def _golden(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = spec_seed(generator)
    shine = value_noise(points * torch.tensor([2.0, 3.5, 2.0]), seed)
    dark = _mix(torch.tensor([0.62, 0.42, 0.08]), torch.tensor([0.90, 0.70, 0.20]), _step(shine, 0.42, 0.4))
    t = _step(shine, 0.72, 0.22)[:, None]
    return dark * (1 - t) + torch.tensor([1.0, 0.94, 0.62]) * t


def _crackled(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    base = palette[0]
    crack = torch.tensor([0.85, 0.83, 0.80]) if float(base.mean()) < 0.2 else torch.tensor([0.10, 0.08, 0.08])
    nearest, second, _ = cell_distances(points / _uniform(generator, 0.24, 0.34), spec_seed(generator))
    return _mix(crack, base, _step(second - nearest, 0.10, 0.08))


def _camouflage(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = spec_seed(generator)
    if palette:
        tones = [palette[0] * k + (1 - k) * 0.5 * (k < 0.5) for k in (1.0, 0.62, 0.30)]
        tones[1] = 0.55 * palette[0] + 0.45 * torch.tensor([0.95, 0.95, 0.95])
    else:
        tones = [torch.tensor(c) for c in ((0.33, 0.40, 0.20), (0.66, 0.60, 0.42), (0.17, 0.17, 0.12))]
    a = value_noise(points * 3.6, seed)
    b = value_noise(points * 3.6 + 31, seed + 1)
    out = _mix(tones[0], tones[1], _step(a, 0.56, 0.05))
    t = _step(b, 0.60, 0.05)[:, None]
    return out * (1 - t) + tones[2] * t


def spec_seed(generator: torch.Generator) -> int:
    """A seed for the lattice hash, drawn from the paint's own generator."""
    return int(torch.randint(0, 2**20, (1,), generator=generator))


_FIELDS: dict[str, Callable[[Tensor, list[Tensor], torch.Generator], Tensor]] = {
    "plain": _plain,
    "striped": _striped,
    "checkered": _checkered,
    "polka-dotted": _polka_dotted,
    "zebra": _zebra,
    "leopard": _leopard,
    "giraffe": _giraffe,
    "brick": _brick,
    "wooden": _wooden,
    "marble": _marble,
    "golden": _golden,
    "crackled": _crackled,
    "camouflage": _camouflage,
}

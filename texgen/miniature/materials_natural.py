"""Materials with a palette of their own: furs, building materials, metals."""

from __future__ import annotations

import torch
from torch import Tensor

from texgen.miniature.materials_fields import (
    Field,
    bands,
    cell_distances,
    direction,
    draw_seed,
    lattice_hash,
    mix,
    rotation,
    step,
    uniform,
    value_noise,
)


def _zebra(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Level stripes that bend, everywhere in the same way (why: `materials_patterns`)."""
    wave = bands((points[:, 1] + 0.30 * (value_noise(points * 2.6, 5) - 0.5)) / 0.26)
    black, white = torch.tensor([0.06, 0.06, 0.07]), torch.tensor([0.96, 0.96, 0.94])
    return mix(black, white, step(wave, 0.5, 0.14))


def _leopard(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    spacing = uniform(generator, 0.24, 0.30)
    nearest, _, _ = cell_distances(points / spacing, draw_seed(generator))
    fur, centre, ring = (
        torch.tensor([0.90, 0.68, 0.33]),
        torch.tensor([0.66, 0.42, 0.16]),
        torch.tensor([0.12, 0.08, 0.06]),
    )
    inside = mix(centre, ring, step(nearest, 0.20, 0.10))
    t = step(nearest, 0.42, 0.08)
    return inside * (1 - t[:, None]) + fur * t[:, None]


def _giraffe(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    nearest, second, random = cell_distances(points / uniform(generator, 0.30, 0.40), draw_seed(generator))
    patch = mix(torch.tensor([0.62, 0.36, 0.13]), torch.tensor([0.50, 0.27, 0.10]), random)
    t = step(second - nearest, 0.14, 0.10)[:, None]
    return torch.tensor([0.95, 0.87, 0.66]) * (1 - t) + patch * t


def _brick(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    height, length, mortar = 0.16, 0.34, 0.032
    p = points + 0.05
    row = (p[:, 1] / height).floor()
    y = p[:, 1] - row * height
    shift = (row.remainder(2) * 0.5 * length)[:, None]
    q = p[:, [0, 2]] + shift
    column = (q / length).floor()
    edge = torch.minimum(q - column * length, (column + 1) * length - q).amin(-1)
    edge = torch.minimum(edge, torch.minimum(y, height - y))
    tone = lattice_hash(torch.stack([column[:, 0], row, column[:, 1]], -1), draw_seed(generator), 1)[..., 0]
    bricks = mix(torch.tensor([0.58, 0.17, 0.11]), torch.tensor([0.76, 0.30, 0.20]), tone)
    t = step(edge, 0.5 * mortar, 0.02)[:, None]
    return torch.tensor([0.80, 0.77, 0.71]) * (1 - t) + bricks * t


def _wooden(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = draw_seed(generator)
    p = points @ rotation(generator).T
    wobble = 0.16 * value_noise(p * torch.tensor([2.5, 2.5, 0.8]), seed)
    radius = (p[:, :2] + torch.tensor([0.9, 0.3])).norm(dim=-1) + wobble
    s = radius / uniform(generator, 0.15, 0.20)
    ring = s - s.floor()
    grain = value_noise(p * torch.tensor([14.0, 14.0, 2.0]), seed + 1)
    wood = mix(torch.tensor([0.76, 0.53, 0.29]), torch.tensor([0.44, 0.25, 0.10]), ring**2)
    return wood * (0.90 + 0.2 * grain[:, None])


def _marble(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = draw_seed(generator)
    warp = value_noise(points * 2.2, seed) + 0.5 * value_noise(points * 4.4 + 9, seed)
    s = points @ direction(generator) / 0.55 + 1.6 * warp
    vein = 1 - (s - s.floor() - 0.5).abs() * 2
    t = step(vein, 0.84, 0.22) * 0.85
    return mix(torch.tensor([0.94, 0.93, 0.91]), torch.tensor([0.36, 0.37, 0.41]), t)


def _golden(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = draw_seed(generator)
    shine = value_noise(points * torch.tensor([2.0, 3.5, 2.0]), seed)
    dark = mix(torch.tensor([0.62, 0.42, 0.08]), torch.tensor([0.90, 0.70, 0.20]), step(shine, 0.42, 0.4))
    t = step(shine, 0.72, 0.22)[:, None]
    return dark * (1 - t) + torch.tensor([1.0, 0.94, 0.62]) * t


def _tiger(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Narrow black stripes that swell, thin out and bend, everywhere in the same way, on orange fur."""
    seed = draw_seed(generator)
    wave = bands((points[:, 1] + 0.30 * (value_noise(points * 2.8, 6) - 0.5)) / 0.26)
    width = 0.12 + 0.42 * value_noise(points * 3.2 + 41, 7)
    fur = mix(
        torch.tensor([0.90, 0.45, 0.08]), torch.tensor([0.97, 0.66, 0.22]), value_noise(points * 2, seed)
    )
    t = step(wave, width, 0.14)[:, None]
    return torch.tensor([0.08, 0.06, 0.05]) * (1 - t) + fur * t


def _dalmatian(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Black spots of uneven size and outline on white."""
    seed = draw_seed(generator)
    warp = torch.stack([value_noise(points * 7 + k * 13, seed) for k in range(3)], -1) - 0.5
    nearest, _, random = cell_distances(points / uniform(generator, 0.26, 0.34) + 0.45 * warp, seed)
    black, white = torch.tensor([0.07, 0.06, 0.06]), torch.tensor([0.95, 0.94, 0.92])
    return mix(black, white, step(nearest - 0.16 * random, 0.26, 0.08))


def _rusty(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Brown and orange rust that eats patches of bluish iron."""
    seed = draw_seed(generator)
    rust = mix(
        torch.tensor([0.40, 0.17, 0.07]),
        torch.tensor([0.80, 0.41, 0.14]),
        step(value_noise(points * 6.5, seed), 0.5, 0.5),
    )
    iron = torch.tensor([0.45, 0.49, 0.54])
    patches = value_noise(points * 3.0 + 23, seed + 1) + 0.3 * value_noise(points * 8 + 5, seed + 2)
    t = step(patches, uniform(generator, 0.74, 0.84), 0.08)[:, None]
    return rust * (1 - t) + iron * t


def _lava(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Dark crust with glowing cracks."""
    seed = draw_seed(generator)
    warp = torch.stack([value_noise(points * 5 + k * 19, seed) for k in range(3)], -1) - 0.5
    nearest, second, _ = cell_distances(points / uniform(generator, 0.30, 0.40) + 0.5 * warp, seed)
    gap = second - nearest
    glow = mix(torch.tensor([1.0, 0.86, 0.25]), torch.tensor([0.92, 0.26, 0.04]), step(gap, 0.09, 0.12))
    t = step(gap, 0.22, 0.12)[:, None]
    return glow * (1 - t) + torch.tensor([0.14, 0.08, 0.07]) * t


def _stone(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Cobbles in several greys with dark joints."""
    seed = draw_seed(generator)
    warp = torch.stack([value_noise(points * 6 + k * 11, seed) for k in range(3)], -1) - 0.5
    nearest, second, random = cell_distances(points / uniform(generator, 0.26, 0.34) + 0.25 * warp, seed)
    cobble = mix(torch.tensor([0.44, 0.43, 0.41]), torch.tensor([0.72, 0.71, 0.67]), random)
    cobble = cobble * (0.88 + 0.24 * value_noise(points * 12, seed + 1)[:, None])
    t = step(second - nearest, 0.14, 0.12)[:, None]
    return torch.tensor([0.22, 0.21, 0.20]) * (1 - t) + cobble * t


def _silver(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Metal by its reflections: dark bluish and white bands."""
    seed = draw_seed(generator)
    shine = value_noise(points * torch.tensor([2.0, 3.8, 2.0]), seed)
    dark = mix(torch.tensor([0.32, 0.35, 0.41]), torch.tensor([0.70, 0.73, 0.78]), step(shine, 0.42, 0.36))
    t = step(shine, 0.66, 0.18)[:, None]
    return dark * (1 - t) + torch.tensor([0.97, 0.98, 1.0]) * t


def _wicker(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Woven strands: rounded strips that cross over and under in a checkerboard."""
    q = points / 0.20 + 0.637
    cell = q.floor()
    f = q - cell
    over = cell.sum(-1).remainder(2) == 0
    # The profile across a strand: along y for the lying ones, along the better of x and z for the others.
    upright = torch.minimum((f[:, 0] - 0.5).abs(), (f[:, 2] - 0.5).abs()) * 2
    profile = torch.where(over, (f[:, 1] - 0.5).abs() * 2, upright)
    straw, shade = torch.tensor([0.86, 0.70, 0.42]), torch.tensor([0.34, 0.21, 0.09])
    strand = torch.where(over[:, None], straw, straw * 0.80)
    t = step(profile, 0.72, 0.40)[:, None]
    return strand * (1 - t) + shade * t


NATURAL: dict[str, Field] = {
    "zebra": _zebra,
    "tiger": _tiger,
    "leopard": _leopard,
    "giraffe": _giraffe,
    "dalmatian": _dalmatian,
    "brick": _brick,
    "stone": _stone,
    "wooden": _wooden,
    "wicker": _wicker,
    "marble": _marble,
    "golden": _golden,
    "silver": _silver,
    "rusty": _rusty,
    "lava": _lava,
}

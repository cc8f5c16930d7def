"""Materials whose colours are chosen: flat, striped, tiled, blended and broken patterns.

Stripes, waves, checks and tiles lie fixed in the object's frame: level, of one period, of one phase. A free
direction and phase is a choice that the diffusion model would have to make for the whole picture in its first
steps; it made it in several places at once, and painted blobs (docs/miniature.md).
"""

from __future__ import annotations

import torch
from torch import Tensor

from texgen.miniature.materials_fields import (
    Field,
    bands,
    cell_distances,
    draw_seed,
    lattice_hash,
    mix,
    rotation,
    step,
    uniform,
    value_noise,
)


def _plain(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    return palette[0].expand(len(points), 3)


def _striped(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Level stripes, one of the first colour in the middle."""
    return mix(palette[0], palette[1], step(bands(points[:, 1] / 0.30), 0.5, 0.12))


def _checkered(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    # The offset keeps flat faces of boxes from lying on a cell border.
    wave = torch.sin(torch.pi * (points / 0.26 + 0.637)).prod(-1)
    return mix(palette[0], palette[1], step(wave, 0.0, 0.12))


def _polka_dotted(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    spacing = uniform(generator, 0.30, 0.42)
    nearest, _, _ = cell_distances(points @ rotation(generator).T / spacing, draw_seed(generator))
    return mix(palette[1], palette[0], step(nearest, 0.36, 0.08))


def _crackled(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    base = palette[0]
    crack = torch.tensor([0.85, 0.83, 0.80]) if float(base.mean()) < 0.2 else torch.tensor([0.10, 0.08, 0.08])
    nearest, second, _ = cell_distances(points / uniform(generator, 0.24, 0.34), draw_seed(generator))
    return mix(crack, base, step(second - nearest, 0.10, 0.08))


def _camouflage(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    seed = draw_seed(generator)
    if palette:
        tones = [palette[0] * k + (1 - k) * 0.5 * (k < 0.5) for k in (1.0, 0.62, 0.30)]
        tones[1] = 0.55 * palette[0] + 0.45 * torch.tensor([0.95, 0.95, 0.95])
    else:
        tones = [torch.tensor(c) for c in ((0.33, 0.40, 0.20), (0.66, 0.60, 0.42), (0.17, 0.17, 0.12))]
    a = value_noise(points * 3.6, seed)
    b = value_noise(points * 3.6 + 31, seed + 1)
    out = mix(tones[0], tones[1], step(a, 0.56, 0.05))
    t = step(b, 0.60, 0.05)[:, None]
    return out * (1 - t) + tones[2] * t


def _wavy(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Level stripes that swing up and down along their length."""
    swing = torch.sin(points @ torch.tensor([0.8, 0.0, 0.6]) * (6.2832 / 0.50))
    return mix(palette[0], palette[1], step(bands((points[:, 1] + 0.09 * swing) / 0.34), 0.5, 0.12))


def _gradient(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """The first colour below, the second above, blended in between."""
    t = step(points[:, 1], uniform(generator, -0.1, 0.1), uniform(generator, 0.7, 1.1))
    return mix(palette[0], palette[1], t)


def _tiled(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Square tiles of one colour, each of a slightly other tone, between light or dark grout."""
    grout = torch.tensor([0.92, 0.91, 0.88]) if float(palette[0].mean()) < 0.75 else torch.tensor([0.3] * 3)
    side, gap = 0.28, 0.045
    q = points / side + 0.637
    edge = ((q - q.floor() - 0.5).abs() - 0.5).neg().amin(-1) * side
    tone = 0.84 + 0.16 * lattice_hash(q.floor(), draw_seed(generator), 1)
    t = step(edge, 0.5 * gap, 0.02)[:, None]
    return grout * (1 - t) + palette[0] * tone * t


def _mosaic(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Broken pieces of many bright colours in dark joints."""
    nearest, second, random = cell_distances(points / uniform(generator, 0.26, 0.34), draw_seed(generator))
    piece = _BRIGHT[(random * len(_BRIGHT)).long()]
    t = step(second - nearest, 0.10, 0.08)[:, None]
    return torch.tensor([0.12, 0.12, 0.14]) * (1 - t) + piece * t


def _rainbow(points: Tensor, palette: list[Tensor], generator: torch.Generator) -> Tensor:
    """Bands in the order of the spectrum, red on top."""
    s = 3.5 - points[:, 1] / 0.18
    low = s.floor()
    colours = _SPECTRUM[low.long().remainder(len(_SPECTRUM))]
    following = _SPECTRUM[(low.long() + 1).remainder(len(_SPECTRUM))]
    t = step(s - low, 0.9, 0.2)[:, None]
    return colours * (1 - t) + following * t


_BRIGHT = torch.tensor(
    [
        [0.86, 0.15, 0.15],
        [0.97, 0.80, 0.15],
        [0.16, 0.60, 0.28],
        [0.14, 0.36, 0.85],
        [0.95, 0.93, 0.88],
        [0.93, 0.50, 0.12],
        [0.20, 0.68, 0.75],
    ]
)
_SPECTRUM = torch.tensor(
    [
        [0.88, 0.12, 0.12],
        [0.98, 0.55, 0.10],
        [0.98, 0.90, 0.18],
        [0.16, 0.66, 0.22],
        [0.12, 0.36, 0.88],
        [0.48, 0.16, 0.66],
    ]
)

PATTERNS: dict[str, Field] = {
    "plain": _plain,
    "striped": _striped,
    "checkered": _checkered,
    "polka-dotted": _polka_dotted,
    "wavy": _wavy,
    "gradient": _gradient,
    "tiled": _tiled,
    "crackled": _crackled,
    "camouflage": _camouflage,
    "mosaic": _mosaic,
    "rainbow": _rainbow,
}

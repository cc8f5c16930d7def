"""Building blocks of solid materials: random parameters, smooth steps, lattice noise and Worley cells."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# A colour field: points [P, 3], the palette of drawn colours and a generator -> albedo [P, 3].
Field = Callable[[Tensor, list[Tensor], torch.Generator], Tensor]


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return float(low + (high - low) * torch.rand(1, generator=generator))


def direction(generator: torch.Generator) -> Tensor:
    """A unit direction; half of the time one of the axes, since that is how people draw stripes."""
    if torch.rand(1, generator=generator) < 0.5:
        return torch.eye(3)[int(torch.randint(0, 3, (1,), generator=generator))]
    d = torch.randn(3, generator=generator)
    return d / d.norm()


def rotation(generator: torch.Generator) -> Tensor:
    q, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    return q


def mix(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Blend colours ``a`` and ``b`` ``[3]`` by ``t [P]`` in [0, 1]."""
    return a + (b - a) * t[:, None]


def step(x: Tensor, edge: float, width: float) -> Tensor:
    """A smooth step of the given width around an edge."""
    return ((x - edge) / width + 0.5).clamp(0, 1)


def bands(s: Tensor) -> Tensor:
    """Distance ``[P]`` of numbers from the nearest integer, from 0 there to 1 half way to the next."""
    return (s - s.round()).abs() * 2


def lattice_hash(cells: Tensor, seed: int, channels: int) -> Tensor:
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


def _around(cells: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """The lattice cells that points need: all cells of their bounding box once, and where each point's lie.

    Args:
        cells: ``[P, 3]`` integer cells; offsets: ``[K, 3]`` of the neighbours to look up.

    Returns:
        box ``[N, 3]`` of cells, index ``[P, K]`` into it.
    """
    low = cells.amin(0) + offsets.amin(0)
    counts = (cells.amax(0) + offsets.amax(0) - low + 1).long()
    axes = [torch.arange(int(n)) + int(start) for n, start in zip(counts, low, strict=True)]
    strides = torch.stack([counts[1] * counts[2], counts[2], torch.ones_like(counts[0])])
    index = ((cells - low).long() * strides).sum(1)[:, None] + (offsets * strides).sum(1)
    return torch.cartesian_prod(*axes), index


def value_noise(points: Tensor, seed: int) -> Tensor:
    """Smooth value noise ``[P]`` in [0, 1] with lattice period 1."""
    cell = points.floor()
    f = points - cell
    f = f * f * (3 - 2 * f)
    box, index = _around(cell, _CORNERS)
    x, y, z = torch.stack([1 - f, f], 1).unbind(-1)
    weights = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(1)
    return (lattice_hash(box, seed, 1)[:, 0][index] * weights).sum(1)


def cell_distances(points: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Worley cells with one jittered seed point per unit cell.

    Returns:
        nearest and second nearest distance ``[P]``, and a random number ``[P]`` of the nearest cell.
    """
    box, index = _around(points.floor(), _NEIGHBOURS)
    random = lattice_hash(box, seed, 4)
    centres = box + 0.15 + 0.7 * random[:, :3]
    distance = sum((points[:, None, k] - centres[:, k][index]).square() for k in range(3))
    nearest, place = distance.min(1, keepdim=True)
    second = distance.scatter(1, place, torch.inf).amin(1)
    return nearest[:, 0].sqrt(), second.sqrt(), random[:, 3][index.gather(1, place)[:, 0]]


def draw_seed(generator: torch.Generator) -> int:
    """A seed for the lattice hash, drawn from the paint's own generator."""
    return int(torch.randint(0, 2**20, (1,), generator=generator))

"""Solid (three-dimensional) materials of the miniature's training world.

A material is a colour field over object space, so that every view of one painted object agrees with every
other.  A field takes surface points ``[P, 3]`` of a shape whose longest side is 1.6 and returns albedo
``[P, 3]`` in [0, 1] (sRGB).  Pattern sizes are chosen for 128-pixel views in which the object spans about 100
pixels: the smallest feature is about six pixels wide, the least that a 32x32 latent can carry.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from texgen.miniature.materials_fields import Field
from texgen.miniature.materials_natural import NATURAL
from texgen.miniature.materials_patterns import PATTERNS

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

ONE_COLOUR = ("plain", "crackled", "tiled")
TWO_COLOURS = ("striped", "checkered", "polka-dotted", "wavy", "gradient")
OPTIONAL_COLOUR = ("camouflage",)
FIXED_PALETTE = (*NATURAL, "mosaic", "rainbow")
MATERIALS: tuple[str, ...] = ONE_COLOUR + TWO_COLOURS + FIXED_PALETTE + OPTIONAL_COLOUR
_FIELDS: dict[str, Field] = {**PATTERNS, **NATURAL}


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

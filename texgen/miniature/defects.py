"""Controlled defects of texture images: what a preference model must learn to dislike.

Every defect takes an image ``[3, H, W]`` in [0, 1], its foreground coverage ``[1, H, W]`` and a generator,
and returns a spoiled image of the same shape; only the foreground is touched.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return float(low + (high - low) * torch.rand(1, generator=generator))


def _smooth_field(size: int, cells: int, generator: torch.Generator) -> Tensor:
    """A smooth random field ``[1, size, size]`` in [0, 1]."""
    coarse = torch.rand(1, 1, cells, cells, generator=generator)
    return F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def holes(image: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Unpainted (dark grey or black) regions."""
    field = _smooth_field(image.shape[-1], int(_uniform(generator, 5, 9)), generator)
    hole = (field > _uniform(generator, 0.58, 0.72)).float() * alpha
    return image * (1 - hole) + hole * _uniform(generator, 0.0, 0.15)


def seams(image: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """A region with shifted texture and another tone, behind a hard border, as between badly joined views."""
    size = image.shape[-1]
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    angle = _uniform(generator, 0, 6.283)
    bend = 0.15 * torch.sin(_uniform(generator, 2, 5) * x)
    side = torch.cos(torch.tensor(angle)) * x + torch.sin(torch.tensor(angle)) * y + bend
    region = (side > _uniform(generator, -0.2, 0.2)).float()[None] * alpha
    shift = [
        int(_uniform(generator, 4, 10)) * (1 if torch.rand(1, generator=generator) < 0.5 else -1)
        for _ in "xy"
    ]
    moved = torch.roll(image, shift, (1, 2)) * _uniform(generator, 0.7, 0.9) + _uniform(
        generator, -0.05, 0.12
    )
    inside = region * torch.roll(alpha, shift, (1, 2))
    return image * (1 - inside) + moved * inside


def blur(image: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Everything inside the silhouette loses its detail."""
    sigma = _uniform(generator, 2.0, 4.0)
    radius = int(3 * sigma)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma) ** 2)
    taps = taps / taps.sum()

    def smooth(value: Tensor) -> Tensor:
        value = F.conv2d(value[:, None], taps[None, None, :, None], padding=(radius, 0))
        return F.conv2d(value, taps[None, None, None, :], padding=(0, radius))[:, 0]

    inside = smooth(image * alpha) / smooth(alpha).clamp_min(1e-3)
    return image * (1 - alpha) + inside * alpha


def noise(image: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Grain."""
    grain = torch.randn(image.shape, generator=generator) * _uniform(generator, 0.10, 0.25)
    return (image + grain * alpha).clamp(0, 1)


def colour_bleed(image: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """A foreign colour spreads over a soft patch."""
    patch = _smooth_field(image.shape[-1], int(_uniform(generator, 3, 5)), generator)
    patch = ((patch - 0.5) * 4).clamp(0, 1) * alpha * _uniform(generator, 0.6, 1.0)
    return image * (1 - patch) + torch.rand(3, 1, 1, generator=generator) * patch


def banding(image: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Bands of changed brightness run across the object."""
    size = image.shape[-1]
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    angle = torch.tensor(_uniform(generator, 0, 3.1416))
    phase = (x * torch.cos(angle) + y * torch.sin(angle)) / _uniform(generator, 5, 9)
    band = 1 - _uniform(generator, 0.25, 0.5) * (phase.floor().remainder(2) == 0).float()[None] * alpha
    return image * band


def washed_out(image: Tensor, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Contrast and saturation are lost."""
    keep = _uniform(generator, 0.15, 0.4)
    faded = 0.5 + keep * (image - 0.5)
    return image * (1 - alpha) + faded * alpha


DEFECTS: dict[str, Callable[[Tensor, Tensor, torch.Generator], Tensor]] = {
    "holes": holes,
    "seams": seams,
    "blur": blur,
    "noise": noise,
    "colour bleed": colour_bleed,
    "banding": banding,
    "washed out": washed_out,
}


def spoil(
    image: Tensor, alpha: Tensor, generator: torch.Generator, kind: str | None = None
) -> tuple[Tensor, str]:
    """One random (or the named) defect; the spoiled image and the defect's name."""
    if kind is None:
        names = list(DEFECTS)
        kind = names[int(torch.randint(0, len(names), (1,), generator=generator))]
    return DEFECTS[kind](image, alpha, generator).clamp(0, 1), kind

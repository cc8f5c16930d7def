"""Pairs of images of which a person would prefer the first for a prompt.

The worse image of a pair has a controlled defect (`defects`), or its object carries another painting: in one
part, as where two views disagree, or as a whole, in other colours or another material than the prompt says.
Other paintings are made on the spot from the surface positions that samples keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.miniature.dataset import Samples
from texgen.miniature.defects import DEFECTS, spoil
from texgen.miniature.materials import BACKGROUND, Paint, draw_paint, paint

DISAGREEMENT = "view inconsistency"
WRONG_COLOUR, WRONG_MATERIAL = "wrong colour", "wrong material"
# what the image alone shows, and what is wrong only for the prompt
IMAGE_KINDS = (*DEFECTS, DISAGREEMENT)
PROMPT_KINDS = (WRONG_COLOUR, WRONG_MATERIAL)
KINDS = IMAGE_KINDS + PROMPT_KINDS


@dataclass
class Pairs:
    """``better`` and ``worse [B, 3, H, W]`` in [0, 1], and what is wrong with each worse one."""

    better: Tensor
    worse: Tensor
    kinds: list[str]


def draw_pairs(
    samples: Samples, index: Tensor, generator: torch.Generator, kinds: tuple[str, ...] = KINDS
) -> Pairs:
    """A worse image for each sample of ``index [B]``, of a random kind each, over random backgrounds."""
    chosen = [kinds[k] for k in torch.randint(0, len(kinds), (len(index),), generator=generator).tolist()]
    better, alpha = sample_images(samples, index)
    worse = torch.stack(
        [
            spoil(image, cover, generator, kind)[0]
            if kind in DEFECTS
            else repainted(samples, i, image, kind, generator)
            for i, image, cover, kind in zip(index.tolist(), better, alpha, chosen, strict=True)
        ]
    )
    backgrounds = draw_backgrounds(len(index), generator)
    return Pairs(recomposed(better, alpha, backgrounds), recomposed(worse, alpha, backgrounds), chosen)


def repainted(samples: Samples, i: int, image: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """Sample ``i`` with another painting, over the world's background: wholly, or in one part of the surface.

    Args:
        image: ``[3, H, W]`` the sample's own picture; kind: one of the last three of ``KINDS``.
    """
    alpha = samples.alpha[i].float() / 255
    seen = alpha > 0
    points = samples.positions[i].permute(1, 2, 0)[seen].float()
    albedo = paint(points, other_paint(samples.materials[i], samples.colours[i], kind, generator))
    colour = torch.tensor(BACKGROUND) + (albedo - torch.tensor(BACKGROUND)) * alpha[seen][:, None]
    if kind == DISAGREEMENT:
        normal = F.normalize(torch.randn(3, generator=generator), dim=0)
        along = points @ normal
        share = float(0.3 + 0.4 * torch.rand(1, generator=generator))
        beyond = along > along.quantile(share)
        colour = torch.where(beyond[:, None], colour, image.permute(1, 2, 0)[seen])
    out = image.clone()
    out[:, seen] = colour.T
    return out


def other_paint(material: str, colours: tuple[str, ...], kind: str, generator: torch.Generator) -> Paint:
    """A paint that differs: in its colours where the material has any, in its material, or in anything."""
    for _ in range(100):
        if kind == WRONG_COLOUR and colours:
            new = draw_paint(generator, material)
            if len(new.colours) == len(colours) and set(new.colours) != set(colours):
                return new
        else:
            new = draw_paint(generator)
            if new.material != material:
                kept = colours[: len(new.colours)]
                if kind == WRONG_MATERIAL and len(kept) == len(new.colours):
                    new = Paint(new.material, kept, new.seed)
                return new
    raise RuntimeError(f"no other paint than {material} {colours} in 100 draws")


def sample_images(samples: Samples, index: Tensor) -> tuple[Tensor, Tensor]:
    """Images ``[B, 3, H, W]`` in [0, 1] over the world's background, and their alpha ``[B, 1, H, W]``."""
    return samples.images[index].float() / 255, (samples.alpha[index].float() / 255)[:, None]


def draw_backgrounds(count: int, generator: torch.Generator) -> Tensor:
    """Backgrounds ``[count, 3, 1, 1]``: white, a grey, or the world's own."""
    kind = torch.rand(count, 1, generator=generator)
    grey = 0.3 + 0.5 * torch.rand(count, 1, generator=generator)
    world = torch.tensor(BACKGROUND).expand(count, 3)
    colour = torch.where(
        kind < 0.35, torch.ones(count, 3), torch.where(kind < 0.7, grey.expand(count, 3), world)
    )
    return colour[:, :, None, None]


def recomposed(images: Tensor, alpha: Tensor, backgrounds: Tensor) -> Tensor:
    """Images ``[B, 3, H, W]`` over the world's background, with alpha ``[B, 1, H, W]``, over others."""
    old = torch.tensor(BACKGROUND).view(1, 3, 1, 1)
    return (images + (backgrounds - old) * (1 - alpha)).clamp(0, 1)


def paint_numbers(samples: Samples) -> Tensor:
    """``[N]`` a number for each distinct combination of material and colours."""
    paints = [(m, *c) for m, c in zip(samples.materials, samples.colours, strict=True)]
    numbers = {p: i for i, p in enumerate(sorted(set(paints)))}
    return torch.tensor([numbers[p] for p in paints])

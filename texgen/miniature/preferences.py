"""Pairs of images of which a person would prefer the first for a prompt.

The worse image of a pair has a controlled defect (`defects`), or its object carries another painting: in one
part, as where two views disagree, or as a whole, in other colours or another material than the prompt says.
A layout says how many rows of a batch have which kind, so that all shapes are fixed; everything is drawn on
the world's device.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.miniature.defects import DEFECTS
from texgen.miniature.materials import BACKGROUND, Paint, draw_paint
from texgen.miniature.world_arrays import OTHER_KINDS, WRONG_COLOUR, WRONG_MATERIAL, WorldSamples

DISAGREEMENT = "view inconsistency"
# what the image alone shows, and what is wrong only for the prompt
IMAGE_KINDS = (*DEFECTS, DISAGREEMENT)
PROMPT_KINDS = OTHER_KINDS
KINDS = IMAGE_KINDS + PROMPT_KINDS
# Defects that a cosine of two embeddings learns last; training draws them twice as often.
HARD = ("seams", "blur", "noise")

PictureLayout = tuple[tuple[str, int], ...]


def layout(kinds: tuple[str, ...], rows: int) -> PictureLayout:
    """About ``rows`` rows, at least one of each kind, shared out as often as each is named."""
    names = list(dict.fromkeys(kinds))
    return tuple((name, max(1, round(rows * kinds.count(name) / len(kinds)))) for name in names)


def check_pairs(painted: WorldSamples) -> None:
    """Raise ValueError where a world lacks what pairs are made of."""
    if painted.count <= painted.sizes.views:
        raise ValueError(
            f"{painted.count} samples of {painted.sizes.views} views: for pairs of which one disagrees with "
            "another view, views have to be painted twice; make the world with more samples."
        )
    if not len(painted.others):
        raise ValueError("no sample is also painted wrongly; make the world with --others.")


def draw_index(painted: WorldSamples, rows: PictureLayout) -> Tensor:
    """Random samples ``[B]`` for the rows; those of wrong paint among the samples that have one."""
    bounds = {kind: len(painted.others) if kind in OTHER_KINDS else painted.count for kind, _ in rows}
    parts = [torch.randint(0, bounds[kind], (count,), device=painted.device) for kind, count in rows]
    return torch.cat(parts)


def draw_pairs(painted: WorldSamples, index: Tensor, rows: PictureLayout) -> tuple[Tensor, Tensor]:
    """Better and worse images ``[B, 3, H, W]`` in [0, 1] of samples ``index [B]`` that are laid out as `rows`
    says, each pair over one random background."""
    better, alpha = painted.pictures(index), painted.alpha_of(index)
    worse, start = [], 0
    for kind, count in rows:
        part = slice(start, start + count)
        if kind in DEFECTS:
            worse.append(DEFECTS[kind](better[part], alpha[part]).clamp(0, 1))
        elif kind == DISAGREEMENT:
            worse.append(disagreeing(painted, index[part]))
        else:
            worse.append(painted.others[index[part], OTHER_KINDS.index(kind)].float() / 255)
        start += count
    backgrounds = draw_backgrounds(len(index), painted.device)
    return recomposed(better, alpha, backgrounds), recomposed(torch.cat(worse), alpha, backgrounds)


def disagreeing(painted: WorldSamples, index: Tensor) -> Tensor:
    """Pictures ``[B, 3, H, W]`` of samples whose surface beyond a random plane carries another painting of
    the same view."""
    rows, device, views = len(index), painted.device, painted.sizes.views
    rounds = -(-painted.count // views)
    other = index
    for _ in range(4):  # drawn again where the paint is the same
        drawn = painted.views_of(index) + views * torch.randint(0, rounds, (rows,), device=device)
        drawn = torch.where(drawn < painted.count, drawn, painted.views_of(index))
        other = torch.where(painted.paint[other] == painted.paint[index], drawn, other)
    normal = F.normalize(torch.randn(rows, 3, device=device), dim=1)
    along = torch.einsum("bchw,bc->bhw", painted.positions_of(index), normal)
    seen = painted.alpha_of(index)[:, 0] > 0
    threshold = quantile(along, seen, 0.3 + 0.4 * torch.rand(rows, 1, 1, device=device))
    beyond = ((along > threshold) & seen)[:, None]
    return torch.where(beyond, painted.pictures(other), painted.pictures(index))


def quantile(values: Tensor, seen: Tensor, share: Tensor, rounds: int = 12) -> Tensor:
    """The value ``[B, 1, 1]`` below which a share ``[B, 1, 1]`` of the seen values ``[B, H, W]`` lies, within
    ``2 ** -rounds`` of their range: bisected, since numbers of seen values differ from row to row."""
    low = values.masked_fill(~seen, torch.inf).amin((1, 2), keepdim=True)
    high = values.masked_fill(~seen, -torch.inf).amax((1, 2), keepdim=True)
    wanted = share * seen.sum((1, 2), keepdim=True)
    for _ in range(rounds):
        middle = (low + high) / 2
        few = ((values <= middle) & seen).sum((1, 2), keepdim=True) < wanted
        low, high = torch.where(few, middle, low), torch.where(few, high, middle)
    return high


def other_rows(painted: WorldSamples, index: Tensor) -> Tensor:
    """For each sample of ``index [B]`` a random one with another paint, whose caption is wrong for it."""
    other = torch.randint(0, painted.count, (len(index), 8), device=painted.device)
    differs = painted.paint[other] != painted.paint[index][:, None]
    return other.gather(1, differs.int().argmax(1, keepdim=True))[:, 0]


def other_paint(material: str, colours: tuple[str, ...], kind: str, generator: torch.Generator) -> Paint:
    """A paint that differs: in its colours where the material has any, or in its material."""
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


def draw_backgrounds(count: int, device: torch.device | str = "cpu") -> Tensor:
    """Backgrounds ``[count, 3, 1, 1]``: white, a grey, or the world's own."""
    kind = torch.rand(count, 1, device=device)
    grey = (0.3 + 0.5 * torch.rand(count, 1, device=device)).expand(count, 3)
    world = world_background(kind.device).expand(count, 3)
    colour = torch.where(kind < 0.35, torch.ones_like(grey), torch.where(kind < 0.7, grey, world))
    return colour[:, :, None, None]


@cache
def world_background(device: torch.device) -> Tensor:
    """``BACKGROUND`` as a tensor, kept: a captured step may not copy from the host."""
    return torch.tensor(BACKGROUND, device=device)


def recomposed(images: Tensor, alpha: Tensor, backgrounds: Tensor) -> Tensor:
    """Images ``[B, 3, H, W]`` over the world's background, with alpha ``[B, 1, H, W]``, over others."""
    old = world_background(images.device).view(1, 3, 1, 1)
    return (images + (backgrounds - old) * (1 - alpha)).clamp(0, 1)

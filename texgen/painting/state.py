"""What has been painted so far, what a camera of the rig sees, and the one seen through the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from texgen.backprojection.project import Visibility
from texgen.diffusion.conditioning import Crop
from texgen.render.images import GeometryBuffer, shade


class TextureState(NamedTuple):
    """What has been painted so far, as textures of side T; a tuple of tensors where gradients are replayed.

    colour_sum: [3, T, T], weighted sum of colours. weight: [1, T, T] >= 0, the colour is colour_sum / weight.
    best_cosine: [1, T, T], the best cosine any view had at the texel, -1 where none had.
    """

    colour_sum: Tensor
    weight: Tensor
    best_cosine: Tensor

    @staticmethod
    def empty(size: int, device: torch.device | str | None = None, dtype: torch.dtype | None = None):
        """Nothing painted."""
        blank = torch.zeros(5, size, size, device=device, dtype=dtype)
        return TextureState(blank[:3], blank[3:4], blank[4:] - 1)

    def colour(self) -> Tensor:
        """[3, T, T], 0 where nothing is painted."""
        return self.colour_sum / torch.where(self.weight > 0, self.weight, torch.ones_like(self.weight))

    def painted(self) -> Tensor:
        """[1, T, T], 1 where painted; without a gradient."""
        return (self.weight > 0).to(self.weight.dtype)

    def detach(self) -> TextureState:
        """The same values without their history."""
        return TextureState(self.colour_sum.detach(), self.weight.detach(), self.best_cosine.detach())


@dataclass(frozen=True, eq=False)
class View:
    """One camera's geometry, all at the preset's render size.

    index: position in the rig. word: direction word of the prompt. buffer: N = 1. depth: [1, 1, R, R] in
    [0, 1]. visibility: of the texels, None when the projection does not need it. clear: [1, 1, R, R], 1 on
    the object's pixels that may be projected, None = all of them.
    """

    index: int
    azimuth: float
    elevation: float
    word: str
    buffer: GeometryBuffer
    depth: Tensor
    visibility: Visibility | None
    crop: Crop
    clear: Tensor | None = None

    def projected(self) -> Tensor:
        """[1, R, R], 1 where a pixel may be projected onto the texture."""
        return (self.buffer.mask if self.clear is None else self.clear)[0]

    def place(self) -> dict[str, Any]:
        """What begins a view's record: index, azimuth, elevation and word."""
        return {
            "index": self.index,
            "azimuth": self.azimuth,
            "elevation": self.elevation,
            "word": self.word,
        }


def render_state(
    view: View, state: TextureState, background: tuple[float, float, float], pin_background: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The painted texture as seen in a view: rgb [1, 3, R, R], count and best cosine [1, 1, R, R].

    One texture of six channels serves all. Colour and best cosine are averaged over the painted part of a
    pixel's footprint only, so that mip-mapping does not mix unpainted black into the border of what is
    painted. Unpainted surface is black with best cosine -1. The background counts as painted (count 1); its
    best cosine is 1 when it is pinned, else -1 in the first view and 0 afterwards, which reproduces the
    released behaviour.
    """
    painted = state.painted()
    channels = [state.colour() * painted, painted, state.weight, state.best_cosine * painted]
    behind = 1.0 if pin_background else (-1.0 if view.index == 0 else 0.0)
    seen = shade(view.buffer, torch.cat(channels), (*background, 1.0, 1.0, behind))
    share = seen[:, 3:4]
    known = share > 1e-6
    divisor = torch.where(known, share, torch.ones_like(share))
    rgb = torch.where(known, seen[:, :3] / divisor, torch.zeros_like(seen[:, :3]))
    best = torch.where(known, seen[:, 5:6] / divisor, torch.full_like(share, -1.0))
    return rgb, seen[:, 4:5], best

"""Keeping what is painted already: a texture of which a region alone is painted again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from texgen.errors import PlainError
from texgen.painting.state import TextureState

KEPT_COSINE = 2.0
"""Best cosine of kept texels: above any view's, so that both trimaps keep them, the soft one too."""


@dataclass(frozen=True, eq=False)
class KeptTexture:
    """A texture that exists, and where it is to be painted again.

    texture: [3, T, T] in [0, 1], row 0 at v = 0. repaint: [1, T, T], above 0.5 where it is painted again.
    Raises ValueError for other shapes and for values outside of [0, 1], PlainError for a region that holds no
    texel, or all of them.
    """

    texture: Tensor
    repaint: Tensor

    def __post_init__(self) -> None:
        size = self.texture.shape[-1]
        if self.texture.shape != (3, size, size) or self.repaint.shape != (1, size, size):
            raise ValueError(
                f"The kept texture is {list(self.texture.shape)} and its region {list(self.repaint.shape)}; "
                "they must be [3, T, T] and [1, T, T]."
            )
        # Not a number is neither, and fails this, too.
        if not bool(((self.texture >= 0) & (self.texture <= 1)).all()):
            raise ValueError("The kept texture has values outside of 0 to 1.")
        count = int(self.chosen.sum())
        if count == 0:
            raise PlainError("The region to paint again holds no texel of the texture; choose a larger one.")
        if count == self.repaint.numel():
            raise PlainError(
                "The region to paint again is the whole texture, so that nothing is kept; paint without it."
            )

    @property
    def chosen(self) -> Tensor:
        """[1, T, T] bool: texels that are painted again."""
        return self.repaint > 0.5

    def state(self, like: Tensor) -> TextureState:
        """The texture state that painting starts from, on the device and in the precision of `like`: kept
        texels are known, as well as can be, and those of the region are not."""
        known = (~self.chosen).to(like)
        return TextureState(self.texture.to(like) * known, known, known * (KEPT_COSINE + 1) - 1)

    def composite(self, painted: Tensor) -> Tensor:
        """A finished texture [3, T, T] in the region and the kept one, to the bit, outside of it."""
        return torch.where(self.chosen.to(painted.device), painted, self.texture.to(painted))


def start_state(keep: KeptTexture | None, size: int, like: Tensor) -> TextureState:
    """What painting a texture of side `size` starts from: nothing, or what is kept.

    Raises ValueError where the kept texture has another size.
    """
    if keep is None:
        return TextureState.empty(size, like.device, like.dtype)
    if keep.texture.shape[-1] != size:
        raise ValueError(
            f"The kept texture has {keep.texture.shape[-1]} texels along a side, but {size} are painted; "
            "give both the same texture_size."
        )
    return keep.state(like)


def require_painted(views: Sequence[Mapping[str, Any]]) -> None:
    """Raises PlainError where no view generated anything, of the records of all views of a repainting."""
    if all(view["skipped"] for view in views):
        raise PlainError(
            "No view sees enough of the region to paint it again: it is hidden, or smaller than a pixel; "
            "choose a larger one."
        )

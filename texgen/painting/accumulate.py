"""Projecting a finished view into the texture state, by a preset's operator and rule."""

from __future__ import annotations

import torch
from torch import Tensor

from texgen.backprojection.project import gather, scatter_mip
from texgen.painting.presets import Preset
from texgen.painting.state import TextureState, View


def accumulate(preset: Preset, view: View, state: TextureState, image: Tensor, keep: Tensor) -> TextureState:
    """Project a finished image [1, 3, R, R] into the texture. keep: [1, 1, R, R], the trimap's.

    See `Preset.accumulate` for the rules and `Preset.projection` for the operators. Differentiable in all
    tensors; which texels are visible is a constant.
    """
    if preset.projection == "gather":
        values, weight, cosine = _gathered(preset, view, state, image, keep)
    else:
        values, weight, cosine = _scattered(preset, view, image, keep)
    best = torch.maximum(state.best_cosine, cosine)
    if preset.accumulate == "replace":
        share = weight.clamp(max=1.0)
        rest = 1 - share
        return TextureState(state.colour_sum * rest + values * share, state.weight * rest + share, best)
    return TextureState(state.colour_sum + values * weight, state.weight + weight, best)


def _gathered(
    preset: Preset, view: View, state: TextureState, image: Tensor, keep: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(colours, weights, cosines or -1) per texel by sampling the image at every visible texel."""
    assert view.visibility is not None
    layers = torch.cat([image[0], 1 - keep[0]])
    values, weight = gather(layers, view.visibility, view.projected())
    values, fresh = values[:3], values[3:]
    cosine = view.visibility.cosine.to(image.dtype)
    weight = weight * (cosine.detach() > preset.min_cosine)
    seen = torch.where(weight > 0, cosine, torch.full_like(cosine, -1.0))
    if preset.accumulate != "mean":
        # An unpainted texel under a pixel that is kept for its neighbours' sake would stay empty for ever.
        weight = weight * torch.maximum(fresh, (state.weight <= 0).to(fresh.dtype))
    if preset.accumulate == "cosine":
        weight = weight * cosine**preset.cosine_power
    return values, weight, seen


def _scattered(preset: Preset, view: View, image: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same by splatting pixels; weights are splat counts. The levels are 1, 1/2 and 1/4 of the texture's
    side for colours and 1, 1/2 for the cosine, as published."""
    size = preset.texture_size
    cosine = view.buffer.cosine[0]
    mask = view.projected() * (cosine.detach() > preset.min_cosine)
    factor = mask if preset.accumulate == "mean" else mask * (1 - keep[0])
    if preset.accumulate == "cosine":
        factor = factor * cosine**preset.cosine_power
    total, weight = scatter_mip(image[0], view.buffer, size, factor, min_level=size // 8)
    cosine_total, cosine_weight = scatter_mip(cosine, view.buffer, size, mask, min_level=size // 4)
    return _divide(total, weight, 0.0), weight, _divide(cosine_total, cosine_weight, -1.0)


def _divide(total: Tensor, weight: Tensor, empty: float) -> Tensor:
    quotient = total / torch.where(weight > 0, weight, torch.ones_like(weight))
    return torch.where(weight > 0, quotient, torch.full_like(quotient, empty))

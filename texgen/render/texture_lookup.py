"""Mip-mapped, differentiable texture lookup.

A texture is [C, H, W] with row 0 at v = 0 and u to the right; texel (i, j) has its centre at
uv = ((j + .5) / W, (i + .5) / H). Lookups clamp to the edge.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def build_mips(texture: Tensor, levels: int | None = None) -> list[Tensor]:
    """The texture [C, H, W] and its halvings down to 1 x 1, or only the first `levels` of them.

    Each level is the 2 x 2 average of the one before; an odd side n goes to n // 2 by averaging the texels
    under each new texel. Differentiable.
    """
    mips = [texture]
    while (levels is None or len(mips) < levels) and max(mips[-1].shape[1:]) > 1:
        height, width = mips[-1].shape[1:]
        if height % 2 == 0 and width % 2 == 0:
            mips.append(F.avg_pool2d(mips[-1][None], 2)[0])
        else:
            mips.append(F.adaptive_avg_pool2d(mips[-1][None], (max(height // 2, 1), max(width // 2, 1)))[0])
    return mips


def mip_level(size: tuple[int, int], uv_dx: Tensor, uv_dy: Tensor) -> Tensor:
    """The mip level [...] at which the longer side of a pixel's footprint spans one texel, from 0 up to 1 x
    1.

    size: (H, W) of the texture. uv_dx, uv_dy [..., 2]: change of uv per pixel to the right and downwards.
    """
    height, width = size
    texels = uv_dx.new_tensor([width, height])
    longer = torch.maximum(((uv_dx * texels) ** 2).sum(-1), ((uv_dy * texels) ** 2).sum(-1))
    # Squared lengths below 1 are magnification: level 0, and no logarithm of 0 in the backward pass.
    level = 0.5 * torch.log2(longer.clamp(min=1.0))
    return level.clamp(max=float(max(height, width).bit_length() - 1))


def _bilinear(texture: Tensor, uv: Tensor) -> Tensor:
    """texture [C, H, W], uv [P, 2] -> [P, C]."""
    grid = (uv * 2 - 1)[None, :, None]
    return F.grid_sample(texture[None], grid, padding_mode="border", align_corners=False)[0, :, :, 0].T


def sample(texture: Tensor, uv: Tensor, uv_dx: Tensor | None = None, uv_dy: Tensor | None = None) -> Tensor:
    """Texture values [..., C] at uv [..., 2]; differentiable in the texture and all uv arguments.

    Bilinear without derivatives. With uv_dx and uv_dy [..., 2], the change of uv per pixel to the right and
    downwards, trilinear between the two mip levels nearest to the longer of the two in texels. uv outside [0,
    1] take the edge's value. The texture and the uv must have the same dtype.

    Mip-mapping mixes neighbouring charts and whatever lies between them: fill the texels outside the charts
    with the charts' own colours first (`fill.dilate_nearest`), or the background bleeds into the seams.
    Raises ValueError when only one derivative is given.
    """
    if (uv_dx is None) != (uv_dy is None):
        raise ValueError("Give both uv_dx and uv_dy for mip-mapping, or neither for a bilinear lookup.")
    channels, shape = texture.shape[0], uv.shape[:-1]
    uv = uv.reshape(-1, 2)
    if uv_dx is None or uv_dy is None or uv.shape[0] == 0:
        return _bilinear(texture, uv).reshape(*shape, channels)

    level = mip_level((texture.shape[1], texture.shape[2]), uv_dx.reshape(-1, 2), uv_dy.reshape(-1, 2))
    first, last = int(level.detach().min().floor()), int(level.detach().max().ceil())
    mips = build_mips(texture, last + 1)
    if first == last:
        return _bilinear(mips[first], uv).reshape(*shape, channels)
    result = texture.new_zeros(uv.shape[0], channels)
    for k in range(first, last + 1):
        weight = (1 - (level - k).abs()).clamp(min=0)  # linear between levels: a tent around each
        chosen = torch.nonzero(weight > 0).squeeze(1)
        if chosen.numel():
            result = result.index_add(0, chosen, _bilinear(mips[k], uv[chosen]) * weight[chosen, None])
    return result.reshape(*shape, channels)

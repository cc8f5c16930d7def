"""What the diffusion model is shown of a view: the crop to the object, and the control image.

All functions are differentiable in the images; where the crop lies and which pixels are known are constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.render.cameras import Size, image_size

UNKNOWN = -1.0
"""Value of all three colour channels where the control image shows nothing (InTeX's ControlNet)."""


@dataclass(frozen=True)
class Crop:
    """A square of `side` pixels at (top, left) of a square frame of `frame` pixels."""

    top: int
    left: int
    side: int
    frame: int


def whole_frame(size: int) -> Crop:
    """The crop that leaves a frame of `size` pixels as it is."""
    return Crop(0, 0, size, size)


def object_crop(mask: Tensor, margin: float = 1.1) -> Crop:
    """The square around a mask [1, 1, R, R], its larger side enlarged by `margin`.

    The whole frame when the mask is empty or the square would leave the frame (as in InTeX).
    """
    size = mask.shape[-1]
    rows = torch.nonzero(mask[0, 0].amax(dim=1) > 0).flatten()
    columns = torch.nonzero(mask[0, 0].amax(dim=0) > 0).flatten()
    if not len(rows):
        return whole_frame(size)
    low = [int(rows[0]), int(columns[0])]
    high = [int(rows[-1]) + 1, int(columns[-1]) + 1]
    side = math.ceil(max(high[0] - low[0], high[1] - low[1]) * margin)
    corner = [round((a + b - side) / 2) for a, b in zip(low, high, strict=True)]
    if min(corner) < 0 or max(corner) + side > size:
        return whole_frame(size)
    return Crop(corner[0], corner[1], side, size)


def resize(image: Tensor, size: Size) -> Tensor:
    """[N, C, H, W] -> [N, C, *size], bilinear, averaging over the footprint when shrinking.

    size: (rows, columns), or one number for a square. An image of that size comes back as it is.
    """
    shape = image_size(size)
    if image.shape[-2:] == shape:
        return image
    return F.interpolate(image, size=shape, mode="bilinear", align_corners=False, antialias=True)


def zoom(image: Tensor, crop: Crop, size: int) -> Tensor:
    """Frame [N, C, R, R] -> its crop at `size` pixels, [N, C, size, size]."""
    bottom, right = crop.top + crop.side, crop.left + crop.side
    return resize(image[..., crop.top : bottom, crop.left : right], size)


def unzoom(image: Tensor, crop: Crop) -> Tensor:
    """[N, C, S, S] -> the frame [N, C, R, R] with the image in the crop, its border repeated outside."""
    image = resize(image, crop.side)
    rest = crop.frame - crop.side
    if rest == 0:
        return image
    pad = (crop.left, rest - crop.left, crop.top, rest - crop.top)
    return F.pad(image, pad, mode="replicate")


def fill_unknown(image: Tensor, known: Tensor) -> Tensor:
    """Continue an image smoothly into its unknown pixels, from coarse to fine (push-pull).

    image [N, C, H, W], known [N, 1, H, W] in [0, 1]. Known pixels (1) stay exactly; an image without any
    known pixel becomes 0.
    """
    height, width = image.shape[-2:]
    # The shortcut changes no number: 1 * image + 0 * smooth. On a GPU, to ask costs more than to compute.
    if max(height, width) == 1 or not (known.is_cuda or bool((known < 1).any())):
        return image * known
    weight = F.avg_pool2d(known, 2, ceil_mode=True, count_include_pad=False)
    total = F.avg_pool2d(image * known, 2, ceil_mode=True, count_include_pad=False)
    half_known = (weight > 0).to(image.dtype)
    half = total / torch.where(weight > 0, weight, torch.ones_like(weight))
    coarse = fill_unknown(half, half_known)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
    return image * known + smooth * (1 - known)


def control_image(rgb: Tensor, known: Tensor, depth: Tensor) -> Tensor:
    """[N, 6, S, S]: rgb [N, 3, S, S] where known [N, 1, S, S] > 0, -1 elsewhere; then depth [N, 1, S, S]
    three times."""
    shown = torch.where(known > 0, rgb, torch.full_like(rgb, UNKNOWN))
    return torch.cat([shown, depth.expand(-1, 3, -1, -1)], dim=1)


def control_for(role: str, channels: int, rgb: Tensor, known: Tensor, depth: Tensor) -> Tensor:
    """The image that the ControlNet of a role takes, [N, channels, S, S].

    Six channels: `control_image`. Three: "inpaint" shows rgb with -1 where unknown, "tile" all of rgb, any
    other role (depth, position maps) `depth` [N, 1 or 3, S, S].
    """
    if channels == 6:
        return control_image(rgb, known, depth)
    if role == "inpaint":
        return torch.where(known > 0, rgb, torch.full_like(rgb, UNKNOWN))
    return rgb if role == "tile" else depth.expand(-1, 3, -1, -1)


def control_of_depth(role: str, channels: int, depth: Tensor) -> Tensor:
    """`control_for` where nothing is painted yet, [N, channels, S, S], from depth [N, 1, S, S]."""
    nothing = torch.zeros_like(depth)
    return control_for(role, channels, nothing.expand(-1, 3, -1, -1), nothing, depth)

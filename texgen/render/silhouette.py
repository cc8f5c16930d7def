"""Which pixels of a picture lie clear of the silhouette, so that no background is projected onto the object.

A diffusion model does not draw the silhouette where the geometry has it: the pixels beside it show
background, or a mixture. They are not projected; another view sees that surface better, or it is filled.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

THIN_SHARE = 0.6
"""Where a part is too thin for the band, the band takes this share of half its thickness, less half a pixel:
a part of three pixels stays whole, since bilinear lookups need two beside each other."""


def clear_of_silhouette(mask: Tensor, width: float) -> Tensor:
    """Pixels of the object that are at least `width` pixels from the background: [1, 1, R, R] of 0s and 1s.

    mask: [1, 1, R, R], 1 on the object. width: of the band, in pixels; 0 leaves the mask as it is. A part
    too thin for the band keeps the pixels around its middle line, as legs and wires would otherwise never be
    painted. What lies beyond the image counts as object. Constant, without a gradient.
    """
    if width <= 0:
        return mask
    inside = (mask[0, 0].detach() > 0.5).cpu().numpy()
    if inside.all():
        return mask.detach()
    # From a pixel's centre to the nearest centre off the object; its own half pixel is not a distance.
    depth = torch.from_numpy(distance_transform_edt(inside) - 0.5).to(mask)[None, None]
    side = 2 * math.ceil(2 * width) + 1
    thickness = widest(depth, side)
    needed = torch.clamp(THIN_SHARE * thickness - 0.5, max=width)
    return ((depth >= needed) & (mask > 0.5)).to(mask.dtype)


def widest(values: Tensor, side: int) -> Tensor:
    """The largest of the `side` x `side` values around each of [1, 1, H, W], side odd: rows, then columns."""
    rows = F.max_pool2d(values, (1, side), stride=1, padding=(0, side // 2))
    return F.max_pool2d(rows, (side, 1), stride=1, padding=(side // 2, 0))

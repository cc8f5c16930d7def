"""TEXTure's back-projection: optimise the texels until the render of the texture looks like the image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.backprojection.trimap import REFINE_MARGIN, Trimap, dilate, erode, kernel_side
from texgen.render.images import GeometryBuffer

ADAM_BETAS = (0.9, 0.99)
ADAM_EPSILON = 1e-15


def fit_mask(
    trimap: Trimap, mask: Tensor, cosine: Tensor, best_cosine: Tensor, strict: bool = True
) -> Tensor:
    """[1, 1, R, R] weight of each pixel in the fit (TEXTure as released, kernels published for 1200 pixels).

    The changed part of the object, dilated by 25 and blurred, so that it fades into what is kept. strict:
    nothing below one half, and nothing that an earlier view saw better by 0.2.
    """
    size = mask.shape[-1]
    inside = erode(mask, kernel_side(5, size, 1200))
    weight = dilate(inside * (1 - trimap.keep), kernel_side(25, size, 1200))
    weight = blur(weight, kernel_side(21, size, 1200), 16 * size / 1200) * inside
    if strict:
        weight = weight * (weight >= 0.5) * (cosine + REFINE_MARGIN >= best_cosine)
    return weight


def blur(image: Tensor, side: int, sigma: float) -> Tensor:
    """Gaussian blur of [N, 1, H, W] with a square kernel of `side` (odd) pixels; the border is repeated."""
    offset = torch.arange(side, dtype=image.dtype, device=image.device) - side // 2
    line = torch.exp(-0.5 * (offset / sigma) ** 2)
    line = line / line.sum()
    pad = side // 2
    image = F.conv2d(F.pad(image, (pad, pad, 0, 0), mode="replicate"), line.view(1, 1, 1, -1))
    return F.conv2d(F.pad(image, (0, 0, pad, pad), mode="replicate"), line.view(1, 1, -1, 1))


def fit_adam(
    colour: Tensor,
    best_cosine: Tensor,
    buffer: GeometryBuffer,
    image: Tensor,
    weight: Tensor,
    steps: int = 200,
    rate: float = 0.01,
) -> tuple[Tensor, Tensor, Tensor]:
    """Fit a texture to one image of it by Adam; the optimiser starts anew in every view.

    colour: [3, T, T] texels to start from. best_cosine: [1, T, T], fitted along, to the larger of itself and
    this view's cosine. buffer: one view at (R, R). image: [1, 3, R, R]. weight: [1, 1, R, R] >= 0.
    Loss: mean over pixels of positive weight of weight (render - image)^2, plus mean over the object of the
    squared error of the cosine. Lookups are bilinear, without mip maps.
    Returns colour, best_cosine and touched [1, T, T], 1 where a weighted pixel reads the texel.
    """
    seen = buffer.face[0].reshape(-1) >= 0
    grid = (buffer.uv[0].reshape(-1, 2)[seen] * 2 - 1).to(colour.dtype)[None, None]
    share = weight.reshape(-1)[seen]
    target = image[0].flatten(1)[:, seen]
    cosine = buffer.cosine.reshape(-1)[seen]

    def read(texture: Tensor) -> Tensor:
        return F.grid_sample(texture[None], grid, padding_mode="border", align_corners=False)[0, :, 0]

    with torch.enable_grad():
        texture = torch.cat([colour, best_cosine]).detach().clone().requires_grad_(True)
        (reach,) = torch.autograd.grad((read(texture)[0] * share).sum(), texture)
        touched = (reach[:1] > 0).to(colour.dtype)
        better = torch.maximum(read(texture)[3].detach(), cosine)
        optimiser = torch.optim.Adam([texture], lr=rate, betas=ADAM_BETAS, eps=ADAM_EPSILON, fused=True)
        for _ in range(steps):
            render = read(texture)
            loss = ((render[:3] - target) ** 2 * share).sum() / (3 * (share > 0).sum()).clamp(min=1)
            loss = loss + ((render[3] - better) ** 2).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    texture = texture.detach()
    return texture[:3], texture[3:], touched

"""Controlled defects of texture images: what a preference model must learn to dislike.

Every defect takes images ``[B, 3, H, W]`` in [0, 1] and their foreground coverage ``[B, 1, H, W]`` and
returns spoiled images; only the foreground is touched, and each row draws numbers of its own. Everything
stays on the images' device and has fixed shapes, so that a training step with it can be captured.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def _uniform(rows: int, low: float, high: float, device: torch.device) -> Tensor:
    """``[rows, 1, 1, 1]``"""
    return low + (high - low) * torch.rand(rows, 1, 1, 1, device=device)


def _whole(rows: int, low: int, high: int, device: torch.device) -> Tensor:
    """Whole numbers ``[rows]`` from ``low`` to ``high - 1``."""
    return torch.randint(low, high, (rows,), device=device)


def _smooth_field(rows: int, size: int, low: int, high: int, device: torch.device) -> Tensor:
    """Smooth random fields ``[rows, 1, size, size]`` in [0, 1] of ``low`` to ``high - 1`` cells a side."""
    cells = _whole(rows, low, high, device)
    field = torch.zeros(rows, 1, size, size, device=device)
    for count in range(low, high):
        coarse = torch.rand(rows, 1, count, count, device=device)
        smooth = F.interpolate(coarse, (size, size), mode="bicubic", align_corners=False).clamp(0, 1)
        field = torch.where((cells == count)[:, None, None, None], smooth, field)
    return field


def rolled(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """`torch.roll` of each row of ``[B, C, H, W]`` by its own shifts ``[B]``."""
    rows, _, height, width = images.shape
    y = (torch.arange(height, device=images.device) - down[:, None]) % height
    x = (torch.arange(width, device=images.device) - right[:, None]) % width
    number = torch.arange(rows, device=images.device)[:, None, None]
    return images.permute(0, 2, 3, 1)[number, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)


def smoothed(images: Tensor, sigma: Tensor) -> Tensor:
    """Each row of square images ``[B, C, H, H]`` under its own Gaussian of ``sigma [B]`` pixels, cut off
    after three of them; zeros around the image."""
    away = torch.arange(images.shape[-1], device=images.device)
    away = (away[:, None] - away[None]).abs().float()
    reach = (3 * sigma).floor()[:, None, None]
    taps = torch.exp(-0.5 * (away / sigma[:, None, None]) ** 2) * (away <= reach)
    offsets = torch.arange(images.shape[-1], device=images.device)[None].float()
    one_side = torch.exp(-0.5 * (offsets / sigma[:, None]) ** 2) * (offsets <= reach[:, 0])
    taps = (taps / (2 * one_side.sum(1) - 1)[:, None, None])[:, None]
    return taps @ images @ taps


def holes(images: Tensor, alpha: Tensor) -> Tensor:
    """Unpainted (dark grey or black) regions."""
    rows, device = len(images), images.device
    field = _smooth_field(rows, images.shape[-1], 5, 9, device)
    hole = (field > _uniform(rows, 0.58, 0.72, device)).float() * alpha
    return images * (1 - hole) + hole * _uniform(rows, 0.0, 0.15, device)


def seams(images: Tensor, alpha: Tensor) -> Tensor:
    """A region with shifted texture and another tone, behind a hard border, as between badly joined views."""
    rows, device = len(images), images.device
    line = torch.linspace(-1, 1, images.shape[-1], device=device)
    y, x = line[:, None], line[None]
    angle = _uniform(rows, 0, 6.283, device)
    bend = 0.15 * torch.sin(_uniform(rows, 2, 5, device) * x)
    side = torch.cos(angle) * x + torch.sin(angle) * y + bend
    region = (side > _uniform(rows, -0.2, 0.2, device)).float() * alpha
    down, right = (_whole(rows, 4, 10, device) * (2 * _whole(rows, 0, 2, device) - 1) for _ in "yx")
    tone, lift = _uniform(rows, 0.7, 0.9, device), _uniform(rows, -0.05, 0.12, device)
    moved = rolled(images, down, right) * tone + lift
    inside = region * rolled(alpha, down, right)
    return images * (1 - inside) + moved * inside


def blur(images: Tensor, alpha: Tensor) -> Tensor:
    """Everything inside the silhouette loses its detail."""
    sigma = _uniform(len(images), 2.0, 4.0, images.device)[:, 0, 0, 0]
    inside = smoothed(images * alpha, sigma) / smoothed(alpha, sigma).clamp_min(1e-3)
    return images * (1 - alpha) + inside * alpha


def noise(images: Tensor, alpha: Tensor) -> Tensor:
    """Grain."""
    grain = torch.randn_like(images) * _uniform(len(images), 0.10, 0.25, images.device)
    return (images + grain * alpha).clamp(0, 1)


def colour_bleed(images: Tensor, alpha: Tensor) -> Tensor:
    """A foreign colour spreads over a soft patch."""
    rows, device = len(images), images.device
    patch = _smooth_field(rows, images.shape[-1], 3, 5, device)
    patch = ((patch - 0.5) * 4).clamp(0, 1) * alpha * _uniform(rows, 0.6, 1.0, device)
    return images * (1 - patch) + torch.rand(rows, 3, 1, 1, device=device) * patch


def banding(images: Tensor, alpha: Tensor) -> Tensor:
    """Bands of changed brightness run across the object."""
    rows, device = len(images), images.device
    line = torch.arange(images.shape[-1], device=device).float()
    angle = _uniform(rows, 0, 3.1416, device)
    phase = (line[None] * torch.cos(angle) + line[:, None] * torch.sin(angle)) / _uniform(rows, 5, 9, device)
    dark = (phase.floor().remainder(2) == 0).float()
    return images * (1 - _uniform(rows, 0.25, 0.5, device) * dark * alpha)


def washed_out(images: Tensor, alpha: Tensor) -> Tensor:
    """Contrast and saturation are lost."""
    keep = _uniform(len(images), 0.15, 0.4, images.device)
    return images * (1 - alpha) + (0.5 + keep * (images - 0.5)) * alpha


DEFECTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "holes": holes,
    "seams": seams,
    "blur": blur,
    "noise": noise,
    "colour bleed": colour_bleed,
    "banding": banding,
    "washed out": washed_out,
}

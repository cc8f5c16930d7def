"""CLIP's image preprocessing as a differentiable tensor operation.

Bicubic with antialiasing and clamped to [0, 1] comes closest to the PIL pipeline that the models were trained
with (mean deviation 0.1 to 0.3 of 1/255; without antialiasing, or bilinear, 3 to 10 times that).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Preprocessing:
    """Side of the square input in pixels, and the mean and deviation of each channel in [0, 1]."""

    size: int = 224
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD


def parse_preprocessing(config: dict, where: str = "preprocessor_config.json") -> Preprocessing:
    """Reads the fields of a transformers image-processor file; ValueError names a field that is missing."""
    config = config.get("image_processor", config)  # processor_config.json nests it
    for field in ("image_mean", "image_std"):
        if len(config.get(field) or ()) != 3:
            raise ValueError(f"{where}: field {field!r} must be a list of three numbers.")
    side = config.get("crop_size") or config.get("size")
    if isinstance(side, dict):
        side = side.get("shortest_edge") or side.get("height")
    if not isinstance(side, int) or side <= 0:
        raise ValueError(f"{where}: neither 'crop_size' nor 'size' gives the side of the input in pixels.")
    return Preprocessing(side, tuple(config["image_mean"]), tuple(config["image_std"]))


def read_preprocessing(folder: str | Path) -> Preprocessing:
    """Settings of a model, from `preprocessor_config.json`, or `processor_config.json` (newer)."""
    for name in ("preprocessor_config.json", "processor_config.json"):
        path = Path(folder) / name
        if path.is_file():
            return parse_preprocessing(json.loads(path.read_text()), str(path))
    raise FileNotFoundError(
        f"{folder}: no preprocessor_config.json, so the size and mean of its input are unknown."
    )


def preprocess(images: Tensor, settings: Preprocessing, eight_bit: bool = False) -> Tensor:
    """`images [B, 3, H, W] in [0, 1]` -> normalised `[B, 3, size, size]` float32, differentiable.

    The shortest side becomes `size`, the middle is cropped. eight_bit rounds to 1/255 before and after
    resizing, as the PIL pipeline does; the gradient passes straight through the rounding.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {list(images.shape)}; expected [B, 3, H, W].")
    images = images.float().clamp(0, 1)
    if eight_bit:
        images = round_straight_through(images)
    images = centre_crop(resize_shortest(images, settings.size), settings.size)
    if eight_bit:
        images = round_straight_through(images)
    mean = torch.tensor(settings.mean, device=images.device)[:, None, None]
    std = torch.tensor(settings.std, device=images.device)[:, None, None]
    return (images - mean) / std


def resize_shortest(images: Tensor, size: int) -> Tensor:
    """Shortest side becomes `size` pixels; bicubic overshoot is clamped to [0, 1], as PIL does."""
    height, width = images.shape[-2:]
    if min(height, width) == size:
        return images
    if height <= width:
        target = (size, int(size * width / height))
    else:
        target = (int(size * height / width), size)
    resized = F.interpolate(images, size=target, mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 1)


def centre_crop(images: Tensor, size: int) -> Tensor:
    """The middle `size x size` pixels of images at least that large."""
    top = (images.shape[-2] - size) // 2
    left = (images.shape[-1] - size) // 2
    return images[..., top : top + size, left : left + size]


def round_straight_through(images: Tensor) -> Tensor:
    """Rounds to multiples of 1/255; the derivative is that of the identity."""
    return images + ((images.detach() * 255).round() / 255 - images.detach())

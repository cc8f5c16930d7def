"""Image preprocessing of all scorers as one differentiable tensor operation.

The models were trained with PIL, which resizes along the width, then along the height, bicubic with
antialiasing, and brings the result into 8 bits each time. The same here, in floats and with a gradient:
clamped after each pass, and rounded after each where scores shall be those of the 8-bit pipeline. That is
within 2/255 of PIL at any edge, nearly everywhere equal; clamped after the last pass only, edges are off by
up to 11/255, and without antialiasing by up to 124/255.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


# How an image that is not square becomes square, each as one official package does it:
# "crop": shortest side to the size, middle cropped as transformers does (odd margins rounded down);
# "crop-even": the same as OpenAI's CLIP and ImageReward (half a pixel is rounded to even);
# "pad": longest side to the size, black around it, as HPSv2 does.
Fit = Literal["crop", "crop-even", "pad"]


@dataclass(frozen=True)
class Preprocessing:
    """Side of the square input in pixels, mean and deviation of each channel in [0, 1], and the geometry.

    resample: "pil" clamps what bicubic overshoots, and rounds to 8 bits where rounding is asked for; "tensor"
    does neither, as HPSv2, which resizes floats.
    """

    size: int = 224
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    fit: Fit = "crop"
    resample: Literal["pil", "tensor"] = "pil"


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

    eight_bit rounds to 1/255 before resizing, and after it where the official pipeline does; the gradient
    passes straight through the rounding.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {list(images.shape)}; expected [B, 3, H, W].")
    images = images.float().clamp(0, 1)
    if eight_bit:
        images = round_straight_through(images)
    finish = _finish(settings.resample, eight_bit)
    if settings.fit == "pad":
        images = pad_square(resize_longest(images, settings.size, finish), settings.size)
    else:
        even = settings.fit == "crop-even"
        images = centre_crop(resize_shortest(images, settings.size, finish), settings.size, even)
    mean = torch.tensor(settings.mean, device=images.device)[:, None, None]
    std = torch.tensor(settings.std, device=images.device)[:, None, None]
    return (images - mean) / std


def _finish(resample: str, eight_bit: bool) -> Callable[[Tensor], Tensor]:
    """What is done to the result of each pass of a resize."""
    if resample == "tensor":
        return lambda images: images
    if eight_bit:
        return lambda images: round_straight_through(images.clamp(0, 1))
    return lambda images: images.clamp(0, 1)


def resize_shortest(images: Tensor, size: int, finish: Callable[[Tensor], Tensor]) -> Tensor:
    """Shortest side becomes `size` pixels, the other is rounded down."""
    height, width = images.shape[-2:]
    if height <= width:
        return resize(images, (size, int(size * width / height)), finish)
    return resize(images, (int(size * height / width), size), finish)


def resize_longest(images: Tensor, size: int, finish: Callable[[Tensor], Tensor]) -> Tensor:
    """Longest side becomes `size` pixels, the other is rounded, at least one pixel."""
    height, width = images.shape[-2:]
    scale = size / max(height, width)
    return resize(images, (max(1, round(height * scale)), max(1, round(width * scale))), finish)


def resize(images: Tensor, target: tuple[int, int], finish: Callable[[Tensor], Tensor]) -> Tensor:
    """Bicubic with antialiasing to (height, width): along the width, then along the height, each finished."""
    for size in ((images.shape[-2], target[1]), target):
        if tuple(images.shape[-2:]) != size:
            images = finish(
                F.interpolate(images, size=size, mode="bicubic", align_corners=False, antialias=True)
            )
    return images


def centre_crop(images: Tensor, size: int, even: bool = False) -> Tensor:
    """The middle `size x size` pixels of images at least that large; even: half pixels round to even."""
    top, left = ((side - size) / 2 for side in images.shape[-2:])
    top, left = (round(top), round(left)) if even else (int(top), int(left))
    return images[..., top : top + size, left : left + size]


def pad_square(images: Tensor, size: int) -> Tensor:
    """Black around images no larger than `size`, the odd pixel at the right and the bottom."""
    down, across = (size - side for side in images.shape[-2:])
    return F.pad(images, (across // 2, across - across // 2, down // 2, down - down // 2))


def round_straight_through(images: Tensor) -> Tensor:
    """Rounds to multiples of 1/255; the derivative is that of the identity."""
    return images + ((images.detach() * 255).round() / 255 - images.detach())

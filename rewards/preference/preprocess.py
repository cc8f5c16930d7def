"""Image preprocessing of all scorers as one differentiable tensor operation.

The models were trained with PIL, which resizes along the width, then along the height, bicubic with
antialiasing, and brings the result into 8 bits each time. The same here, in floats and with a gradient,
clamped after each pass: within 2/255 of PIL at any edge, nearly everywhere equal; clamped after the last pass
only, edges are off by up to 11/255, and without antialiasing by up to 124/255. Where scores shall be those of
the 8-bit pipeline, PIL itself computes the values (on a GPU, what equals it to the bit), which is faster than
floats too, and floats the gradient.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from rewards.preference.pil_resize import resize_on_device

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

    resample: "pil" clamps what bicubic overshoots, and is PIL's own where 8 bits are asked for; "tensor" is
    neither, as HPSv2, which resizes floats.
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


# `[B, 3, H, W]` and (height, width) -> `[B, 3, height, width]`.
ResizeFunction = Callable[[Tensor, tuple[int, int]], Tensor]


def preprocess(images: Tensor, settings: Preprocessing, eight_bit: bool = False) -> Tensor:
    """`images [B, 3, H, W] in [0, 1]` -> normalised `[B, 3, size, size]` float32, differentiable.

    eight_bit rounds to 1/255 before resizing, and after it where the official pipeline does; the gradient
    passes straight through the rounding.
    """
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {list(images.shape)}; expected [B, 3, H, W].")
    if images.is_cpu and not (torch.is_grad_enabled() and images.requires_grad):
        # One by one: what is made of a batch of large images on the way leaves the processor's cache.
        return torch.cat(
            in_threads(lambda image: _prepare(image, settings, eight_bit), images.detach().split(1))
        )
    return _prepare(images, settings, eight_bit)


def _prepare(images: Tensor, settings: Preprocessing, eight_bit: bool) -> Tensor:
    images = images.float().clamp(0, 1)
    if eight_bit:
        images = round_straight_through(images)
    if settings.resample == "tensor":
        resize = interpolate
    else:
        resize = resize_bytes if eight_bit else resize_clamped
    if settings.fit == "pad":
        images = pad_square(resize_longest(images, settings.size, resize), settings.size)
    else:
        even = settings.fit == "crop-even"
        images = centre_crop(resize_shortest(images, settings.size, resize), settings.size, even)
    mean = torch.tensor(settings.mean, device=images.device)[:, None, None]
    std = torch.tensor(settings.std, device=images.device)[:, None, None]
    return (images - mean) / std


def resize_shortest(images: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    """Shortest side becomes `size` pixels, the other is rounded down."""
    height, width = images.shape[-2:]
    if height <= width:
        return resize(images, (size, int(size * width / height)))
    return resize(images, (int(size * height / width), size))


def resize_longest(images: Tensor, size: int, resize: ResizeFunction) -> Tensor:
    """Longest side becomes `size` pixels, the other is rounded, at least one pixel."""
    height, width = images.shape[-2:]
    scale = size / max(height, width)
    return resize(images, (max(1, round(height * scale)), max(1, round(width * scale))))


def interpolate(images: Tensor, target: tuple[int, int]) -> Tensor:
    """Bicubic with antialiasing to (height, width), in floats; overshoots [0, 1] at edges."""
    if tuple(images.shape[-2:]) == target:
        return images
    return F.interpolate(images, size=target, mode="bicubic", align_corners=False, antialias=True)


def resize_clamped(images: Tensor, target: tuple[int, int]) -> Tensor:
    """Bicubic with antialiasing to (height, width): along the width, then along the height, each clamped."""
    for size in ((images.shape[-2], target[1]), target):
        images = interpolate(images, size).clamp(0, 1)
    return images


def resize_bytes(images: Tensor, target: tuple[int, int]) -> Tensor:
    """PIL's resize of images in multiples of 1/255; the gradient is that of `resize_clamped`."""
    if tuple(images.shape[-2:]) == target:
        return images
    pixels = (images.detach() * 255).round()
    if images.is_cuda:
        exact = resize_on_device(pixels, target).float() / 255
    else:
        arrays = pixels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        resized = np.stack(in_threads(lambda each: _resize_by_pil(each, target), list(arrays)))
        exact = torch.from_numpy(resized).to(images.device).permute(0, 3, 1, 2).float() / 255
    if not (torch.is_grad_enabled() and images.requires_grad):
        return exact
    smooth = resize_clamped(images, target)
    return smooth + (exact - smooth.detach())


def _resize_by_pil(pixels: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """`[H, W, 3]` -> `[height, width, 3]`, uint8."""
    return np.asarray(Image.fromarray(pixels).resize(target[::-1], Image.Resampling.BICUBIC))


def in_threads(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """The function of every item, in order, on as many threads as torch may use.

    PIL and torch leave Python's lock while they compute.
    """
    threads = min(torch.get_num_threads(), len(items))
    if threads <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))


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
    rounded = (images.detach() * 255).round_().div_(255)
    if not (torch.is_grad_enabled() and images.requires_grad):
        return rounded
    return images + (rounded - images.detach())

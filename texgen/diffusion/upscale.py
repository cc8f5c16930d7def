"""Super-resolution of denoised views, an option: the paper's release enlarges them by Real-ESRGAN.

Needs the package spandrel (`pip install texreward[upscale]`), which reads the published checkpoints without
unpickling code, and a file of weights; neither is part of the default installation.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texgen.errors import PlainError, package_trouble


class UpscalerError(PlainError):
    """An upscaler that cannot be used; one sentence."""


@lru_cache(maxsize=1)
def load_upscaler(path: str, device: str) -> Any:
    """The network of a checkpoint, frozen, on a device: [B, 3, H, W] in [0, 1] -> [B, 3, s H, s W].

    Raises UpscalerError without the package, without the file, and for a file that holds no upscaler.
    """
    try:
        from spandrel import ModelLoader
    except ImportError as error:
        raise UpscalerError(
            f"The preset names an upscaler, but {package_trouble('spandrel', error)}; run pip install "
            '"texreward[upscale]" or set upscaler to "".'
        ) from error
    if not Path(path).is_file():
        raise UpscalerError(
            f"upscaler: there is no file {path}; download a Real-ESRGAN checkpoint, e.g. "
            "RealESRGAN_x2plus.pth, to it."
        )
    try:
        model = ModelLoader(device=torch.device(device)).load_from_file(path)
    except Exception as error:  # each format has errors of its own
        raise UpscalerError(f"upscaler: {path} holds no network that can be read ({error}).") from error
    return model.eval()


@torch.no_grad()
def upscale(images: Tensor, path: str) -> Tensor:
    """Images [B, 3, H, W] in [0, 1], enlarged by the checkpoint's factor; of the same type and device."""
    model = load_upscaler(path, str(images.device))
    return model(images.float()).clamp(0, 1).to(images.dtype)

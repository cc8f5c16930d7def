"""The published reward functions, run from a checkout of the paper's release that you cloned yourself.

Nothing of them is copied here: the module is loaded from the checkout as it is, with stand-ins for the
packages that it imports and does not need for its numbers. It judges whole pictures, padding included; to
compare formulas on the same texels, its convolution is answered with the published kernel's values at the
judged texels, and everything else it computes from those.
"""

from __future__ import annotations

import importlib
import os
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F

VARIABLE = "TEXREWARD_PUBLISHED"


def checkout() -> Path | None:
    """Folder of the checkout, from the environment; None where the variable is not set."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else None


def rgb_to_grayscale(image, num_output_channels=1):
    """torchvision's luma of [B, 3, H, W], with its rounded weights."""
    weights = image.new_tensor([0.2989, 0.587, 0.114])[:, None, None]
    return (image * weights).sum(1, keepdim=True)


def load(folder: Path) -> types.ModuleType:
    """The release's module of rewards."""
    functional = types.ModuleType("torchvision.transforms.functional")
    functional.rgb_to_grayscale = rgb_to_grayscale
    transforms = types.ModuleType("torchvision.transforms")
    transforms.functional = functional
    torchvision = types.ModuleType("torchvision")
    torchvision.transforms = transforms
    stand_ins = {
        "kiui": types.ModuleType("kiui"),
        "torchvision": torchvision,
        "torchvision.transforms": transforms,
        "torchvision.transforms.functional": functional,
    }
    before = {name: sys.modules.get(name) for name in (*stand_ins, "rewards", "Configuration")}
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "rewards"}
    for name in ours:
        del sys.modules[name]
    sys.modules.update(stand_ins)
    paths = [str(folder), str(folder / "Scripts")]
    sys.path[:0] = paths
    try:
        module = importlib.import_module("rewards")
        module.texpref_config["save_freq"] = 10**9  # it draws a picture of every step otherwise
        # Closures import these when they are made, so they are made while the stand-ins are there.
        made = {
            name: getattr(module, name)()
            for name in (
                "curvature_score_mse",
                "curvature_score_smooth",
                "curvature_score_sharp",
                "mean_curvature_texture_alignment_reward",
                "minimum_curvature_texture_alignment_reward",
                "symmetry_score",
            )
        }
    finally:
        for path in paths:
            sys.path.remove(path)
        for name in [name for name in sys.modules if name.split(".")[0] in ("rewards", "Configuration")]:
            del sys.modules[name]
        for name, known in before.items():
            if known is not None:
                sys.modules[name] = known
            else:
                sys.modules.pop(name, None)
        sys.modules.update(ours)
    module.made = made
    return module


def picture(texture: torch.Tensor) -> torch.Tensor:
    """[3, T, T] with row 0 at v = 0 -> [T, T, 3] with row 0 at v = 1, as the release stores textures."""
    return texture.flip(1).permute(1, 2, 0)


class Convolution:
    """torch.nn.functional for the published module, whose conv2d answers at the judged texels alone.

    texture: [3, T, T]; inside: [T, T] bool. The kernel is the module's own, the picture is the release's.
    """

    def __init__(self, texture: torch.Tensor, inside: torch.Tensor) -> None:
        self.whole = rgb_to_grayscale(picture(texture).permute(2, 0, 1)[None])
        self.judged = inside.flip(0)

    def __getattr__(self, name: str):
        return getattr(F, name)

    def conv2d(self, image, kernel, padding):
        if image.shape[-2] != 1 or image.shape[1] != 1:  # the emphasis' texels come as one row
            return F.conv2d(image, kernel, padding=padding)
        values = F.conv2d(self.whole.to(image.dtype), kernel.to(image.dtype), padding=padding)
        return values[0, 0][self.judged][None, None, None]


@contextmanager
def answering(module: types.ModuleType, convolution: Convolution) -> Iterator[None]:
    """While the block runs, the module convolves by the stand-in."""
    module.F = convolution
    try:
        yield
    finally:
        module.F = F


def texels(texture: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """The judged texels as one row, [1, N, 3], in the order of `Convolution`."""
    return picture(texture)[inside.flip(0)][None]


def published_uv(uv: torch.Tensor, size: int) -> torch.Tensor:
    """uv [N, 2] of ours -> those at which the release looks, whose texel centres lie at the texture's edge
    and whose rows run down, reads the same place."""
    place = (uv.double() * size - 0.5) / (size - 1)
    return torch.stack([place[:, 0], 1 - place[:, 1]], dim=-1)

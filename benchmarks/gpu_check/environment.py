"""What the check runs on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

PACKAGES = ("torch", "diffusers", "transformers", "peft", "warp-lang", "numpy", "nvdiffrast")
OLDEST_TORCH = (2, 11)


def versions(device: torch.device) -> dict[str, Any]:
    """Device, driver and packages. The check is met with torch 2.11 or newer."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    cuda = device.type == "cuda"
    found["device"] = torch.cuda.get_device_name(device) if cuda else "CPU"
    found["memory_gb"] = torch.cuda.get_device_properties(device).total_memory / 1e9 if cuda else None
    numbers = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    return found | {"checks": {"torch 2.11 or newer": numbers >= OLDEST_TORCH}}

"""Generation cameras as parameters: offsets in azimuth and elevation that are trained beside the adapter."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import Parameter

from texgen.errors import DamagedFileError, PlainError
from texgen.render.cameras import Cameras
from texgen.storage.files import read_bytes, write_text

FILE_NAME = "cameras.json"
HIGHEST = 89.0  # degrees of elevation; at the pole azimuth means nothing


@dataclass(frozen=True)
class CameraRates:
    """Learning rates of the two angles, degrees per step while Adam starts; how far cameras may move."""

    azimuth: float = 1.0
    elevation: float = 1.0
    limit: float = 30.0

    def __post_init__(self) -> None:
        if min(self.azimuth, self.elevation) < 0 or not self.limit > 0:
            raise ValueError("camera learning rates must not be negative, and their limit must be positive.")


class LearnedCameras:
    """Offsets from the cameras of a rig, [V] degrees each, kept within +-limit and below the poles."""

    def __init__(self, rig: Cameras, rates: CameraRates) -> None:
        self.rig, self.rates = rig, rates
        zero = torch.zeros_like(rig.azimuth.detach())
        self.azimuth, self.elevation = Parameter(zero.clone()), Parameter(zero.clone())

    @property
    def parameters(self) -> list[Parameter]:
        return [self.azimuth, self.elevation]

    def groups(self) -> list[dict]:
        """Groups for the optimiser: own rates, no decay (it would pull cameras back to the rig)."""
        return [
            {"params": [self.azimuth], "lr": self.rates.azimuth, "weight_decay": 0.0},
            {"params": [self.elevation], "lr": self.rates.elevation, "weight_decay": 0.0},
        ]

    def cameras(self) -> Cameras:
        """The present cameras, differentiable in the offsets."""
        rig = self.rig
        return Cameras(
            rig.azimuth + self.azimuth,
            rig.elevation + self.elevation,
            rig.distance,
            rig.fov_y,
            rig.near,
            rig.far,
        )

    def clamp(self) -> None:
        """Puts offsets back into their bounds after an optimiser step; inside, gradients stay whole."""
        limit = self.rates.limit
        with torch.no_grad():
            self.azimuth.clamp_(-limit, limit)
            self.elevation.clamp_(-limit, limit)
            # A rig's own camera may be nearer to the pole; then its offset only leads away from it.
            high = (HIGHEST - self.rig.elevation).clamp_min(0.0)
            low = (-HIGHEST - self.rig.elevation).clamp_max(0.0)
            self.elevation.copy_(torch.minimum(torch.maximum(self.elevation, low), high))


def save_cameras(folder: str | Path, cameras: Cameras) -> Path:
    """Writes `folder/cameras.json`: angles and field of view in degrees, distance in world units, one entry
    per camera in painting order."""
    path = Path(folder) / FILE_NAME

    def numbers(tensor: Tensor) -> list[float]:
        return [float(value) for value in tensor.detach().cpu()]

    content = {
        "azimuth": numbers(cameras.azimuth),
        "elevation": numbers(cameras.elevation),
        "distance": numbers(cameras.distance),
        "fov_y": numbers(cameras.fov_y),
    }
    write_text(path, json.dumps(content, indent=2) + "\n")
    return path


def load_cameras(folder: str | Path) -> Cameras | None:
    """The cameras stored in a folder, or None where there are none. Raises DamagedFileError."""
    path = Path(folder) / FILE_NAME
    try:
        content = json.loads(read_bytes(path))
        parts = [content[name] for name in ("azimuth", "elevation", "distance", "fov_y")]
        if not all(isinstance(part, list) and part and all(map(_finite, part)) for part in parts):
            raise ValueError("its entries must be lists of numbers")
        return Cameras.orbit(*parts)
    except FileNotFoundError:
        return None
    except PlainError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise DamagedFileError(f"{path}: not a file of cameras ({error}); train the model again.") from None


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

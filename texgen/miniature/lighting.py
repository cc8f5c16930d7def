"""The soft light of a part of the training images; all others show the bare colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def soft_light(normals: Tensor, eye: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness ``[P]`` in (0, 1] of surface points under one large lamp near the camera.

    Ambient light plus wrapped Lambert, ``(n.l + w) / (1 + w)``, which reaches beyond the terminator as light
    from a large source does.

    Args:
        normals: ``[P, 3]`` unit world-space normals; eye: ``[3]`` unit direction to the camera.
    """
    random = torch.rand(5, generator=generator)
    lamp = F.normalize(eye + 0.9 * (2 * random[:3] - 1) + torch.tensor([0.0, 0.3, 0.0]), dim=0)
    ambient, wrap = 0.25 + 0.15 * random[3], 0.2 + 0.3 * random[4]
    lambert = ((normals @ lamp + wrap) / (1 + wrap)).clamp(0, 1)
    return ambient + (1 - ambient) * lambert

"""Random numbers that depend on what is drawn for, never on when or where it is drawn."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def stable_seed(*parts: object) -> int:
    """A seed in [0, 2^63) from the `repr` of the parts, equal in every process, machine and Python version.

    The parts are usually (seed, the mesh's shape, prompt, method name, purpose): anything whose `repr` is
    its value.
    """
    joined = "\x1f".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.sha256(joined.encode("utf-8")).digest()[:8], "big") >> 1


def generator(*parts: object) -> torch.Generator:
    """A CPU generator seeded by `stable_seed(*parts)`.

    Always on the CPU: a CUDA generator draws other numbers from the same seed, and results should not depend
    on the device.
    """
    return torch.Generator(device="cpu").manual_seed(stable_seed(*parts))


def sent(values: Tensor, device: torch.device) -> Tensor:
    """Numbers drawn on the CPU, on a device; the host does not wait until a GPU has finished its work."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)

"""In which precision a scorer's networks compute. Heads and products of embeddings are float32 always."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["float32", "tf32", "float16"]
"""float32: exact. tf32: float32 whose products are rounded to 10 bits on a GPU that can; the same as float32
elsewhere. float16: weights and activations in 16 bits. docs/scorers.md says by how much scores differ."""


def network_dtype(precision: Precision) -> torch.dtype:
    """The type of weights and activations. Raises ValueError for an unknown precision."""
    if precision not in ("float32", "tf32", "float16"):
        raise ValueError(f"precision is {precision!r}; it must be float32, tf32 or float16.")
    return torch.float16 if precision == "float16" else torch.float32


@contextmanager
def computing(precision: Precision, device: torch.device) -> Iterator[None]:
    """Networks inside the context compute in a precision, whatever the caller has chosen for its own.

    The caller's autocast would make the gradient of a reward noisy; TF32, which is on for convolutions unless
    someone turns it off, would make a score depend on the card.
    """
    with torch.autocast(device.type, enabled=False):
        if device.type != "cuda":
            yield
            return
        fast, before = precision == "tf32", torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = fast
        try:
            with torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, allow_tf32=fast):
                yield
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before

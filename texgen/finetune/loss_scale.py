"""Loss scaling: gradients of a network in half precision, carried where float16 can hold them.

float16 ends at 6e-8. The gradient of a mean over a texture reaches a Stable Diffusion size UNet smaller than
that: without a scale 86 % of the adapter's gradient was 0 and the rest pointed elsewhere (cosine 0.47 to
float32; with 1,024, 0.996; `make gpu-check` measures it). bfloat16 and float32 need no scale. Unlike
`torch.amp.GradScaler` a step that overflows is not left out but taken again, so that a run does as many steps
as it was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch.nn import Parameter

FIRST, MOST = 1024.0, 65536.0
GROWS_AFTER = 50
"""Steps without overflow after which the scale is doubled."""


@dataclass
class LossScale:
    """A power of two by which losses are multiplied, and how many steps it has held.

    Attributes:
        value: the scale; 1 where none is needed. A power of two changes no digit of a gradient.
        steps: since it was changed.
        moves: whether it is adapted.
    """

    value: float
    steps: int = 0
    moves: bool = True

    @classmethod
    def of(cls, dtype: torch.dtype) -> LossScale:
        """The scale that a backbone of this number format begins with."""
        half = dtype == torch.float16
        return cls(FIRST if half else 1.0, moves=half)

    def backward(self, run: Callable[[float], None], parameters: Sequence[Parameter]) -> None:
        """Let ``run(scale)`` add gradients of a loss times the scale to the parameters, and take the scale
        out again; with half the scale from the beginning where they are not finite.

        What is left not finite, with a scale of 1 or of a format that needs none, is for the caller to find.
        """
        while True:
            for parameter in parameters:
                parameter.grad = None
            run(self.value)
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            norms = torch.stack([gradient.norm() for gradient in gradients]) if gradients else torch.zeros(1)
            if self.value > 1 and not math.isfinite(float(norms.sum())):
                self.value, self.steps = self.value / 2, 0
                continue
            if self.value != 1:
                torch._foreach_mul_(gradients, 1 / self.value)
            self._held()
            return

    def _held(self) -> None:
        self.steps += 1
        if self.moves and self.steps >= GROWS_AFTER and self.value < MOST:
            self.value, self.steps = self.value * 2, 0

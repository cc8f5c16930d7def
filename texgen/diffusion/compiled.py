"""Blocks of the networks compiled by torch: one kernel in the place of several, no copies between layouts.

Of the 14 ms that a full-size prediction's kernels took on an H200, some 5 were group norms, sums, activations
and copies between channels-first and channels-last memory, which a compiler fuses. Blocks are compiled, not
networks: many are alike, so that it takes a fraction of the time, and adapters inside of them may change.
Results differ from those of plain blocks by rounding. What is evaluated with gradients runs the plain blocks:
on an H100 those of one training step were not compiled after 200 seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch._dynamo
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

BLOCKS = (ResnetBlock2D, Transformer2DModel)

# torch gives up on a function after 8 variants; these blocks have one for every width and resolution, times
# the states of an adapter.
VARIANTS = 256


def compile_blocks(nets: Iterable[nn.Module], backend: str | Callable[..., Any] = "inductor") -> int:
    """Have residual and transformer blocks of networks compiled when they are first run without gradients.

    backend: of torch.compile. Returns how many blocks there are. The first evaluation at a size takes minutes
    on a full-size network.
    """
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, VARIANTS)
    limits.accumulated_recompile_limit = max(limits.accumulated_recompile_limit, 8 * VARIANTS)
    count = 0
    for net in nets:
        for module in net.modules():
            if isinstance(module, BLOCKS):
                compiled = torch.compile(module._call_impl, dynamic=False, backend=backend)
                module._compiled_call_impl = _without_gradients(compiled, module._call_impl)
                count += 1
    return count


def _without_gradients(compiled: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled call where no gradients are recorded, else the plain one."""

    def call(*inputs: Any, **options: Any) -> Any:
        return (plain if torch.is_grad_enabled() else compiled)(*inputs, **options)

    return call

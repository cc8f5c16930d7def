"""Blocks of the networks compiled by torch: one kernel in the place of several, no copies between layouts.

Of the 14 ms that a full-size prediction's kernels took on an H200, some 5 were group norms, sums, activations
and copies between channels-first and channels-last memory, which a compiler fuses. Blocks are compiled, not
networks: many are alike, so that it takes a fraction of the time, and adapters inside of them may change.
Results differ from those of plain blocks by rounding.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch._dynamo
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

BLOCKS = (ResnetBlock2D, Transformer2DModel)

# torch gives up on a function after 8 variants; these blocks have one for every width and resolution, times
# two with gradients, times the states of an adapter.
VARIANTS = 256


def compile_blocks(nets: Iterable[nn.Module], backend: str = "inductor") -> int:
    """Have every residual and transformer block of some networks compiled when it is first run.

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
                module.compile(dynamic=False, backend=backend)
                count += 1
    return count

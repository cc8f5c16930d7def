"""Gradients by replay: run something without a graph, run it again with one when the gradient arrives.

Unlike `torch.utils.checkpoint` the first run may differ from the second in how it comes by its result. That
is how a view can be replayed without its denoiser: the latents after every step are remembered, and each step
is evaluated again only when the backward pass reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Run = Callable[..., tuple[Tensor, ...]]


def replayed(
    first: Run, again: Run, inputs: Sequence[Tensor], parameters: Sequence[Tensor], carries: Sequence[bool]
) -> tuple[Tensor, ...]:
    """The values of `first(*inputs)` with the gradient of `again(*inputs)`; both must give the same values.

    parameters: leaves that `again` uses besides its inputs and that want a gradient. carries: for every
    output, whether it depends on anything that a gradient is wanted for. What the two functions use besides
    inputs and parameters counts as constant. Memory between the runs: inputs and outputs.
    """
    return _Replayed.apply(first, again, tuple(carries), len(inputs), *inputs, *parameters)


class _Replayed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Run, again: Run, carries: tuple[bool, ...], count: int, *tensors: Tensor):
        ctx.set_materialize_grads(False)
        ctx.again, ctx.carries, ctx.count, ctx.parameters = again, carries, count, tensors[count:]
        ctx.save_for_backward(*tensors[:count])
        outputs = tuple(output.detach() for output in first(*(each.detach() for each in tensors[:count])))
        ctx.mark_non_differentiable(
            *(output for output, carried in zip(outputs, carries, strict=True) if not carried)
        )
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None):
        wanted = ctx.needs_input_grad[4:]
        inputs = tuple(
            tensor.detach().requires_grad_(want)
            for tensor, want in zip(ctx.saved_tensors, wanted[: ctx.count], strict=True)
        )
        with torch.enable_grad():
            outputs = ctx.again(*inputs)
        heads = [
            (output, gradient)
            for output, gradient, carried in zip(outputs, gradients, ctx.carries, strict=True)
            if carried and gradient is not None and output.requires_grad
        ]
        sources = [each for each, want in zip((*inputs, *ctx.parameters), wanted, strict=True) if want]
        found: list[Tensor | None] = [None] * len(sources)
        if heads:
            found = list(
                torch.autograd.grad(
                    [output for output, _ in heads],
                    sources,
                    [gradient for _, gradient in heads],
                    allow_unused=True,
                )
            )
        remaining = iter(found)
        return (None, None, None, None, *(next(remaining) if want else None for want in wanted))

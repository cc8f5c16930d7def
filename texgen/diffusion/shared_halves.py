"""The layers before the first attention, computed once for both halves of a guidance pair.

The halves of a pair differ in their text alone, which attention brings in: a first convolution and leading
blocks without attention give the same twice. On a GPU the whole prediction is one captured graph, and this is
not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


@contextmanager
def computed_once(net: nn.Module, x: Tensor, halves: int) -> Iterator[None]:
    """Inside the context a UNet or ControlNet may be called with a batch of `halves` equal parts, such as x.

    Differentiable. It does nothing for one half, on a GPU, for compiled networks, and where a checkpoint
    may run parts of the network again after the context.
    """
    again = "forward" in net.__dict__ or (torch.is_grad_enabled() and net.is_gradient_checkpointing)
    layers = shared_layers(net) if halves > 1 and x.device.type == "cpu" and not again else []
    try:
        for layer in layers:
            # An attribute of the instance, found before the class's: hooks, names, weights stay as they are.
            layer.forward = _once(layer.forward, halves)
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def shared_layers(net: nn.Module) -> list[nn.Module]:
    """The first convolution and the blocks behind it that do not see the text; none in a compiled network."""
    found = [net.conv_in]
    for block in net.down_blocks:
        if getattr(block, "has_cross_attention", False) or getattr(block, "attentions", None):
            break
        found.append(block)
    compiled = any(getattr(layer, "_compiled_call_impl", None) for layer in found)
    return [] if compiled or any("forward" in layer.__dict__ for layer in found) else found


def _once(forward: Any, halves: int) -> Any:
    """The forward of a layer whose tensors hold `halves` equal parts, computed for the first and repeated."""

    def first(value: Any) -> Any:
        return value[: len(value) // halves] if isinstance(value, Tensor) else value

    def again(value: Any) -> Any:
        if isinstance(value, Tensor):
            return torch.cat([value] * halves)
        return type(value)(again(each) for each in value)

    def run(*values: Any, **named: Any) -> Any:
        done = forward(*map(first, values), **{name: first(value) for name, value in named.items()})
        return again(done)

    return run

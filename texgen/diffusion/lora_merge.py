"""Folding adapters into the weights of their layers, and taking them out to the bit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from texgen.diffusion.winograd import forget

Layers = Sequence[tuple[str, LoraLayer]]


def fold(unet: nn.Module, layers: Layers, adapter: str) -> None:
    """Add an adapter to the weights of its layers; the weights as they were are kept on the UNet.

    The sum is taken in the adapter's own precision (float32 at least) and rounded once. Weights change in
    place: captured graphs read them where they lie. Autograd is not told (`.data`): between `fold` and
    `unfold` nothing runs backward, and then they are what they were.
    """
    kept: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, layer in layers:
            weight = layer.get_base_layer().weight.data
            kept[name] = weight.clone()
            delta = layer.get_delta_weight(adapter)
            weight.copy_(weight.to(delta.dtype) + delta)
            forget(layer.get_base_layer())
            layer.merged_adapters.append(adapter)
    unet._folded_over = kept


def unfold(unet: nn.Module, layers: Layers, adapter: str) -> None:
    """Put back the weights that `fold` changed. (peft would subtract what was added, and leave its rounding
    behind.)"""
    kept = unet._folded_over
    with torch.no_grad():
        for name, layer in layers:
            layer.get_base_layer().weight.data.copy_(kept[name])
            forget(layer.get_base_layer())
            layer.merged_adapters.remove(adapter)
    del unet._folded_over


def is_folded(unet: nn.Module) -> bool:
    """Whether an adapter is folded into the UNet's weights."""
    return hasattr(unet, "_folded_over")

"""Ways to hold less of a scorer's activations: parts of a batch, and layers that are computed twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def in_parts(function: Callable[..., Tensor], max_batch: int | None, *tensors: Tensor) -> Tensor:
    """`function(*tensors)`, at most `max_batch` rows at a time; with gradient, each part under a checkpoint.

    Memory in training then does not grow with the number of views. None: all at once.
    """
    if max_batch is None or len(tensors[0]) <= max_batch:
        return function(*tensors)
    parts = zip(*(tensor.split(max_batch) for tensor in tensors), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([function(*part) for part in parts])
    return torch.cat([checkpoint(function, *part, use_reentrant=False) for part in parts])


def recompute_layers(layers: Iterable[nn.Module]) -> None:
    """Each layer keeps its input only and is computed again on the way back.

    transformers' own switch works in training mode only, in which dropout would be on.
    """
    for layer in layers:
        layer.forward = partial(_recomputed, layer.forward)


def _recomputed(forward: Callable, *arguments, **options):
    if not torch.is_grad_enabled():
        return forward(*arguments, **options)
    return checkpoint(forward, *arguments, use_reentrant=False, **options)

"""What a ControlNet makes of its image before the first layer, once per image and not once per step.

The image is the same at every denoising step and in both halves of a guidance pair; embedding it takes a
fifth of the miniature's ControlNet. On a GPU the whole prediction is one captured graph: this is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from diffusers import ControlNetModel
from torch import Tensor, nn
from torch.utils.weak import WeakIdKeyDictionary

# Image -> embedding layers -> (versions of the image and of the weights, embedding). They go with the image.
_kept: WeakIdKeyDictionary = WeakIdKeyDictionary()


@contextmanager
def embedded_once(net: ControlNetModel, image: Tensor) -> Iterator[None]:
    """Inside the context the ControlNet takes the embedding of `image` [B, C, H, W] for that of its argument.

    The argument may be the image several times over. Where a gradient is taken through it, and on a GPU, the
    context does nothing.
    """
    layers = net.controlnet_cond_embedding
    weights = list(layers.parameters())
    wanted = torch.is_grad_enabled() and (image.requires_grad or any(each.requires_grad for each in weights))
    if wanted or image.device.type != "cpu" or image.is_inference():
        yield
        return
    embedding = _embedding(layers, weights, image)
    # An attribute of the instance, found before the class's: hooks, names and weights stay as they are.
    layers.forward = lambda repeated: torch.cat([embedding] * (len(repeated) // len(embedding)))
    try:
        yield
    finally:
        del layers.forward


def _embedding(layers: nn.Module, weights: list[Tensor], image: Tensor) -> Tensor:
    known = _kept.setdefault(image, WeakKeyDictionary())
    state = (image._version, *((each.data_ptr(), each._version) for each in weights))
    if layers not in known or known[layers][0] != state:
        with torch.no_grad():
            known[layers] = (state, layers(image))
    return known[layers][1]

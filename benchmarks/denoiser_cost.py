"""Passes through a denoiser and the most memory that was in use, both measured from outside."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from texgen.diffusion.backbone import Backbone


@contextmanager
def counted(backbone: Backbone) -> Iterator[dict[str, int]]:
    """Counts passes through the denoiser, at the first layer of the UNet's last up block."""
    counts = {"forward": 0, "backward": 0}
    layer = backbone.unet.up_blocks[-1].resnets[0].conv1

    def on_forward(module, inputs, output):
        counts["forward"] += 1
        if output.requires_grad:

            def on_backward(gradient: Tensor) -> None:
                counts["backward"] += 1

            output.register_hook(on_backward)

    handle = layer.register_forward_hook(on_forward)
    try:
        yield counts
    finally:
        handle.remove()


def peak_memory(run: Callable[[], None], device: torch.device) -> int:
    """Most bytes that `run` had allocated at one time, above what was there before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with LiveBytes() as live:
        run()
    return live.peak


class LiveBytes(TorchDispatchMode):
    """Bytes of the storages that operators have returned inside the context and that are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.level = self.peak = 0
        self._known: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.is_view or func._schema.is_mutable:  # nothing new was allocated
            return result
        if isinstance(result, Tensor):
            self._follow(result.untyped_storage())
        elif isinstance(result, (tuple, list)):
            for each in result:
                if isinstance(each, Tensor):
                    self._follow(each.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known:
            return

        def freed(_: weakref.ref) -> None:
            del self._known[key]
            self.level -= size

        self._known[key] = weakref.ref(storage, freed)
        self.level += size
        self.peak = max(self.peak, self.level)

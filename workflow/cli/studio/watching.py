"""Watching a painting: pictures of its views while they are painted, and a way to stop it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from threading import Event
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from texgen.diffusion.sampler import denoise
from texgen.painting.views import Derivative

MOST_SIDE = 256


class StoppedByUser(Exception):
    """The person at the page asked for an end."""


class LiveWatcher:
    """A `texgen.painting.views.Gradient` that differentiates nothing and shows each view, half way and done.

    show: called with the view's position in the rig, a picture as a data: address, and whether it is done.
    """

    def __init__(self, show: Callable[[int, str, bool], None]) -> None:
        self.show = show

    def frozen(self) -> bool:
        """True: no adapter needs a gradient."""
        return True

    def view(self, run, inputs, parameters, fixed_geometry):
        """Paints a view as it is."""
        return run(*inputs)

    def denoise(self, backbone, scheduler, chain, latents, step, index):
        """Runs the sampler; what is decoded on the way is for the eye alone."""
        half = len(scheduler.timesteps) // 2

        def watched(backbone, scheduler, chain, latents, i):
            latents = step(backbone, scheduler, chain, latents, i)
            if i + 1 == half:
                self.show(index, data_uri(backbone.decode_latents(latents)[0]), False)
            return latents

        latents = denoise(backbone, scheduler, chain, latents, watched)
        self.show(index, data_uri(backbone.decode_latents(latents)[0]), True)
        return latents


def data_uri(image: Tensor) -> str:
    """A picture [3, H, W], nominally in [0, 1], as the address of a small JPEG."""
    values = image.detach().float().clamp(0, 1).mul(255).round().to(torch.uint8)
    picture = Image.fromarray(values.permute(1, 2, 0).cpu().numpy())
    picture.thumbnail((MOST_SIDE, MOST_SIDE))
    stream = BytesIO()
    picture.save(stream, format="JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def painted(
    method: Callable,
    mesh: Any,
    order: tuple[str, int],
    keep: Any,
    stop: Event,
    tell: Callable[[dict[str, Any]], None],
) -> Tensor:
    """The texture [3, T, T] that a method paints; order: prompt and seed. tell: gets an event for each step
    and each picture. Raises StoppedByUser soon after `stop` is set."""

    def progress(view: int, views: int, step: int, steps: int) -> None:
        if stop.is_set():
            raise StoppedByUser
        tell({"kind": "step", "view": view, "views": views, "step": step, "steps": steps})

    def show(index: int, picture: str, done: bool) -> None:
        tell({"kind": "view", "index": index, "picture": picture, "done": done})

    more = {} if keep is None else {"keep": keep}
    if hasattr(method, "paint"):  # the shared painter; others paint views in ways of their own
        with torch.no_grad():
            watched = Derivative(LiveWatcher(show))
            texture, _ = method.paint(mesh, *order, watched, progress=progress, **more)
        return texture.cpu()
    return method(mesh, *order, progress, **more).texture.cpu()

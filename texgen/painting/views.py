"""Painting one view: render what there is, decide what to generate, denoise, project back.

The texture state goes in and comes out; nothing is stored. The steps follow InTeX (arXiv 2403.11878) and the
differentiable generator of paper 2506.18331; a `Preset` says what differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from texgen.backprojection.trimap import Trimap, hard_trimap, soft_trimap
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import unzoom
from texgen.diffusion.sampler import Step, ViewDenoising, denoise, denoise_step
from texgen.diffusion.schedules import make_scheduler
from texgen.diffusion.upscale import upscale
from texgen.painting.accumulate import accumulate
from texgen.painting.chains import RenderedView, chain_of, draw
from texgen.painting.presets import Preset
from texgen.painting.state import TextureState, View, render_state

Progress = Callable[[int, int, int, int], None]
"""progress(view, views, step, steps): called after each denoising step; counts start at 1."""


class Gradient(Protocol):
    """How one differentiable painting keeps or rebuilds its graph (`texgen.finetune.differentiation`).

    view: paints a view, `run(*inputs)` -> a `TextureState`, or its tensors in order, of which only the
    colours carry a gradient where `fixed_geometry`. inputs: the tensors of a state, then any learned angles.
    denoise: runs the sampler of view `index` with `step`, a pure function. frozen: whether all evaluations of
    the painting itself, before any backward pass, are without gradient.
    """

    def frozen(self) -> bool: ...

    def view(
        self,
        run: Callable[..., tuple[Tensor, ...]],
        inputs: tuple[Tensor, ...],
        parameters: Sequence[Tensor],
        fixed_geometry: bool,
    ) -> tuple[Tensor, ...]: ...

    def denoise(
        self,
        backbone: Backbone,
        scheduler: SchedulerMixin,
        chain: ViewDenoising,
        latents: Tensor,
        step: Step,
        index: int,
    ) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Derivative:
    """How a painting is differentiated, and what its derivative leaves out.

    gradient: how graphs are kept or rebuilt, one object for one painting; None = plain autograd. soft: the
    soft trimap, for training.

    detach_conditioning: True cuts the derivative of a view with respect to earlier colours where they enter
    the diffusion model: the rgb channels of the control image and the encoded known latents. Attached stay:
    the colours that are pasted into kept pixels, the accumulated sums, counts and cosines (the trimap), and
    all dependence on the cameras. False keeps the whole derivative. Constants in either case: which pixels
    are shown as known, which face and texel is visible, the crop, the direction word, whether the view is
    skipped.
    """

    gradient: Gradient | None = None
    soft: bool = False
    detach_conditioning: bool = True


PLAIN = Derivative()
"""Plain autograd, the hard trimap, the conditioning cut."""


@dataclass(frozen=True, eq=False)
class Brief:
    """What a view is to show. text: [2, L, D], unconditional first. seed: everything that the noise depends
    on besides the view and its purpose.
    """

    text: Tensor
    seed: tuple[object, ...]


def paint_view(
    backbone: Backbone,
    preset: Preset,
    view: View,
    state: TextureState,
    brief: Brief,
    derivative: Derivative = PLAIN,
    on_step: Callable[[int, int], None] | None = None,
) -> tuple[TextureState, dict[str, float | bool]]:
    """Paint one view: texture state in, texture state out, and the fractions of the trimap.

    The same arguments give the same result, also when the view is computed again for a checkpointed gradient.
    on_step(step, steps) is called after each denoising step; counts start at 1. A view without a pixel to
    generate returns its state as it came.
    """
    rgb, count, best = render_state(view, state, preset.background, preset.pin_background)
    cosine = view.buffer.cosine
    if derivative.soft:
        trimap = soft_trimap(count, best, cosine, preset.soft_sharpness)
    else:
        trimap = hard_trimap(count, best, cosine)
    report: dict[str, float | bool] = {**trimap_shares(trimap, view.buffer.mask)}
    report["skipped"] = not bool((trimap.generate > 0.5).any())
    if report["skipped"]:
        return state, report

    shown = rgb
    if derivative.detach_conditioning and state.colour_sum.requires_grad:
        shown = render_state(view, state.detach(), preset.background, preset.pin_background)[0]
    drawn = (*brief.seed, view.index)
    seen = RenderedView(shown, count, best, trimap)
    chain = chain_of(backbone, preset, [view], [seen], brief.text, drawn, preset.steps)
    scheduler = make_scheduler(
        backbone.scheduler_config, preset.scheduler, preset.steps, preset.spacing, preset.last_signal
    )
    latents = draw(chain.known_latents.shape, rgb, *drawn, "start") * float(scheduler.init_noise_sigma)

    def step(backbone, scheduler, chain, latents, i):
        latents = denoise_step(backbone, scheduler, chain, latents, i)
        if on_step is not None:
            on_step(i + 1, preset.steps)
        return latents

    if derivative.gradient is None:
        latents = denoise(backbone, scheduler, chain, latents, step)
    else:
        latents = derivative.gradient.denoise(backbone, scheduler, chain, latents, step, view.index)
    image = backbone.decode_latents(latents).clamp(0, 1)
    if preset.upscaler and not derivative.soft:  # training enlarges bilinearly, as released
        image = upscale(image, preset.upscaler)
    image = unzoom(image, view.crop)
    image = image * (1 - trimap.keep) + rgb * trimap.keep
    return accumulate(preset, view, state, image, trimap.keep), report


def trimap_shares(trimap: Trimap, mask: Tensor) -> dict[str, float]:
    """Shares, in [0, 1], of the visible surface (mask [1, 1, R, R]) to "generate", "refine" and "keep"."""
    area, names = mask.sum().clamp(min=1), ("generate", "refine", "keep")
    shares = torch.stack([(getattr(trimap, name).detach() * mask).sum() / area for name in names])
    return dict(zip(names, shares.tolist(), strict=True))  # one answer that the host waits for

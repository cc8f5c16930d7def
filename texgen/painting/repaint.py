"""Painting one view, or several as one picture, under given masks.

`painting.paint_view` decides by itself what to paint and can be differentiated; the published baselines need
more freedom: other masks, passes at part of the strength, views side by side, steps of another model. All of
it is policy in a `Preset`; the sampler is the shared one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from texgen.backprojection.trimap import Trimap, checkerboard
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import unzoom, whole_frame
from texgen.diffusion.sampler import denoise, denoise_step
from texgen.diffusion.schedules import add_noise, first_step, make_scheduler
from texgen.painting.chains import RenderedView, chain_of, draw
from texgen.painting.presets import Preset
from texgen.painting.state import TextureState, View, render_state
from texgen.render.images import shade

CHECKER_GREYS = (1.0, 206 / 255)
"""Text2Tex's placeholder for unpainted texels: 16 x 16 squares of these greys over the texture."""


def look(preset: Preset, view: View, state: TextureState) -> RenderedView:
    """The painted texture in a view, with the preset's placeholder on unpainted surface."""
    rgb, count, best = render_state(view, state, preset.background, preset.pin_background)
    if preset.unpainted == "black":
        return RenderedView(rgb, count, best)
    if preset.unpainted == "mean":
        painted = state.painted()
        mean = (state.colour() * painted).sum((1, 2)) / painted.sum().clamp(min=1)
        ground = mean.view(1, 3, 1, 1)
    else:
        bright, dark = CHECKER_GREYS
        board = checkerboard(preset.texture_size, 16, rgb)[0]
        ground = shade(view.buffer, (dark + (bright - dark) * board).expand(3, -1, -1))
    share = painted_share(view, state)
    surface = view.buffer.mask
    return RenderedView(rgb * (1 - surface) + surface * (rgb * share + ground * (1 - share)), count, best)


def atlas_view(conditioning: Tensor) -> View:
    """The texture itself as a view without a camera, so that `repaint` can work on it.

    conditioning: [3, T, T] in [0, 1], what a ControlNet sees in place of depth. Images of this view are
    textures turned upside down, row 0 at v = 1, as they look in files.
    """
    size = conditioning.shape[-1]
    return View(-1, 0.0, 0.0, "", None, conditioning.flip(1)[None], None, whole_frame(size))


def atlas_look(texture: Tensor, unknown: Tensor) -> RenderedView:
    """The look of an atlas view. texture: [3, T, T]. unknown: [1, T, T] of 0s and 1s, what to generate."""
    generate = unknown.flip(1)[None]
    return RenderedView(texture.flip(1)[None], 1 - generate, 1 - generate, mask_trimap(generate))


def mask_trimap(generate: Tensor) -> Trimap:
    """The trimap that generates a mask [1, 1, H, W] of 0s and 1s and keeps the rest."""
    return Trimap(generate, torch.zeros_like(generate), 1 - generate)


def painted_share(view: View, state: TextureState) -> Tensor:
    """[1, 1, R, R] in [0, 1]: how much of each pixel's surface is painted; 0 on the background."""
    return shade(view.buffer, state.painted(), (0.0,))


def repaint(
    backbone: Backbone,
    preset: Preset,
    views: Sequence[View],
    looks: Sequence[RenderedView],
    text: Tensor,
    seed: tuple[object, ...],
    on_step: Callable[[int, int], None] | None = None,
) -> list[Tensor]:
    """New images [1, 3, R, R] of some views, denoised together as one picture, side by side.

    looks: one per view, with their trimaps: "generate" and "refine" change, "keep" is pinned. text: [2, L,
    D], unconditional first. seed: all that the noise depends on besides the views.
    """
    drawn = seed if preset.same_noise else (*seed, *(view.index for view in views))
    scheduler = make_scheduler(
        backbone.scheduler_config, preset.scheduler, preset.steps, preset.spacing, preset.last_signal
    )
    iterations = len(scheduler.timesteps)
    first = first_step(iterations, preset.strength)
    chain = chain_of(backbone, preset, views, looks, text, drawn, iterations)
    latents = draw(chain.known_latents.shape, chain.known_latents, *drawn, "start")
    if preset.start == "render" or first > 0:
        latents = add_noise(scheduler, chain.known_latents, latents, first)
    else:
        latents = latents * float(scheduler.init_noise_sigma)

    def step(backbone, scheduler, chain, latents, i):
        latents = denoise_step(backbone, scheduler, chain, latents, i)
        if on_step is not None:
            on_step(i + 1 - first, iterations - first)
        return latents

    latents = denoise(backbone, scheduler, chain, latents, step, first)
    images = backbone.decode_latents(latents).clamp(0, 1).chunk(len(views), dim=-1)
    return [unzoom(image, view.crop) for image, view in zip(images, views, strict=True)]

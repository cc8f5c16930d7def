"""What the sampler is given of a view before it is painted: one builder for all that is painted.

The differentiable painter (`texgen.painting.views`) hands it one view, the published baselines
(`texgen.painting.repaint`) one or several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen import seeds
from texgen.backprojection.trimap import Trimap, checkerboard
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import control_for, fill_unknown, resize, zoom
from texgen.diffusion.guidance import Control
from texgen.diffusion.sampler import Alternation, ViewDenoising
from texgen.painting.presets import Preset
from texgen.painting.state import View
from texgen.render.cameras import Size


@dataclass(frozen=True, eq=False)
class RenderedView:
    """One view before it is painted. rgb: [1, 3, R, R] in [0, 1], what is painted so far, placeholders and
    background. count, best_cosine: [1, 1, R, R] as in `state.render_state`. trimap: what to do with it.
    """

    rgb: Tensor
    count: Tensor
    best_cosine: Tensor
    trimap: Trimap | None = None


def chain_of(
    backbone: Backbone,
    preset: Preset,
    views: Sequence[View],
    looks: Sequence[RenderedView],
    text: Tensor,
    seed: tuple[object, ...],
    iterations: int,
) -> ViewDenoising:
    """Everything the sampler needs, from the looks of one view, or of several side by side.

    iterations: steps of the chain. Known pixels are decided after resizing (share of "keep" above the
    preset's threshold), so that the control image holds either a colour or -1 and never a mixture.
    """
    size = preset.image_size

    def together(images: Sequence[Tensor]) -> Tensor:
        return torch.cat([zoom(i, view.crop, size) for i, view in zip(images, views, strict=True)], dim=-1)

    trimaps = [look.trimap for look in looks]
    assert all(trimap is not None for trimap in trimaps)
    colours = [look.rgb for look in looks]
    if preset.fill_before_encoding and preset.unpainted == "black":
        colours = [
            fill_unknown(look.rgb, (look.trimap.generate.detach() <= 0.5).to(look.rgb.dtype))
            for look in looks
        ]
    rgb = together(colours)
    generate, refine = (together([getattr(t, name) for t in trimaps]) for name in ("generate", "refine"))
    keep, depth = together([t.keep for t in trimaps]), together([view.depth for view in views])
    known = (keep.detach() > preset.known_threshold).to(rgb.dtype)
    posterior = seeds.generator(*seed, "posterior") if preset.sample_posterior else None
    latents = backbone.encode_images(rgb, posterior)
    shape = tuple(latents.shape[-2:])

    changed = torch.maximum(generate, refine)
    early = 1 - generate
    if preset.refine == "checker":
        board = checkerboard(size, like=rgb).repeat(1, 1, 1, len(views))
        early = 1 - torch.where((refine > 0.5) & (generate <= 0.5), board, changed)
    shown = known if preset.show_known == "always" else torch.zeros_like(known)

    def control(role: str, visible: Tensor, scale: float) -> Control:
        image = control_for(role, backbone.control_channels(role), rgb, visible, depth)
        return Control(role, image, scale)

    controls = [control(preset.control_role, shown, preset.control_scale)] if preset.control_role else []
    controls += [control(role, known, scale) for role, scale in preset.also_controls]
    alternation = None
    if preset.window and any(view.index != 0 for view in views):
        first, last = preset.window
        if preset.window_role == "unet":
            grey = torch.where(changed > 0.5, torch.full_like(rgb, 0.5), rgb)
            mask = 1 - pin_mask(1 - changed, shape, True)
            alternation = Alternation(
                first, last, inpainting=torch.cat([mask, backbone.encode_images(grey, posterior)], dim=1)
            )
        else:
            other = control(preset.window_role, known, preset.control_scale)
            alternation = Alternation(first, last, (other,))
    noise_shape = (iterations, *latents.shape)
    blend_noise = draw(noise_shape if preset.blend_noise == "fresh" else noise_shape[1:], rgb, *seed, "blend")
    return ViewDenoising(
        text=text,
        controls=tuple(controls),
        known_latents=latents,
        pin_early=pin_mask(early, shape, preset.hard_pins),
        pin_late=pin_mask(keep, shape, preset.hard_pins),
        switch_step=round(iterations * preset.refine_strength),
        blend_noise=blend_noise.expand(noise_shape),
        variance_noise=draw(noise_shape, rgb, *seed, "variance"),
        guidance_scale=preset.guidance_scale,
        eta=preset.eta,
        blending=preset.blending,
        alternation=alternation,
    )


def pin_mask(known: Tensor, size: Size, hard: bool) -> Tensor:
    """Known pixels [1, 1, H, W] in [0, 1] -> pinned latents [1, 1, *size]; one number is a square.

    The share of each latent's pixels that are known, or with `hard` 1 where all of them are and 0 elsewhere.
    """
    if hard:
        return (F.adaptive_max_pool2d(1 - known, size) < 0.01).to(known.dtype)
    return resize(known, size)


def draw(shape: tuple[int, ...], like: Tensor, *seed: object) -> Tensor:
    """Standard normal numbers that depend on the seed alone: drawn on the CPU in float32, then moved."""
    values = torch.randn(shape, generator=seeds.generator(*seed), dtype=torch.float32)
    return seeds.sent(values, like.device).to(like.dtype)

"""What the miniature's diffusion model and autoencoder can do on unseen meshes: the figures, one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import control_for, fill_unknown
from texgen.diffusion.guidance import Control
from texgen.diffusion.sampler import ViewDenoising, denoise
from texgen.diffusion.schedules import make_scheduler
from texgen.miniature.denoiser import controlled_velocity
from texgen.miniature.diffusion_batches import Noising, draw_known_masks, encode_images
from texgen.miniature.judge import Judge, chance_levels, verdicts
from texgen.miniature.materials import BACKGROUND
from texgen.miniature.world_arrays import WorldSamples

BATCH = 8
# A pixel is foreground where some channel is further than this from the background.
FOREGROUND_DISTANCE = 0.12
# Time steps, of 1,000, at which the velocity's error is measured.
TIMES = (150, 300, 500, 700)


@dataclass(frozen=True)
class SamplingSettings:
    """How images are sampled. guidance: scale of the classifier-free guidance, 1 = none."""

    scheduler: str = "ddim"
    steps: int = 20
    guidance: float = 3.0


@torch.no_grad()
def generate(
    backbone: Backbone,
    samples: WorldSamples,
    prompts: list[str],
    known: Tensor | None = None,
    role: str = "depth_inpaint",
    sampling: SamplingSettings = SamplingSettings(),
    seed: int = 0,
) -> Tensor:
    """Images ``[N, 3, H, W]`` in [0, 1] for the depth of each sample and a prompt.

    known: ``[N, 1, H, W]``, 1 where the sample's own picture is given, as to a view in the middle of
    texturing: shown to the ControlNet and pinned in the latents; None shows nothing. Pixels are as decoded,
    nothing is pasted.
    """
    images, depth = samples.pictures(), samples.depth_of()
    if known is None:
        known = torch.zeros_like(depth)
    generator = torch.Generator().manual_seed(seed)
    channels = backbone.control_channels(role)
    parts = []
    for start in range(0, len(samples), BATCH):
        rows = slice(start, start + BATCH)
        shown, rgb = known[rows], images[rows]
        count = len(rgb)
        text = backbone.encode_prompts(prompts[rows])
        empty = backbone.encode_prompts([""]).expand_as(text)
        latents_known = backbone.encode_images(fill_unknown(rgb, shown))
        pin = 1 - F.max_pool2d(1 - shown, backbone.latent_scale)
        shape = (count, backbone.latent_channels, *pin.shape[2:])
        noise = torch.randn(sampling.steps, *shape, generator=generator)
        chain = ViewDenoising(
            text=torch.cat([empty, text]),
            controls=(Control(role, control_for(role, channels, rgb, shown, depth[rows])),),
            known_latents=latents_known,
            pin_early=pin,
            pin_late=pin,
            switch_step=0,
            blend_noise=noise,
            variance_noise=noise,
            guidance_scale=sampling.guidance,
            eta=0.0,
        )
        plan = make_scheduler(backbone.scheduler_config, sampling.scheduler, sampling.steps)
        latents = denoise(backbone, plan, chain, torch.randn(shape, generator=generator))
        parts.append(backbone.decode_latents(latents).clamp(0, 1))
    return torch.cat(parts)


def judged(judge: Judge, samples: WorldSamples, images: dict[str, Tensor]) -> dict[str, float]:
    """Accuracy of colours and material that the judge finds, "<kind> colour" and "<kind> material": of every
    kind of images given, of the true renders ("real"), by chance ("chance").

    images: kind -> ``[N, 3, H, W]`` made for the samples' captions. The background is replaced by the true
    one, since the judge answers for the object.
    """
    truth, inside = samples.pictures(), samples.alpha_of() > 0.5
    chance_material, chance_colour = chance_levels(samples.marks)
    out = {"chance material": chance_material, "chance colour": chance_colour}
    shown = {kind: torch.where(inside, pictures, truth) for kind, pictures in images.items()}
    for name, pictures in (shown | {"real": truth}).items():
        material, colour = verdicts(judge, pictures, samples.material, samples.marks)
        out[f"{name} material"] = float(material.mean())
        out[f"{name} colour"] = float(colour.nanmean())
    return out


def silhouette_iou(samples: WorldSamples, images: Tensor) -> float:
    """Mean IoU of what differs from the background with the mesh's mask, over the images.

    The painted background has a colour that no material contains, but decoded pixels waver around it.
    """
    background = torch.tensor(BACKGROUND).view(1, 3, 1, 1)
    found = (images - background).abs().amax(1) > FOREGROUND_DISTANCE
    mask = samples.alpha_of()[:, 0] > 0.5
    both, either = (found & mask).sum((1, 2)), (found | mask).sum((1, 2))
    return float((both / either.clamp_min(1)).mean())


def inpainting_masks(samples: WorldSamples, seed: int) -> Tensor:
    """Known masks ``[N, 1, H, W]`` of which each shows a part of the object and hides another."""
    generator = torch.Generator().manual_seed(seed)
    alpha, positions = samples.alpha_of()[:, 0], samples.positions_of()
    inside = (alpha > 0.996)[:, None]
    known = draw_known_masks(alpha, positions, generator)
    for _ in range(50):
        share = (known * inside).sum((1, 2, 3)) / inside.sum((1, 2, 3)).clamp_min(1)
        again = (share < 0.2) | (share > 0.8)
        if not again.any():
            break
        known[again] = draw_known_masks(alpha[again], positions[again], generator)
    return known


def inpainting(samples: WorldSamples, known: Tensor, images: Tensor) -> dict[str, float]:
    """How well decoded images ``[N, 3, H, W]`` keep what was known, and continue it.

    "known PSNR" on the known object pixels, before anything is pasted; "border gradient": mean absolute
    difference of neighbouring object pixels of which one is known, after the known ones were pasted, as a
    multiple of the same difference in the true renders.
    """
    truth = samples.pictures()
    inside = (samples.alpha_of() > 250 / 255).float()
    kept = known * inside
    error = ((images - truth).square() * kept).sum() / (3 * kept.sum())
    pasted = torch.where(known > 0, truth, images)
    border = {"pasted": 0.0, "truth": 0.0}
    for dim in (2, 3):
        pairs = _neighbour_products(inside, dim) * (known.diff(dim=dim) != 0)
        for name, picture in (("pasted", pasted), ("truth", truth)):
            border[name] += float((picture.diff(dim=dim).abs() * pairs).sum())
    return {
        "known PSNR": float(-10 * error.clamp_min(1e-10).log10()),
        "border gradient": border["pasted"] / max(border["truth"], 1e-9),
    }


def _neighbour_products(values: Tensor, dim: int) -> Tensor:
    """Product of each value with the next one along a dimension, which becomes one shorter."""
    size = values.shape[dim] - 1
    return values.narrow(dim, 0, size) * values.narrow(dim, 1, size)


@torch.no_grad()
def autoencoded(backbone: Backbone, samples: WorldSamples) -> Tensor:
    """The true renders ``[N, 3, H, W]`` in [0, 1] after encoding and decoding: no generated picture can be
    nearer to them than the autoencoder."""
    parts = samples.pictures().split(BATCH)
    return torch.cat([backbone.decode_latents(backbone.encode_images(part)).clamp(0, 1) for part in parts])


def psnr(images: Tensor, samples: WorldSamples) -> float:
    """Mean PSNR in dB of pictures ``[N, 3, H, W]`` against the samples' own."""
    errors = (images - samples.pictures()).square().mean((1, 2, 3))
    return float((-10 * errors.clamp_min(1e-10).log10()).mean())


@torch.no_grad()
def velocity_errors(backbone: Backbone, samples: WorldSamples, seed: int = 0) -> dict[str, float]:
    """Mean squared error of the predicted velocity by time step, with nothing known and the samples'
    captions: a cheap way to compare nets, low steps showing what is local and high ones what is global."""
    noising = Noising(encode_images(backbone.vae, samples.images), samples.captions, backbone.tokenizer)
    depth = samples.depth_of().expand(-1, 3, -1, -1)
    control = torch.cat([torch.full_like(depth, -1.0), depth], 1)
    controlnet, errors = backbone.controlnets["depth_inpaint"], {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for time in TIMES:
            parts = []
            for index in torch.arange(len(samples)).split(BATCH):
                noisy, when, velocity = noising.noised(index, torch.full_like(index, time))
                text = backbone.encode_prompts([samples.captions[i] for i in index.tolist()])
                made = controlled_velocity(backbone.unet, controlnet, noisy, when, text, control[index])
                parts.append((made - velocity).square().mean((1, 2, 3)))
            errors[str(time)] = float(torch.cat(parts).mean())
    return errors

"""Train the miniature's VAE: a small `AutoencoderTiny`, 128x128 images to 8x32x32 latents.

    python -m texgen.miniature.pretrain_vae --data DATA --out FOLDER --scale full
    ... --begin-with models/miniature/backbone --steps 3000     (train a finished decoder on)

A finished VAE keeps its encoder: what diffusion models have learned about its latents stays true.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from texgen.miniature.architecture import LATENT_CHANNELS
from texgen.miniature.steps import TrainingStep, half, make_optimizer
from texgen.miniature.training_loop import drop_fields, start_run, train, training_parser
from texgen.miniature.world_arrays import open_atlases, open_world

CHANNELS = 32
LATENT_NOISE = 0.05
# The loss weighs pixels at edges up to so many times more, and adds so much of the squared error.
EDGE_WEIGHT, SQUARE_WEIGHT = 2.0, 3.0
ATLAS_SHARE = 1 / 16  # of the pictures are atlases
FULL_SHARE = 0.3  # the last share of the training is in full precision


def make_vae() -> AutoencoderTiny:
    """An untrained VAE that divides the image side by 4.

    `AutoencoderTiny` has no normalisation layers: a small `AutoencoderKL` took many times longer to learn
    flat colours, which its group norms remove.
    """
    return AutoencoderTiny(
        encoder_block_out_channels=(CHANNELS,) * 3,
        decoder_block_out_channels=(CHANNELS,) * 3,
        num_encoder_blocks=(1, 2, 2),
        num_decoder_blocks=(2, 2, 1),
        latent_channels=LATENT_CHANNELS,
        upsampling_scaling_factor=2,
    )


def vae_losses(vae: AutoencoderTiny, images: Tensor, low: bool = False) -> dict[str, Tensor]:
    """L1 on pixels, weighted at edges, and on their finite differences (crisp edges), and squared error, with
    latents held near unit scale.

    Thin parts are all edge; an average over the picture hardly sees them. A little noise on the latents makes
    the decoder tolerant of what a diffusion model will hand it.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1]; low: whether networks on a GPU compute in bfloat16.

    Returns:
        "loss", and "psnr" in dB on [0, 1] images.
    """
    target = (images * 2 - 1).contiguous(memory_format=torch.channels_last)
    with half(images.device, low):
        latents = vae.encode(target).latents
    latents = latents.float()
    noisy = latents + LATENT_NOISE * torch.randn_like(latents)
    with half(images.device, low):
        out = vae.decode(noisy).sample
    error = out.float() - target
    loss = (error.abs() * (1 + EDGE_WEIGHT * edges(target))).mean()
    for dim in (2, 3):
        loss = loss + error.diff(dim=dim).abs().mean()
    square = error.square().mean()
    centre, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    loss = loss + 0.01 * (centre.square().mean() + (spread - 1).square().mean()) + SQUARE_WEIGHT * square
    return {"loss": loss, "psnr": -10 * (square.detach() / 4).clamp_min(1e-8).log10()}


def edges(images: Tensor) -> Tensor:
    """``[B, 1, H, W]`` in [0, 1]: how much a pixel nearby differs from its neighbours, images in [-1, 1]."""
    across = F.pad(images.diff(dim=3).abs().amax(1, keepdim=True), (0, 1, 0, 0))
    down = F.pad(images.diff(dim=2).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    return F.max_pool2d(torch.maximum(across, down), 3, 1, 1).clamp(0, 1)


@torch.no_grad()
def latent_scale(vae: AutoencoderTiny, images: Tensor) -> float:
    """What latents are multiplied by to have unit standard deviation (`scaling_factor`)."""
    return float(1 / vae.encode(images * 2 - 1).latents.std())


def save_vae(vae: AutoencoderTiny, folder: Path) -> None:
    """Write a VAE in diffusers' layout, without the path that it was opened from."""
    vae.save_pretrained(folder)
    # diffusers writes the second field itself and warns about it when it reads it back.
    drop_fields(folder / "config.json", "_name_or_path", "block_out_channels")


def main(argv: list[str] | None = None) -> None:
    args = training_parser(__doc__, begins=True).parse_args(argv)
    run = start_run(args, "vae")
    painted, atlases = open_world(args.data, run.device), open_atlases(args.data, run.device)
    torch.manual_seed(0)
    vae = make_vae()
    if args.begin_with:
        vae = AutoencoderTiny.from_pretrained(args.begin_with / "vae").train()
        vae.encoder.requires_grad_(False)
    vae = vae.to(run.device, memory_format=torch.channels_last)
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimizer = make_optimizer(trained, run.device, (0.9, 0.99), 1e-4)
    batch = run.stage.batch

    def loss(low: bool) -> dict[str, Tensor]:
        images = painted.pictures(painted.draw(batch))
        if len(atlases):
            flat = atlases.images[torch.randint(0, len(atlases), (batch,), device=run.device)]
            chosen = torch.rand(batch, 1, 1, 1, device=run.device) < ATLAS_SHARE
            images = torch.where(chosen, flat.float() / 255, images)
        return vae_losses(vae, images, low)

    steps = [TrainingStep(lambda: loss(True), optimizer), TrainingStep(lambda: loss(False), optimizer)]
    train(run, vae, steps, lambda _, share: steps[share >= 1 - FULL_SHARE])
    vae.eval()
    if not args.begin_with:
        some = painted.pictures(torch.arange(min(256, painted.count), device=run.device))
        vae.register_to_config(scaling_factor=latent_scale(vae, some))
    if run.rank == 0:
        save_vae(vae.to("cpu", memory_format=torch.contiguous_format), args.out / "backbone" / "vae")


if __name__ == "__main__":
    main()

"""Train the miniature's VAE: a small `AutoencoderTiny`, 128x128 images to 8x32x32 latents.

    python -m texgen.miniature.pretrain_vae --data DATA --out FOLDER --scale full
    torchrun --nproc-per-node 2 -m texgen.miniature.pretrain_vae ... --threads 1     (data parallel)
    ... --begin-with models/miniature/backbone --steps 3000     (train a finished decoder on)

A finished VAE keeps its encoder: what diffusion models have learned about its latents stays true.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from texgen.miniature.scale import SCALES
from texgen.miniature.training import (
    Log,
    arguments,
    average_gradients,
    drop_fields,
    join_processes,
    learning_rate,
    load_samples,
    resume,
    save_resume,
)

CHANNELS = 32
LATENT_CHANNELS = 8  # 4, as in Stable Diffusion, loses too much detail at a quarter of 128 pixels
CROP = 64
BATCH = 8
LATENT_NOISE = 0.05
PEAK_LEARNING_RATE = 1.5e-3


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


def vae_loss(vae: AutoencoderTiny, images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """L1 on pixels and on their finite differences (crisp edges), with latents held near unit scale.

    A little noise on the latents makes the decoder tolerant of what a diffusion model will hand it.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1].

    Returns:
        the loss and the mean squared error on [0, 1] images, for the PSNR.
    """
    target = images * 2 - 1
    latents = vae.encode(target).latents
    noise = LATENT_NOISE * torch.randn(latents.shape, generator=generator)
    out = vae.decode(latents + noise).sample
    loss = F.l1_loss(out, target)
    for dim in (2, 3):
        loss = loss + F.l1_loss(out.diff(dim=dim), target.diff(dim=dim))
    centre, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    loss = loss + 0.01 * (centre.square().mean() + (spread - 1).square().mean())
    return loss, F.mse_loss(out.detach(), target) / 4


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
    args = arguments(__doc__, argv, prolongs=True)
    rank, processes = join_processes()
    steps = args.steps or SCALES[args.scale].vae_steps
    samples = load_samples(args.data)
    torch.manual_seed(0)
    vae = make_vae()
    if args.begin_with:
        vae = AutoencoderTiny.from_pretrained(args.begin_with / "vae").train()
        vae.encoder.requires_grad_(False)
    vae = vae.to(memory_format=torch.channels_last)
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    start = resume(args.out / "vae.resume.pt", vae, optimizer)
    log = Log(args.out / "vae.jsonl", steps)
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(step * processes + rank)
        index = torch.randint(0, len(samples), (BATCH,), generator=generator)
        # Crops around the middle, where the object is.
        corner = torch.randint(8, samples.images.shape[-1] - CROP - 7, (2,), generator=generator).tolist()
        rows, columns = (slice(c, c + CROP) for c in corner)
        images = samples.images[index][..., rows, columns].float() / 255
        loss, error = vae_loss(vae, images.contiguous(memory_format=torch.channels_last), generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, args.rate or PEAK_LEARNING_RATE, fall=args.fall)
        optimizer.zero_grad()
        loss.backward()
        average_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        if rank == 0:
            log.write(step, loss=float(loss.detach()), mse=float(error))
        if step % 500 == 499 and rank == 0:
            save_resume(args.out / "vae.resume.pt", step + 1, vae, optimizer)
    vae.eval()
    if not args.begin_with:
        vae.register_to_config(scaling_factor=latent_scale(vae, samples.images[:256].float() / 255))
    if rank == 0:
        save_vae(vae, args.out / "vae")


if __name__ == "__main__":
    main()

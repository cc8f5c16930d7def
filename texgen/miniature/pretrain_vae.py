"""Train the miniature's VAE: diffusers' `AutoencoderTiny`, 128x128 images to 4x32x32 latents.

    python -m texgen.miniature.pretrain_vae --data DATA --out FOLDER --scale full
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor

from texgen.miniature.scale import SCALES
from texgen.miniature.training import Log, arguments, learning_rate, load_samples, resume, save_resume

CHANNELS = (32, 64, 64)
CROP = 64
BATCH = 16


def make_vae() -> AutoencoderTiny:
    """An untrained VAE that divides the image side by 4."""
    return AutoencoderTiny(
        encoder_block_out_channels=CHANNELS,
        decoder_block_out_channels=CHANNELS[::-1],
        num_encoder_blocks=(1, 2, 2),
        num_decoder_blocks=(2, 2, 1),
        latent_channels=4,
        upsampling_scaling_factor=2,
    )


def vae_loss(vae: AutoencoderTiny, images: Tensor, generator: torch.Generator) -> Tensor:
    """L1 on pixels and on their finite differences, with latents held near unit scale.

    A little noise on the latents makes the decoder tolerant of what a diffusion model will hand it.

    Args:
        images: ``[B, 3, H, W]`` in [0, 1].
    """
    target = images * 2 - 1
    latents = vae.encode(target).latents
    mean = latents.mean((0, 2, 3))
    scale = latents.std((0, 2, 3))
    noisy = latents + 0.05 * torch.randn(latents.shape, generator=generator)
    out = vae.decode(noisy).sample
    loss = F.l1_loss(out, target)
    for dim in (2, 3):
        loss = loss + F.l1_loss(out.diff(dim=dim), target.diff(dim=dim))
    return loss + 0.01 * (mean.square().mean() + (scale - 1).square().mean())


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv)
    steps = SCALES[args.scale].vae_steps
    samples = load_samples(args.data)
    torch.manual_seed(0)
    vae = make_vae().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    start = resume(args.out / "vae.resume.pt", vae, optimizer)
    log = Log(args.out / "vae.jsonl", steps)
    limit = time.monotonic() + 60 * args.minutes if args.minutes else None
    if limit:
        steps = start + steps
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(step)
        index = torch.randint(0, len(samples), (BATCH,), generator=generator)
        corner = torch.randint(0, samples.images.shape[-1] - CROP + 1, (2,), generator=generator).tolist()
        rows, columns = (slice(c, c + CROP) for c in corner)
        images = samples.images[index][..., rows, columns].float() / 255
        loss = vae_loss(vae, images, generator)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, SCALES[args.scale].vae_steps, 1.5e-3)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        log.write(step, loss=float(loss.detach()))
        if step % 500 == 499:
            save_resume(args.out / "vae.resume.pt", step + 1, vae, optimizer)
        if limit and time.monotonic() > limit:
            break
    vae.eval().save_pretrained(Path(args.out) / "vae")


if __name__ == "__main__":
    main()

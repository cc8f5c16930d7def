"""What diffusion losses draw on the device: noisy latents, captions, of which some are dropped, controls."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderTiny
from torch import Tensor
from transformers import CLIPTokenizer

from texgen.miniature.denoiser import make_scheduler
from texgen.miniature.tokenizer import tokenize
from texgen.miniature.training_loop import TrainingRun, save_tensors, wait_for_all
from texgen.miniature.world_arrays import Atlases, WorldSamples

CAPTION_DROPOUT = 0.1
# Shares of the samples that show nothing, and the background alone.
NOTHING_KNOWN, NO_SURFACE = 0.4, 0.1
# Time steps are drawn as 1,000 * u ** this: below 1, noisy ones, in which the layout is settled, more often.
TIME_POWER = 0.75
# Paint3D's frame (arXiv 2312.13913): positions are scaled, then raised.
RAISED = 0.25


@torch.no_grad()
def encode_images(vae: AutoencoderTiny, images: Tensor, batch: int = 16) -> Tensor:
    """Latents ``[N, 8, 32, 32]``, float16, of images ``[N, 3, 128, 128]`` uint8."""
    parts = []
    for some in images.split(batch):
        pixels = (some.float() / 255 * 2 - 1).contiguous(memory_format=torch.channels_last)
        parts.append((vae.encode(pixels).latents * vae.config.scaling_factor).half())
    return torch.cat(parts)


def encoded(run: TrainingRun, name: str, vae: AutoencoderTiny, images: Tensor) -> Tensor:
    """`encode_images` of a training's images. On a CPU they are kept beside its weights, and of several
    processes each encodes its part."""
    if run.device.type == "cuda":
        return encode_images(vae, images, 256)
    state = hashlib.sha256(str(len(images)).encode())
    for value in vae.state_dict().values():
        state.update(value.numpy().tobytes())
    files = [
        run.out / f"latents.{name}.{state.hexdigest()[:12]}.{number}-of-{run.processes}.pt"
        for number in range(run.processes)
    ]
    if not files[run.rank].exists():
        part = slice(run.rank * len(images) // run.processes, (run.rank + 1) * len(images) // run.processes)
        save_tensors(files[run.rank], encode_images(vae, images[part]))
    wait_for_all()
    return torch.cat([torch.load(file, weights_only=True) for file in files])


def open_vae(folder: Path, device: torch.device) -> AutoencoderTiny:
    """A finished VAE, fixed. Raises SystemExit where there is none."""
    if not (folder / "config.json").exists():
        raise SystemExit(f"{folder} is missing; train it first, with `python -m texgen.miniature.train vae`.")
    vae = AutoencoderTiny.from_pretrained(folder)
    return vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)


class Noising:
    """Latents and tokens of a training set, and how they are made into what a denoiser learns from."""

    def __init__(self, latents: Tensor, captions: list[str], tokenizer: CLIPTokenizer) -> None:
        self.latents, self.device = latents, latents.device
        self.tokens = tokenize(tokenizer, captions).to(self.device)
        self.empty = tokenize(tokenizer, [""]).to(self.device)
        self.alphas = make_scheduler().alphas_cumprod.to(self.device)

    def draw(self, count: int) -> Tensor:
        """``[count]`` random samples."""
        return torch.randint(0, len(self.latents), (count,), device=self.device)

    def noised(self, index: Tensor, timesteps: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents ``[B, 8, 32, 32]`` of samples, time steps ``[B]``, random ones where none are given,
        and the velocity to predict."""
        clean = self.latents[index].float()
        noise = torch.randn_like(clean)
        if timesteps is None:
            share = torch.rand(len(index), device=self.device) ** TIME_POWER
            timesteps = (share * len(self.alphas)).long().clamp_max(len(self.alphas) - 1)
        a = self.alphas[timesteps].view(-1, 1, 1, 1)
        return a.sqrt() * clean + (1 - a).sqrt() * noise, timesteps, a.sqrt() * noise - (1 - a).sqrt() * clean

    def prompts(self, index: Tensor) -> Tensor:
        """Tokens ``[B, L]``, one caption in ten dropped, so that classifier-free guidance works."""
        dropped = torch.rand(len(index), 1, device=self.device) < CAPTION_DROPOUT
        return torch.where(dropped, self.empty, self.tokens[index])


def inpainting_control(painted: WorldSamples, index: Tensor) -> Tensor:
    """Control ``[B, 6, H, W]``: rgb where a random known mask allows, -1 elsewhere, and depth."""
    known = draw_known_masks(painted.alpha_of(index)[:, 0], painted.positions_of(index))
    return torch.cat(
        [torch.where(known > 0, painted.pictures(index), -1.0), depth_control(painted, index)], 1
    )


def depth_control(painted: WorldSamples, index: Tensor) -> Tensor:
    """Control ``[B, 3, H, W]``: the depth image three times."""
    return painted.depth_of(index).expand(-1, 3, -1, -1)


def position_control(atlases: Atlases, index: Tensor) -> tuple[Tensor, Tensor]:
    """Control ``[B, 3, H, W]``: position maps; the loss's weights ``[B, 1, h, w]``, 0 outside of charts."""
    owner = atlases.owner[index]
    alpha = atlases.alpha[owner]
    weight = F.avg_pool2d((alpha > 0).float()[:, None], 4)
    return position_maps(atlases.positions[owner], alpha, atlases.scale[owner]), weight


def position_maps(positions: Tensor, alpha: Tensor, scale: Tensor) -> Tensor:
    """Control images ``[B, 3, H, W]`` in [0, 1] as Paint3D's: positions in its frame / 2 + 0.5 in the charts,
    else 0.

    Args:
        positions: ``[B, 3, H, W]``; alpha: ``[B, H, W]``, above 0 in the charts; scale ``[B]``: of positions.
    """
    framed = positions.float() * scale.view(-1, 1, 1, 1)
    framed[:, 1] += RAISED
    return (framed.clamp(-1, 1) / 2 + 0.5) * (alpha > 0)[:, None]


def draw_known_masks(alpha: Tensor, positions: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """What an inpainting model is shown of each image: like a view in the middle of texturing an object.

    Four in ten samples show nothing, one in ten shows only the background, the rest show the background and
    the part of the surface on one side of a random plane, or outside a random ball. Where something is known
    the layout of a pattern is given; it is learned from those that show nothing.

    Args:
        alpha: ``[B, size, size]`` in [0, 1].
        positions: ``[B, 3, size, size]``.
        generator: on the tensors' device; None: the device's own.

    Returns:
        known ``[B, 1, size, size]``, 1 where the pixel is given.
    """
    batch, where = len(alpha), {"generator": generator, "device": alpha.device}
    kind = torch.rand(batch, **where)
    normal = F.normalize(torch.randn(batch, 3, **where), dim=1)
    offset = 0.5 * torch.randn(batch, **where)
    plane = torch.einsum("bchw,bc->bhw", positions, normal) > offset[:, None, None] * 0.8
    centre = 0.5 * torch.randn(batch, 3, **where)
    radius = 0.25 + 0.5 * torch.rand(batch, **where)
    ball = (positions - centre[:, :, None, None]).norm(dim=1) > radius[:, None, None]
    surface = torch.where((kind < 0.85)[:, None, None], plane, ball)
    surface &= (kind > NOTHING_KNOWN + NO_SURFACE)[:, None, None]
    outside = (alpha < 0.004) & (kind > NOTHING_KNOWN)[:, None, None]
    inside = (alpha > 0.996) & surface
    return (outside | inside)[:, None].float()

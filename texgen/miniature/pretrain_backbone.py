"""Train the miniature's diffusion model: text encoder, UNet and depth-aware inpainting ControlNet together.

The control image has six channels like InTeX's: rgb in [0, 1] with -1 where unknown, then depth three times.
Velocity prediction with zero terminal SNR; captions are dropped one time in ten, so that classifier-free
guidance works.

    python -m texgen.miniature.pretrain_backbone --data DATA --out FOLDER --scale full
    torchrun --nproc-per-node 2 -m texgen.miniature.pretrain_backbone ... --threads 1     (data parallel)
    ... --begin-with models/miniature/backbone --steps 2000     (train finished weights on)
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from texgen.miniature.dataset import Samples, draw_known_masks
from texgen.miniature.pretrain_vae import LATENT_CHANNELS, save_vae
from texgen.miniature.scale import SCALES
from texgen.miniature.tokenizer import open_tokenizer, text_settings, tokenize
from texgen.miniature.training import (
    Log,
    arguments,
    average_gradients,
    drop_fields,
    join_processes,
    learning_rate,
    load_samples,
    resume,
    save_half,
    save_resume,
    save_tensors,
    wait_for_all,
)

TEXT_WIDTH = 128
CHANNELS = (32, 64, 128)
EMA_DECAY = 0.998
PEAK_LEARNING_RATE = 8e-4
CAPTION_DROPOUT = 0.1


class Denoiser(nn.Module):
    """The three networks that are trained together."""

    def __init__(self, vocabulary: int, end_token: int) -> None:
        super().__init__()
        self.text_encoder = CLIPTextModel(CLIPTextConfig(**text_settings(vocabulary, end_token, TEXT_WIDTH)))
        self.unet = UNet2DConditionModel(
            sample_size=32,
            in_channels=LATENT_CHANNELS,
            out_channels=LATENT_CHANNELS,
            block_out_channels=CHANNELS,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=4,
            norm_num_groups=8,
        )
        self.controlnet = ControlNetModel.from_unet(
            self.unet, conditioning_channels=6, conditioning_embedding_out_channels=(8, 16, 32)
        )

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor, control: Tensor) -> Tensor:
        """Velocity ``[B, 8, 32, 32]`` from noisy latents, tokens ``[B, L]`` and control ``[B, 6, H, W]``."""
        text = self.text_encoder(tokens).last_hidden_state
        down, middle = self.controlnet(
            latents, timesteps, encoder_hidden_states=text, controlnet_cond=control, return_dict=False
        )
        return self.unet(
            latents,
            timesteps,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample


@torch.no_grad()
def load_finished(model: Denoiser, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Fill a denoiser with the weights of a finished backbone folder whose vocabulary may be another one.

    A piece of text that both tokenizers know keeps its embedding, whatever its number; new ones stay random.
    """
    model.unet.load_state_dict(UNet2DConditionModel.from_pretrained(folder / "unet").state_dict())
    controlnet = ControlNetModel.from_pretrained(folder / "controlnet_depth_inpaint")
    model.controlnet.load_state_dict(controlnet.state_dict())
    finished = CLIPTextModel.from_pretrained(folder / "text_encoder")
    known = finished.get_input_embeddings()
    rows = model.text_encoder.get_input_embeddings().weight.clone()
    old = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    for piece, number in tokenizer.get_vocab().items():
        if piece in old:
            rows[number] = known.weight[old[piece]]
    known.weight = nn.Parameter(rows)
    model.text_encoder.load_state_dict(finished.state_dict())


def make_scheduler() -> DDIMScheduler:
    """Stable Diffusion's betas rescaled to zero terminal SNR, velocity prediction, trailing time steps."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )


@torch.no_grad()
def encode_samples(vae: AutoencoderTiny, images: Tensor, batch: int = 16) -> Tensor:
    """Latents ``[N, 8, 32, 32]``, float16, of images ``[N, 3, 128, 128]`` uint8."""
    parts = []
    for some in images.split(batch):
        latents = vae.encode(some.float() / 255 * 2 - 1).latents * vae.config.scaling_factor
        parts.append(latents.half())
    return torch.cat(parts)


def shared_latents(folder: Path, vae: AutoencoderTiny, samples: Samples, rank: int, processes: int) -> Tensor:
    """`encode_samples` of all samples, kept in ``folder``; of several processes each encodes its part."""
    files = [folder / f"latents.{number}-of-{processes}.pt" for number in range(processes)]
    if not files[rank].exists():
        part = slice(rank * len(samples) // processes, (rank + 1) * len(samples) // processes)
        save_tensors(files[rank], encode_samples(vae, samples.images[part]))
    wait_for_all()
    return torch.cat([torch.load(file, weights_only=True) for file in files])


def control_images(samples: Samples, index: Tensor, generator: torch.Generator) -> Tensor:
    """Control ``[B, 6, H, W]``: rgb where a random known mask allows, -1 elsewhere, and depth."""
    images = samples.images[index].float() / 255
    alpha = samples.alpha[index].float() / 255
    known = draw_known_masks(alpha, samples.positions[index].float(), generator)
    depth = (samples.depth[index].float() / 255)[:, None].expand(-1, 3, -1, -1)
    return torch.cat([torch.where(known > 0, images, -1.0), depth], 1)


def save_backbone(out: Path, model: Denoiser, vae: AutoencoderTiny, tokenizer) -> None:
    """Write the diffusers folder layout that `texgen.backbone` loads."""
    save_half(model.unet, out / "unet")
    save_half(model.controlnet, out / "controlnet_depth_inpaint")
    model.text_encoder.save_pretrained(out / "text_encoder")
    tokenizer.save_pretrained(out / "tokenizer")
    save_vae(vae, out / "vae")
    make_scheduler().save_pretrained(out / "scheduler")
    for config in out.glob("*/config.json"):
        drop_fields(config, "_name_or_path")


def draw_batch(
    samples: Samples, latents: Tensor, tokens: Tensor, empty: Tensor, alphas: Tensor, batch: int, seed: int
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """One random batch: (noisy latents, time steps, tokens, control image), and the velocity to predict."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(0, len(samples), (batch,), generator=generator)
    clean = latents[index].float()
    noise = torch.randn(clean.shape, generator=generator)
    timesteps = torch.randint(0, len(alphas), (batch,), generator=generator)
    a = alphas[timesteps].view(-1, 1, 1, 1)
    noisy = a.sqrt() * clean + (1 - a).sqrt() * noise
    velocity = a.sqrt() * noise - (1 - a).sqrt() * clean
    ids = tokens[index].clone()
    ids[torch.rand(batch, generator=generator) < CAPTION_DROPOUT] = empty[0]
    return (noisy, timesteps, ids, control_images(samples, index, generator)), velocity


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, prolongs=True)
    rank, processes = join_processes()
    steps, batch = args.steps or SCALES[args.scale].backbone_steps, SCALES[args.scale].backbone_batch
    samples = load_samples(args.data)
    vae = AutoencoderTiny.from_pretrained(args.out / "vae").eval()
    tokenizer = open_tokenizer(args.out / "backbone" / "tokenizer")
    tokens = tokenize(tokenizer, samples.captions)
    empty = tokenize(tokenizer, [""])
    latents = shared_latents(args.out, vae, samples, rank, processes)

    torch.manual_seed(0)
    model = Denoiser(len(tokenizer), tokenizer.eos_token_id).to(memory_format=torch.channels_last)
    if args.begin_with:
        load_finished(model, tokenizer, args.begin_with)
    average = copy.deepcopy(model).requires_grad_(False)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01, fused=True)
    both = nn.ModuleDict({"model": model, "average": average})
    resume_file = args.out / "backbone.resume.pt"
    start = resume(resume_file, both, optimizer)
    alphas = make_scheduler().alphas_cumprod
    log = Log(args.out / "backbone.jsonl", steps)

    def save(step: int) -> None:
        if rank == 0:
            save_resume(resume_file, step, both, optimizer)
            save_backbone(args.out / "backbone", average, vae, tokenizer)

    for step in range(start, steps):
        inputs, velocity = draw_batch(samples, latents, tokens, empty, alphas, batch, step * processes + rank)
        loss = (model(*inputs) - velocity).square().mean()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, args.rate or PEAK_LEARNING_RATE, fall=args.fall)
        optimizer.zero_grad()
        loss.backward()
        average_gradients(parameters)
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(average.parameters()), parameters, 1 - decay)
        if rank == 0:
            log.write(step, loss=float(loss.detach()), grad_norm=float(norm))
        if step % 200 == 199:
            save(step + 1)
    save(steps)


if __name__ == "__main__":
    main()

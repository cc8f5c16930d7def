"""Train a further ControlNet of the miniature while its UNet and text encoder stay as they are.

    python -m texgen.miniature.pretrain_controlnet --part depth --data DATA --out FOLDER --scale full

depth: the depth image three times, on the world's samples. uv_position: the position map of an atlas
(Paint3D, arXiv 2312.13913), on painted atlases; only texels in charts count.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel

from texgen.miniature.atlases import atlas_samples, position_maps
from texgen.miniature.dataset import Samples
from texgen.miniature.pretrain_backbone import CAPTION_DROPOUT, encode_samples, make_scheduler
from texgen.miniature.scale import SCALES
from texgen.miniature.tokenizer import open_tokenizer, tokenize
from texgen.miniature.training import (
    Log,
    arguments,
    learning_rate,
    load_samples,
    resume,
    save_half,
    save_resume,
    save_tensors,
)

PEAK_LEARNING_RATE = 5e-4
ROLES = ("depth", "uv_position")


@torch.no_grad()
def new_controlnet(inpainting: ControlNetModel) -> ControlNetModel:
    """A ControlNet of three channels that begins as the depth-aware inpainting one with nothing known.

    There, unknown pixels are -1 in the first three of six channels. A constant input is a bias: that of the
    new first layer takes it in, and the three depth channels keep their weights. But for the rim of the
    image, where the layer pads with zeros, the new network says what the old one says where nothing is known.
    """
    config = {**inpainting.config, "conditioning_channels": 3}
    new = ControlNetModel.from_config(config)
    weights = inpainting.state_dict()
    first = "controlnet_cond_embedding.conv_in"
    kernel = weights[f"{first}.weight"]
    weights[f"{first}.bias"] = weights[f"{first}.bias"] - kernel[:, :3].sum((1, 2, 3))
    weights[f"{first}.weight"] = kernel[:, 3:].clone()
    new.load_state_dict(weights)
    return new


def role_samples(role: str, data: Path, scale: str) -> Samples:
    """What the ControlNet of a role learns from; atlases are made once and kept beside the world."""
    if role == "depth":
        return load_samples(data)
    path = data / "atlases.pt"
    if not path.exists():
        made = atlas_samples(SCALES[scale].atlases, SCALES[scale].atlas_paints, seed=0)
        save_tensors(path, vars(made))
    return Samples(**torch.load(path, weights_only=True, mmap=True))


def role_control(role: str, samples: Samples, index: Tensor) -> tuple[Tensor, Tensor]:
    """Control images ``[B, 3, H, W]`` and the loss's weights ``[B, 1, h, w]`` at a quarter of the size."""
    alpha = samples.alpha[index]
    if role == "depth":
        control = (samples.depth[index].float() / 255)[:, None].expand(-1, 3, -1, -1)
        return control, torch.ones(len(index), 1, alpha.shape[1] // 4, alpha.shape[2] // 4)
    weight = torch.nn.functional.avg_pool2d((alpha > 0).float()[:, None], 4)
    return position_maps(samples.positions[index], alpha), weight


def controlled_loss(
    unet: UNet2DConditionModel,
    controlnet: ControlNetModel,
    noisy: Tensor,
    timesteps: Tensor,
    text: Tensor,
    control: Tensor,
    target: Tensor,
    weight: Tensor,
) -> Tensor:
    """Weighted mean squared error of the velocity; gradients reach the ControlNet through the frozen UNet.

    Args:
        noisy, target: ``[B, 8, h, w]``; timesteps: ``[B]``; text: ``[B, L, D]``; control: ``[B, 3, H, W]``;
            weight: ``[B, 1, h, w]``.
    """
    down, middle = controlnet(
        noisy, timesteps, encoder_hidden_states=text, controlnet_cond=control, return_dict=False
    )
    out = unet(
        noisy,
        timesteps,
        encoder_hidden_states=text,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
    ).sample
    error = (out - target).square().mean(1, keepdim=True)
    return (error * weight).sum() / weight.sum().clamp_min(1)


def main(argv: list[str] | None = None) -> None:
    args = arguments(__doc__, argv, parts=list(ROLES), prolongs=True)
    base = args.out / "backbone"
    steps, batch = args.steps or SCALES[args.scale].controlnet_steps, SCALES[args.scale].backbone_batch
    samples = role_samples(args.part, args.data, args.scale)
    unet = UNet2DConditionModel.from_pretrained(base / "unet").float().requires_grad_(False)
    text_encoder = CLIPTextModel.from_pretrained(base / "text_encoder").eval().requires_grad_(False)
    vae = AutoencoderTiny.from_pretrained(base / "vae").eval()
    tokenizer = open_tokenizer(base / "tokenizer")
    tokens = tokenize(tokenizer, samples.captions)
    empty = tokenize(tokenizer, [""])
    alphas = make_scheduler().alphas_cumprod

    torch.manual_seed(31)
    begin = args.begin_with or base / "controlnet_depth_inpaint"
    controlnet = ControlNetModel.from_pretrained(begin).float()
    if controlnet.config.conditioning_channels == 6:
        controlnet = new_controlnet(controlnet)
    optimizer = torch.optim.AdamW(controlnet.parameters(), lr=1e-4, betas=(0.9, 0.99), weight_decay=0.01)
    resume_file = args.out / f"controlnet_{args.part}.resume.pt"
    start = resume(resume_file, controlnet, optimizer)
    log = Log(args.out / f"controlnet_{args.part}.jsonl", steps)
    for step in range(start, steps):
        generator = torch.Generator().manual_seed(31_000_003 + step)
        index = torch.randint(0, len(samples), (batch,), generator=generator)
        clean = encode_samples(vae, samples.images[index]).float()
        noise = torch.randn(clean.shape, generator=generator)
        timesteps = torch.randint(0, len(alphas), (batch,), generator=generator)
        a = alphas[timesteps].view(-1, 1, 1, 1)
        ids = tokens[index].clone()
        ids[torch.rand(batch, generator=generator) < CAPTION_DROPOUT] = empty[0]
        control, weight = role_control(args.part, samples, index)
        loss = controlled_loss(
            unet,
            controlnet,
            a.sqrt() * clean + (1 - a).sqrt() * noise,
            timesteps,
            text_encoder(ids).last_hidden_state,
            control,
            a.sqrt() * noise - (1 - a).sqrt() * clean,
            weight,
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, args.rate or PEAK_LEARNING_RATE, fall=args.fall)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(controlnet.parameters(), 1.0)
        optimizer.step()
        log.write(step, loss=float(loss.detach()))
        if step % 100 == 99:
            save_resume(resume_file, step + 1, controlnet, optimizer)
    save_resume(resume_file, steps, controlnet, optimizer)
    save_half(controlnet, base / f"controlnet_{args.part}")


if __name__ == "__main__":
    main()

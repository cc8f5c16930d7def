"""The miniature's diffusion model: text encoder, UNet and depth-aware inpainting ControlNet, and its noise.

The control image has six channels like InTeX's: rgb in [0, 1] with -1 where unknown, then depth three times.
Velocity prediction with zero terminal SNR.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from texgen.miniature.architecture import Architecture
from texgen.miniature.training_loop import drop_fields, save_half


class Denoiser(nn.Module):
    """The three networks that are trained together."""

    def __init__(
        self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel, controlnet: ControlNetModel
    ) -> None:
        super().__init__()
        self.text_encoder, self.unet, self.controlnet = text_encoder, unet, controlnet

    def forward(self, latents: Tensor, timesteps: Tensor, tokens: Tensor, control: Tensor) -> Tensor:
        """Velocity ``[B, 8, 32, 32]`` from noisy latents, tokens ``[B, L]`` and control ``[B, 6, H, W]``."""
        text = self.text_encoder(tokens).last_hidden_state
        return controlled_velocity(self.unet, self.controlnet, latents, timesteps, text, control)


def controlled_velocity(
    unet: UNet2DConditionModel,
    controlnet: ControlNetModel,
    latents: Tensor,
    timesteps: Tensor,
    text: Tensor,
    control: Tensor,
) -> Tensor:
    """Velocity ``[B, 8, h, w]`` from noisy latents, time steps ``[B]``, encoded text ``[B, L, D]`` and
    control images ``[B, C, H, W]``."""
    down, middle = controlnet(
        latents, timesteps, encoder_hidden_states=text, controlnet_cond=control, return_dict=False
    )
    return unet(
        latents,
        timesteps,
        encoder_hidden_states=text,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
    ).sample


def new_denoiser(architecture: Architecture, tokenizer: CLIPTokenizer) -> Denoiser:
    """An untrained denoiser that reads a tokenizer's ids."""
    unet = architecture.unet()
    text_encoder = architecture.text_encoder(len(tokenizer), tokenizer.eos_token_id)
    return Denoiser(text_encoder, unet, architecture.controlnet(unet, 6))


@torch.no_grad()
def open_finished(folder: Path, tokenizer: CLIPTokenizer) -> Denoiser:
    """The denoiser of a finished backbone folder, whatever its architecture, for a tokenizer of other ids.

    A piece of text that both tokenizers know keeps its embedding, whatever its number; new ones are random.
    """
    unet = UNet2DConditionModel.from_pretrained(folder / "unet").float()
    controlnet = ControlNetModel.from_pretrained(folder / "controlnet_depth_inpaint").float()
    finished = CLIPTextModel.from_pretrained(folder / "text_encoder").float()
    known = finished.get_input_embeddings().weight.clone()
    config = finished.config
    config.vocab_size, config.eos_token_id = len(tokenizer), tokenizer.eos_token_id
    config.pad_token_id = tokenizer.eos_token_id
    text_encoder = CLIPTextModel(config)
    rows = text_encoder.get_input_embeddings().weight.clone()
    old = CLIPTokenizer.from_pretrained(folder / "tokenizer").get_vocab()
    for piece, number in tokenizer.get_vocab().items():
        if piece in old:
            rows[number] = known[old[piece]]
    finished.get_input_embeddings().weight = nn.Parameter(rows)
    text_encoder.load_state_dict(finished.state_dict())
    for net in (unet, controlnet, text_encoder):
        net.train().requires_grad_(True)
    return Denoiser(text_encoder, unet, controlnet)


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


def save_backbone(folder: Path, model: Denoiser, tokenizer: CLIPTokenizer) -> None:
    """Write what `texgen.diffusion.backbone` opens in the diffusers layout, but for the VAE."""
    save_half(model.unet, folder / "unet")
    save_half(model.controlnet, folder / "controlnet_depth_inpaint")
    model.text_encoder.save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    make_scheduler().save_pretrained(folder / "scheduler")
    for config in folder.glob("*/config.json"):
        drop_fields(config, "_name_or_path")

"""Tiny random instances of the real diffusion classes, written to disk in the genuine folder layout.

Two families, both of which `texgen.diffusion.backbone.Backbone.load` opens like any published checkpoint:

- `write_sd15(root)`: the layout of Stable Diffusion 1.5 (UNet2DConditionModel, AutoencoderKL with 8x
  down-sampling, CLIPTextModel, CLIPTokenizer, PNDM scheduler file, epsilon prediction) plus a depth-aware
  inpainting ControlNet with 6 conditioning channels in a folder of its own, as on the hub;
- `write_miniature(root)`: the layout of the shipped miniature (AutoencoderTiny with 4x down-sampling,
  v-prediction with zero terminal SNR, ControlNet inside the same folder).

The weights are random and seeded; zero-initialised convolutions are made non-zero so that the conditioning
really reaches the output. `SD15_IMAGE` and `MINIATURE_IMAGE` are image sizes that fit (8x8 latents).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    DDIMScheduler,
    PNDMScheduler,
    UNet2DConditionModel,
)
from tokenizers import pre_tokenizers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SD15_IMAGE = 64
MINIATURE_IMAGE = 32
ROLE = "depth_inpaint"
_TEXT_WIDTH = 16


def write_tokenizer(folder: Path, max_length: int = 77) -> CLIPTokenizer:
    """Byte-level CLIP tokenizer without merges (514 tokens), as vocab.json and merges.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": max_length,
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
            }
        )
    )
    return CLIPTokenizer.from_pretrained(folder)


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    return CLIPTextModel(config)


def _unet(in_channels: int = 4) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=2,
    )


def _controlnet(embedding_channels: tuple[int, ...], channels: int = 6) -> ControlNetModel:
    net = ControlNetModel(
        in_channels=4,
        conditioning_channels=channels,
        layers_per_block=1,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        cross_attention_dim=_TEXT_WIDTH,
        attention_head_dim=2,
        conditioning_embedding_out_channels=embedding_channels,
    )
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
    return net


def _write_index(folder: Path, scheduler: str, vae: str) -> None:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": [None, None],
        "safety_checker": [None, None],
        "requires_safety_checker": False,
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", vae],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))


def _write(folder: Path, controlnet_folder: Path, vae, scheduler, embedding_channels, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae = vae()
        tokenizer = write_tokenizer(folder / "tokenizer")
        _text_encoder(tokenizer).save_pretrained(folder / "text_encoder")
        _unet().save_pretrained(folder / "unet")
        vae.save_pretrained(folder / "vae")
        _controlnet(embedding_channels).save_pretrained(controlnet_folder)
    scheduler.save_pretrained(folder / "scheduler")
    _write_index(folder, type(scheduler).__name__, type(vae).__name__)


def write_sd15(root: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write the Stable Diffusion 1.5 layout; returns (base folder, ControlNet folder)."""
    base, controlnet = Path(root) / "sd15", Path(root) / "control_sd15_depth_aware_inpaint"
    scheduler = PNDMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
    )

    def vae() -> AutoencoderKL:
        return AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=4,
            layers_per_block=1,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            scaling_factor=0.18215,
        )

    _write(base, controlnet, vae, scheduler, (4, 8, 8, 8), seed)
    return base, controlnet


def write_miniature(root: Path, seed: int = 1) -> tuple[Path, Path]:
    """Write the miniature's layout; returns (base folder, ControlNet folder, which lies inside the base)."""
    base = Path(root) / "miniature"
    controlnet = base / f"controlnet_{ROLE}"
    scheduler = DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
    )

    def vae() -> AutoencoderTiny:
        return AutoencoderTiny(
            encoder_block_out_channels=(8, 8, 8),
            decoder_block_out_channels=(8, 8, 8),
            num_encoder_blocks=(1, 1, 1),
            num_decoder_blocks=(1, 1, 1),
            latent_channels=4,
            scaling_factor=0.7,
            shift_factor=0.1,
        )

    _write(base, controlnet, vae, scheduler, (4, 8, 8), seed)
    return base, controlnet


def load_sd15(root: Path, dtype: torch.dtype = torch.float32, seed: int = 0):
    """Write (when missing) and open the SD 1.5 family as a `texgen.diffusion.backbone.Backbone`."""
    from texgen.diffusion.backbone import Backbone

    base, controlnet = Path(root) / "sd15", Path(root) / "control_sd15_depth_aware_inpaint"
    if not (base / "model_index.json").exists():
        base, controlnet = write_sd15(root, seed)
    return Backbone.load(base, {ROLE: controlnet}, device="cpu", dtype=dtype, local_files_only=True)


def load_miniature(root: Path, dtype: torch.dtype = torch.float32, seed: int = 1):
    """Write (when missing) and open the miniature family as a `texgen.diffusion.backbone.Backbone`."""
    from texgen.diffusion.backbone import Backbone

    base = Path(root) / "miniature"
    controlnet = base / f"controlnet_{ROLE}"
    if not (base / "model_index.json").exists():
        base, controlnet = write_miniature(root, seed)
    return Backbone.load(base, {ROLE: controlnet}, device="cpu", dtype=dtype, local_files_only=True)


def load_sd15_with(root: Path, roles: tuple[str, ...], seed: int = 2):
    """The SD 1.5 family with three-channel ControlNets of some roles and an inpainting UNet besides."""
    backbone = load_sd15(root)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        nets = {role: _controlnet((4, 8, 8, 8), 3) for role in roles}
        inpainting = _unet(9)
    backbone.controlnets |= {role: net.requires_grad_(False).eval() for role, net in nets.items()}
    backbone.inpainting = inpainting.requires_grad_(False).eval()
    return backbone

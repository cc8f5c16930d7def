"""The smallest backbone and mesh that the benchmarks run on."""

from __future__ import annotations

import math

import torch
from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from texgen.diffusion.backbone import Backbone
from texgen.mesh.mesh import Mesh

ROLE = "depth_inpaint"


def tiny_backbone() -> Backbone:
    """A random model of the miniature's kind: levels of 16 and 32 channels, latents a quarter of images."""
    torch.manual_seed(0)
    width, common = 16, {"norm_num_groups": 4, "cross_attention_dim": 16, "attention_head_dim": 4}
    blocks = {"block_out_channels": (16, 32), "layers_per_block": 1}
    down = ("CrossAttnDownBlock2D", "DownBlock2D")
    tokenizer = CLIPTokenizer.from_pretrained("models/miniature/backbone/tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=width,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
    )
    channels = {name: (8, 8, 8) for name in ("encoder_block_out_channels", "decoder_block_out_channels")}
    layers = {name: (1, 1, 1) for name in ("num_encoder_blocks", "num_decoder_blocks")}
    scheduler = {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
    }
    return Backbone(
        UNet2DConditionModel(
            down_block_types=down, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), **blocks, **common
        ),
        {
            ROLE: ControlNetModel(
                conditioning_channels=6,
                down_block_types=down,
                conditioning_embedding_out_channels=(8, 8, 8),
                **blocks,
                **common,
            )
        },
        AutoencoderTiny(latent_channels=4, **channels, **layers),
        CLIPTextModel(text),
        tokenizer,
        scheduler,
    )


def ball(rows: int = 16, columns: int = 24) -> Mesh:
    """A sphere with one chart, longest side 1.6."""
    v, u = torch.meshgrid(torch.linspace(0, 1, rows + 1), torch.linspace(0, 1, columns + 1), indexing="ij")
    polar, azimuth = math.pi * (v - 0.5).flatten(), 2 * math.pi * u.flatten()
    points = torch.stack([polar.cos() * azimuth.sin(), polar.sin(), polar.cos() * azimuth.cos()], dim=1)
    first = torch.arange(rows)[:, None] * (columns + 1) + torch.arange(columns)
    a, b, c, d = (first + offset for offset in (0, 1, columns + 2, columns + 1))
    faces = torch.cat([torch.stack(each, dim=-1).reshape(-1, 3) for each in ((a, b, c), (a, c, d))])
    uvs = 0.02 + 0.96 * torch.stack([u.flatten(), v.flatten()], dim=1)
    return Mesh("ball", 0.8 * points, faces, uvs, faces.clone(), points, torch.zeros(3), 1.0)

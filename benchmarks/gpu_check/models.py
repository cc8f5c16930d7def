"""Random models of full size, or tiny ones, made where they are used: nothing is downloaded."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from rewards.preference.clip_model import FrozenClip
from rewards.preference.preprocess import Preprocessing
from texgen.diffusion import captured
from texgen.diffusion.backbone import Backbone
from texgen.mesh.mesh import Mesh

ROOT = Path(__file__).resolve().parents[2]
ROLE = "depth_inpaint"
SCHEDULER = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}


def sd15(device: torch.device, dtype: torch.dtype, tiny: bool) -> Backbone:
    """A backbone with the architecture and sizes of Stable Diffusion 1.5, or two small levels of it."""
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "models/miniature/backbone/tokenizer")
    tokenizer.model_max_length = 77
    width = 32 if tiny else 768
    unet = {"cross_attention_dim": width, "attention_head_dim": 2 if tiny else 8}
    vae = {"latent_channels": 4, "layers_per_block": 2, "block_out_channels": (128, 256, 512, 512)}
    if tiny:
        unet |= {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
        unet |= {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
        vae |= {"layers_per_block": 1, "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4}
    up = {"up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D")} if tiny else {}
    embedding = {"conditioning_embedding_out_channels": (4, 4, 8, 8)} if tiny else {}
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=2 if tiny else 12,
        num_attention_heads=2 if tiny else 12,
        max_position_embeddings=77,
    )
    torch.manual_seed(0)
    with torch.device(device):
        backbone = Backbone(
            UNet2DConditionModel(sample_size=64, **unet, **up),
            {ROLE: ControlNetModel(conditioning_channels=6, **unet, **embedding)},
            AutoencoderKL(
                down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **vae
            ),
            CLIPTextModel(text),
            tokenizer,
            SCHEDULER,
        )
    backbone.to(device, dtype)
    for module in backbone._modules():
        module.to(memory_format=torch.channels_last)
    if captured.wanted(device):
        backbone.captured = captured.Captured()
    return backbone


def clip_l14(device: torch.device, tiny: bool, **options) -> FrozenClip:
    """CLIP ViT-L/14 with random weights, the same for the same device; options are those of `FrozenClip`."""
    tokenizer = CLIPTokenizer.from_pretrained(ROOT / "models/miniature/backbone/tokenizer")
    vision = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}
    text = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    if tiny:
        vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 56}
        text = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    vision |= {"intermediate_size": 4 * vision["hidden_size"], "image_size": 224}
    text |= {"intermediate_size": 4 * text["hidden_size"], "vocab_size": 49408}
    torch.manual_seed(0)
    with torch.device(device):
        model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=768))
    return FrozenClip(model, tokenizer, Preprocessing(224), "random", device, **options)


def torus(name: str, rings: int = 160, sides: int = 96) -> Mesh:
    """A torus of 2 * rings * sides faces in one chart, cut along both circles. Axis y, radii 0.6 and 0.25."""
    u, v = torch.meshgrid(torch.arange(rings), torch.arange(sides), indexing="ij")
    around, tube = (2 * math.pi * each / count for each, count in ((u, rings), (v, sides)))
    radius = 0.6 + 0.25 * torch.cos(tube)
    vertices = torch.stack(
        [radius * torch.cos(around), 0.25 * torch.sin(tube), radius * torch.sin(around)], dim=-1
    )
    flat = torch.stack(
        [torch.cos(tube) * torch.cos(around), torch.sin(tube), torch.cos(tube) * torch.sin(around)], dim=-1
    )
    faces = _grid_faces(u, v, lambda i, j: (i % rings) * sides + j % sides)
    lines = (torch.linspace(0.02, 0.98, count + 1) for count in (rings, sides))
    grid = torch.meshgrid(*lines, indexing="ij")
    return Mesh(
        name,
        vertices.reshape(-1, 3).float(),
        faces,
        torch.stack(grid, dim=-1).reshape(-1, 2),
        _grid_faces(u, v, lambda i, j: i * (sides + 1) + j),
        flat.reshape(-1, 3).float(),
        torch.zeros(3, dtype=torch.float64),
        1.0,
    )


def _grid_faces(u: Tensor, v: Tensor, place) -> Tensor:
    """[2 R S, 3]: two triangles per cell of a grid, whose corners `place(i, j)` numbers."""
    a, b, c, d = place(u, v), place(u + 1, v), place(u + 1, v + 1), place(u, v + 1)
    return torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([a, d, c], -1).reshape(-1, 3)])

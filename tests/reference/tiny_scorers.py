"""Tiny random scorers of the real classes, written to disk in the layout of published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from reference.tiny_models import write_tokenizer
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

SIDE, WIDTH = 32, 12


def write_clip(folder: Path, seed: int = 3) -> Path:
    """A CLIPModel of a few thousand weights with tokenizer and image settings; returns the folder."""
    tokenizer = write_tokenizer(folder, max_length=24)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    text = CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=24, **small, **ends)
    vision = CLIPVisionConfig(image_size=SIDE, patch_size=8, **small)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=WIDTH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        CLIPModel(config).save_pretrained(folder)
    image = {
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.3, 0.2, 0.25],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    return folder


def write_head(folder: Path, seed: int = 5) -> Path:
    """A linear aesthetic head for `write_clip`'s embeddings; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(seed)
    weights = {"weight": torch.randn(1, WIDTH, generator=random), "bias": torch.tensor([5.0])}
    save_file(weights, folder / "head.safetensors")
    return folder

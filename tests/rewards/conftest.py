"""Tiny random scorers of the real classes, saved to disk in the layout of published checkpoints."""

import json

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

SIDE, MEAN, STD = 32, (0.4, 0.5, 0.6), (0.3, 0.2, 0.25)


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory):
    """A CLIPModel of a few thousand weights in transformers' layout, with its own image settings."""
    folder = tmp_path_factory.mktemp("clip")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = letters + [letter + "</w>" for letter in letters] + ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 24, "pad_token": "<|endoftext|>"})
    )
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        text = CLIPTextConfig(
            vocab_size=len(tokens),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=24,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        vision = CLIPVisionConfig(
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=SIDE,
            patch_size=8,
            attention_dropout=0.3,
        )
        config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=12)
        CLIPModel(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "size": {"shortest_edge": SIDE},
                "crop_size": {"height": SIDE, "width": SIDE},
                "image_mean": MEAN,
                "image_std": STD,
            }
        )
    )
    return folder


@pytest.fixture(scope="session")
def head_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aesthetic")
    random = torch.Generator().manual_seed(5)
    save_file(
        {"weight": torch.randn(1, 12, generator=random), "bias": torch.tensor([5.0])},
        folder / "head.safetensors",
    )
    (folder / "config.json").write_text(json.dumps({"typical_range": [3.0, 8.0]}))
    return folder

"""Tiny random scorers of the real classes, written to disk in the layout of published checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from reference.tiny_models import write_tokenizer
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from rewards.checkpoints.blip import DROPPED, BlipTowers, empty_towers
from rewards.preference.image_reward import HeadSettings, ImageReward
from rewards.preference.preprocess import Preprocessing

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


def image_reward(folder: Path, seed: int = 4, heads: int = 2, positions: int = 24) -> ImageReward:
    """An ImageReward of a few thousand weights; its tokenizer is written into the folder."""
    tokenizer = write_tokenizer(folder, max_length=24)
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": heads}
    vision = {**small, "image_size": SIDE, "patch_size": 8, "layer_norm_eps": 1e-6}
    text = {**small, "vocab_size": len(tokenizer), "max_position_embeddings": positions}
    vision_class, vision_config, text_class, text_config = empty_towers(vision, text)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        towers = vision_class(vision_config), text_class(text_config)
        for tower in towers:
            for parameter in tower.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
        head = {"weight": torch.randn(1, 16), "bias": torch.randn(1)}
    settings = HeadSettings(max_length=24)
    return ImageReward(BlipTowers(*towers, {}), head, tokenizer, Preprocessing(SIDE), "tiny", settings)


def official_towers(reward: ImageReward) -> dict[str, torch.Tensor]:
    """Both towers under the keys of published checkpoints on BLIP, with the keys that nobody uses."""
    state = {"blip.text_encoder." + key: value for key, value in reward.text.state_dict().items()}
    names = {
        "embeddings.class_embedding": "cls_token",
        "embeddings.position_embedding": "pos_embed",
        "embeddings.patch_embedding": "patch_embed.proj",
        "post_layernorm": "norm",
        "encoder.layers.": "blocks.",
        "layer_norm": "norm",
        "self_attn.projection": "attn.proj",
        "self_attn.qkv": "attn.qkv",
    }
    for key, value in reward.vision.state_dict().items():
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        state["blip.visual_encoder." + key] = value
    return state | {key: torch.zeros(2) for key in DROPPED}


def linear_layers(
    prefix: str, layers: dict[int | str, tuple[int, int]], seed: int
) -> dict[str, torch.Tensor]:
    """Weights and biases of linear layers: name -> (inputs, outputs)."""
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, (inputs, outputs) in layers.items():
        state[f"{prefix}{name}.weight"] = torch.randn(outputs, inputs, generator=random) / inputs**0.5
        state[f"{prefix}{name}.bias"] = torch.randn(outputs, generator=random)
    return state


def write_blip_extras(folder: Path) -> tuple[ImageReward, dict[str, dict[str, torch.Tensor]]]:
    """CycleReward and both variants of Reward3D as they are published, the tokenizer in `tokenizer`.

    Returns the towers, which they share, and the tensors of their heads by file name.
    """
    reward = image_reward(folder / "tokenizer", seed=6, heads=1, positions=128)
    towers = official_towers(reward)
    widths = {0: (16, 20), 2: (20, 10), 4: (10, 8), 6: (8, 6)}
    affine = linear_layers("mlp.layers.", {**widths, 7: (6, 1)}, 1)
    fusion = {"self_attn.in_proj_": (16, 48), "self_attn.out_proj.": (16, 16), "fusion_gate.0.": (32, 16)}
    fusion = {f"{name}x": shape for name, shape in fusion.items()}
    adapter = {
        key.replace("x.", ""): tensor
        for key, tensor in linear_layers("cross_view_adapter.", fusion, 2).items()
    }
    scorer = linear_layers("Scorer.", {"fc1": (40, 12), "fc2": (12, 6), "fc3": (6, 1)}, 3)
    heads = {
        "CycleReward-Combo.pth": linear_layers("mlp.layers.", {**widths, 8: (6, 1)}, 4),
        "Reward3D_Scorer.pt": affine | scorer,
        "Reward3D_CrossViewFusion.pt": affine | adapter,
    }
    for name, head in heads.items():
        torch.save(towers | head, folder / name)
    med = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 1}
    med |= {"vocab_size": reward.text.config.vocab_size, "max_position_embeddings": 128}
    (folder / "med_config.json").write_text(json.dumps({**med, "encoder_width": 16, "model_type": "bert"}))
    return reward, heads


def write_pick_high(folder: Path, base: Path) -> dict[str, torch.Tensor]:
    """ICT and HP as they are published, on the architecture of the CLIP in `base`; returns HP's head."""
    state = CLIPModel.from_pretrained(base).state_dict()
    state |= {f"{tower}_model.embeddings.position_ids": torch.arange(3)[None] for tower in ("text", "vision")}
    random = torch.Generator().manual_seed(7)
    for place in ("", "hp_backbone"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        noise = {key: torch.randn(t.shape, generator=random) for key, t in state.items() if t.dim() == 2}
        moved = {
            key: t + 0.05 * noise[key] if t.is_floating_point() and t.dim() == 2 else t
            for key, t in state.items()
        }
        torch.save(moved, folder / place / "pytorch_model.bin")
    widths = {0: (WIDTH, 20), 2: (20, 10), 4: (10, 8), 6: (8, 6), 7: (6, 1)}
    head = linear_layers("layers.", widths, 8)
    (folder / "hp_scorer").mkdir(exist_ok=True)
    torch.save(head, folder / "hp_scorer" / "mlp_pytorch_model.bin")
    return head


def write_image_reward(folder: Path, seed: int = 4) -> Path:
    """The same in the plain folder layout; returns the folder."""
    image_reward(folder, seed).save(folder)
    return folder


def write_head(folder: Path, seed: int = 5) -> Path:
    """A linear aesthetic head for `write_clip`'s embeddings; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(seed)
    weights = {"weight": torch.randn(1, WIDTH, generator=random), "bias": torch.tensor([5.0])}
    save_file(weights, folder / "head.safetensors")
    return folder

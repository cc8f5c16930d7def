"""Tensors of published rewards on BLIP, ImageReward and its descendants, as two towers and heads."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from torch import Tensor
from transformers import BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from rewards.checkpoints.tensors import build_model, read_tensors, without

# A buffer, and projections of BLIP's contrastive loss that the reward never uses.
DROPPED = (
    "blip.text_encoder.embeddings.position_ids",
    "blip.vision_proj.weight",
    "blip.vision_proj.bias",
    "blip.text_proj.weight",
    "blip.text_proj.bias",
)
# med_config.json of the checkpoint.
BERT_BASE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,  # transformers' default for BLIP is 8, which loads and is wrong
    "max_position_embeddings": 512,
    "vocab_size": 30524,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
}
_VISION = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj": "embeddings.patch_embedding",
    "norm": "post_layernorm",
}
_VISION_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")


class BlipTowers(NamedTuple):
    """The two towers, and the tensors of what is built on them, by the prefix of their names."""

    vision: BlipVisionModel
    text: BlipTextModel
    parts: dict[str, dict[str, Tensor]]


def read_blip(path: Path, heads: Iterable[str] = ("mlp.",), vision_heads: int | None = None) -> BlipTowers:
    """`blip_from_image_reward` of a file, with the med_config.json beside it where there is one."""
    config = path.with_name("med_config.json")
    settings = json.loads(config.read_text()) if config.is_file() else {}
    return blip_from_image_reward(read_tensors(path), settings, str(path), vision_heads, heads)


def blip_from_image_reward(
    state: dict[str, Tensor],
    med_config: dict,
    where: str,
    vision_heads: int | None = None,
    heads: Iterable[str] = ("mlp.",),
) -> BlipTowers:
    """Towers in float32 from an official state dict; every tensor is used or on the list of dropped ones.

    med_config: its med_config.json; what is not in there is that of BERT base. vision_heads: default one per
    64 features. heads: prefixes of the other parts, which the caller builds. Raises ValueError that names a
    key which is missing or unexpected.
    """
    towers = ("blip.visual_encoder.", "blip.text_encoder.")
    parts: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in (*towers, *heads)}
    for key, tensor in without(state, DROPPED).items():
        prefix = next((prefix for prefix in parts if key.startswith(prefix)), None)
        if prefix is None:
            raise ValueError(f"{where}: weight {key!r} is unexpected; expected a reward on BLIP.")
        parts[prefix][key[len(prefix) :]] = tensor
    visual, textual = (parts.pop(prefix) for prefix in towers)
    for name, part in (("cls_token", visual), ("pos_embed", visual), ("patch_embed.proj.weight", visual)):
        if name not in part:
            raise ValueError(f"{where}: weight 'blip.visual_encoder.{name}' is missing.")
    vision_config = _vision_config(visual, vision_heads)
    text_config = text_config_of(med_config, encoder_width=vision_config.hidden_size)
    vision = build_model(BlipVisionModel, vision_config, _rename_vision(visual), where)
    text = build_model(_TextEncoder, text_config, textual, where)
    return BlipTowers(vision, text, parts)


def text_config_of(settings: dict, encoder_width: int) -> BlipTextConfig:
    """Text tower that attends to image tokens of a width; `settings` are fields of BlipTextConfig."""
    known = {key: settings.get(key, default) for key, default in BERT_BASE.items()}
    # is_decoder only builds the cross attention; calls say is_decoder=False, which makes attention two-way.
    return BlipTextConfig(
        **known,
        encoder_hidden_size=encoder_width,
        is_decoder=True,
        bos_token_id=None,
        eos_token_id=None,
        sep_token_id=None,
        attn_implementation="eager",
    )


def _vision_config(visual: dict[str, Tensor], heads: int | None) -> BlipVisionConfig:
    width, patch = visual["cls_token"].shape[-1], visual["patch_embed.proj.weight"].shape[-1]
    return BlipVisionConfig(
        hidden_size=width,
        intermediate_size=visual["blocks.0.mlp.fc1.weight"].shape[0],
        num_hidden_layers=1 + max(int(key.split(".")[1]) for key in visual if key.startswith("blocks.")),
        num_attention_heads=heads or max(1, width // 64),
        image_size=round((visual["pos_embed"].shape[1] - 1) ** 0.5) * patch,
        patch_size=patch,
        layer_norm_eps=1e-6,
        attn_implementation="eager",
    )


def _rename_vision(visual: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for key, tensor in visual.items():
        block = _BLOCK.fullmatch(key)
        stem, _, kind = key.rpartition(".")
        if block is not None:
            inside = _VISION_BLOCK.get(block[2], block[2])
            renamed[f"encoder.layers.{block[1]}.{inside}.{block[3]}"] = tensor
        elif key in _VISION:
            renamed[_VISION[key]] = tensor
        else:
            renamed[f"{_VISION.get(stem, stem)}.{kind}"] = tensor
    return renamed


class _TextEncoder(BlipTextModel):
    """BlipTextModel without its pooling layer, which the checkpoint does not have."""

    def __init__(self, config: BlipTextConfig) -> None:
        super().__init__(config, add_pooling_layer=False)


def empty_towers(vision: dict, text: dict) -> tuple[type, BlipVisionConfig, type, BlipTextConfig]:
    """Classes and configurations of two towers from plain fields, as `build_model` takes them."""
    vision_config = BlipVisionConfig(**vision, attn_implementation="eager")
    return (
        BlipVisionModel,
        vision_config,
        _TextEncoder,
        text_config_of(text, encoder_width=vision_config.hidden_size),
    )

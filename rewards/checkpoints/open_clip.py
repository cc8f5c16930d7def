"""Tensors of an open_clip CLIP as those of a transformers CLIPModel."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPVisionConfig

from rewards.checkpoints.tensors import build_model, without

# Causal mask of the text tower: a constant that old versions stored.
DROPPED = ("attn_mask",)

_SINGLE = {
    "logit_scale": "logit_scale",
    "text_projection": "text_projection.weight",
    "visual.proj": "visual_projection.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
}
_TRANSPOSED = ("text_projection", "visual.proj")
_NORMS = {
    "ln_final": "text_model.final_layer_norm",
    "visual.ln_pre": "vision_model.pre_layrnorm",  # spelt so in transformers
    "visual.ln_post": "vision_model.post_layernorm",
}
_INSIDE = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")


@dataclass(frozen=True)
class TowerSettings:
    """What shapes of tensors do not tell: heads of both towers and the activation."""

    vision_heads: int
    text_heads: int
    hidden_act: str


VIT_H_14 = TowerSettings(vision_heads=16, text_heads=16, hidden_act="gelu")
# OpenAI's own weights need their approximation of GELU.
VIT_L_14 = TowerSettings(vision_heads=16, text_heads=12, hidden_act="quick_gelu")
VIT_B_32 = TowerSettings(vision_heads=12, text_heads=8, hidden_act="quick_gelu")


def clip_from_open_clip(state: dict[str, Tensor], architecture: TowerSettings, where: str) -> CLIPModel:
    """A CLIPModel in float32 from an open_clip state dict; sizes are read from the shapes of its tensors.

    Raises ValueError that names a key which is missing, unexpected or of another shape.
    """
    return build_model(CLIPModel, clip_config(state, architecture, where), rename(state), where)


def clip_config(state: dict[str, Tensor], architecture: TowerSettings, where: str) -> CLIPConfig:
    """Sizes of both towers."""
    try:
        context, text_width = state["positional_embedding"].shape
        positions, vision_width = state["visual.positional_embedding"].shape
        patch = state["visual.conv1.weight"].shape[-1]
        vocabulary = state["token_embedding.weight"].shape[0]
        projection = state["text_projection"].shape[1]
        vision_inner = state["visual.transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
        text_inner = state["transformer.resblocks.0.mlp.c_fc.weight"].shape[0]
    except KeyError as error:
        raise ValueError(
            f"{where}: weight {error.args[0]!r} is missing; expected an open_clip CLIP."
        ) from None
    text = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=text_width,
        intermediate_size=text_inner,
        num_hidden_layers=_depth(state, "transformer.resblocks."),
        num_attention_heads=architecture.text_heads,
        max_position_embeddings=context,
        hidden_act=architecture.hidden_act,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=0,
        projection_dim=projection,
    )
    vision = CLIPVisionConfig(
        hidden_size=vision_width,
        intermediate_size=vision_inner,
        num_hidden_layers=_depth(state, "visual.transformer.resblocks."),
        num_attention_heads=architecture.vision_heads,
        image_size=round((positions - 1) ** 0.5) * patch,
        patch_size=patch,
        hidden_act=architecture.hidden_act,
        projection_dim=projection,
    )
    return CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=projection)


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keys of transformers; joint query-key-value weights are split. Unknown keys stay as they are."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in without(state, DROPPED).items():
        block = _BLOCK.fullmatch(key)
        stem, _, kind = key.rpartition(".")
        if key in _SINGLE:
            renamed[_SINGLE[key]] = tensor.T.contiguous() if key in _TRANSPOSED else tensor
        elif stem in _NORMS:
            renamed[f"{_NORMS[stem]}.{kind}"] = tensor
        elif block is not None:
            tower = "vision_model" if block[1] else "text_model"
            renamed |= _block(f"{tower}.encoder.layers.{block[2]}", block[3], tensor)
        else:
            renamed[key] = tensor
    return renamed


def restore(state: dict[str, Tensor], template: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `rename`: tensors of a CLIPModel under the keys of an open_clip `template`.

    For handing the same weights to open_clip's own code. Raises KeyError for a tensor that is not there.
    """
    restored = {}
    for key, tensor in without(template, DROPPED).items():
        parts = [state[name] for name in rename({key: tensor})]
        joined = torch.cat(parts) if len(parts) > 1 else parts[0]
        restored[key] = joined.T if key in _TRANSPOSED else joined.reshape(tensor.shape)
    return restored


def _block(layer: str, inside: str, tensor: Tensor) -> dict[str, Tensor]:
    part, _, kind = inside.rpartition(".")
    if inside.startswith("attn.in_proj_"):
        kind = inside.removeprefix("attn.in_proj_")
        return {
            f"{layer}.self_attn.{name}_proj.{kind}": piece.contiguous()
            for name, piece in zip("qkv", torch.chunk(tensor, 3), strict=True)
        }
    return {f"{layer}.{_INSIDE.get(part, part)}.{kind}": tensor}


def _depth(state: dict[str, Tensor], prefix: str) -> int:
    return 1 + max(int(key[len(prefix) :].split(".")[0]) for key in state if key.startswith(prefix))

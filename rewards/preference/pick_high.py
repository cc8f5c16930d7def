"""ICT and HP (arXiv 2507.19002): two CLIP ViT-H/14 that do not mark an image down for being rich in detail.

ICT, "image contained text", is the cosine of image and prompt of a CLIP that was trained to be near 1 once
all of the text is in the image. HP, "high preference", judges the image alone: a logistic function of five
linear layers, without activations between them, on the embedding as it is, not normalised. HP is meant to
rank what ICT no longer tells apart.

Layout: `pytorch_model.bin` for ICT; `hp_backbone/pytorch_model.bin` and `hp_scorer/mlp_pytorch_model.bin` for
HP. The files hold tensors only; architecture, image settings and tokenizer are those of LAION's ViT-H/14,
whose folder is `base`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from rewards.checkpoints.linear_head import fold_head
from rewards.checkpoints.tensors import build_model, read_tensors, without
from rewards.preference.clip_model import FrozenClip, file_digest
from rewards.preference.memory import in_parts
from rewards.preference.preprocess import preprocess, read_preprocessing
from rewards.preference.prompt_text import clean_text, require_prompts
from rewards.preference.tokenizers import open_tokenizer

ICT_FILE = "pytorch_model.bin"
HP_FILES = ("hp_backbone/pytorch_model.bin", "hp_scorer/mlp_pytorch_model.bin")
# Buffers that transformers 4 stored and 5 does not.
DROPPED = ("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids")


def open_clip_file(path: Path, base: str | Path, name: str, **options) -> FrozenClip:
    """A CLIPModel from a file of its tensors, nothing missing or left over, in the architecture of `base`.

    Its prompts are cleaned, as those of open_clip's tokenizer, which the published code uses.
    """
    state = without(read_tensors(path), DROPPED)
    return FrozenClip(
        build_model(CLIPModel, CLIPConfig.from_pretrained(base, trust_remote_code=False), state, str(path)),
        open_tokenizer(base),
        read_preprocessing(base),
        f"{name}@{file_digest(path)}",
        **{"clean": clean_text, **options},
    )


class ICT:
    """Cosine of image and prompt, at most 1."""

    name = "ict"
    higher_is_better = True
    typical_range = (0.0, 1.0)

    def __init__(self, clip: FrozenClip) -> None:
        self.clip = clip
        self.version = clip.version

    @classmethod
    def load(cls, source: str | Path, base: str | Path, **options) -> ICT:
        """`source`: folder with `pytorch_model.bin`; options are those of `FrozenClip`."""
        return cls(open_clip_file(Path(source) / ICT_FILE, base, "ICT", **options))

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> cosines `[B]` float32, differentiable in the images."""
        return self.clip.cosine(images, prompts)

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same of every image with every prompt; each is encoded once."""
        return self.clip.cosine_matrix(images, prompts)


class HP:
    """Preference for an image in (0, 1); the prompt is not used."""

    name = "hp"
    higher_is_better = True
    typical_range = (0.0, 1.0)

    def __init__(self, clip: FrozenClip, head: dict[str, Tensor], version: str) -> None:
        weight, bias = fold_head(head, version)
        width = clip.model.config.projection_dim
        if weight.shape != (width,):
            raise ValueError(f"{version}: the head takes {weight.numel()} features, CLIP gives {width}.")
        self.clip = clip
        self.weight = weight.float().to(clip.device)
        self.bias = bias.float().to(clip.device)
        self.version = version

    @classmethod
    def load(cls, source: str | Path, base: str | Path, **options) -> HP:
        """`source`: folder with both files of HP; options are those of `FrozenClip`."""
        backbone, head = (Path(source) / name for name in HP_FILES)
        clip = open_clip_file(backbone, base, "HP", **options)
        return cls(clip, read_tensors(head), f"{clip.version}+{file_digest(head)}")

    def __call__(self, images: Tensor, prompts: list[str] | None = None) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> preferences `[B]` float32, differentiable in the images."""
        return in_parts(self._judge, self.clip.options.max_batch, images.to(self.clip.device))

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same for every one of the prompts, none of which is read."""
        require_prompts(prompts)
        return self(images)[:, None].repeat(1, len(prompts))

    def _judge(self, images: Tensor) -> Tensor:
        return self.score_pixels(preprocess(images, self.clip.preprocessing, self.clip.options.eight_bit))

    def score_pixels(self, pixels: Tensor) -> Tensor:
        """Preferences `[B]` of preprocessed pixels: the network alone."""
        with torch.autocast(self.clip.device.type, enabled=False):
            embeddings = self.clip.project_pixels(pixels)
            return torch.sigmoid((embeddings * self.weight).sum(dim=-1) + self.bias)

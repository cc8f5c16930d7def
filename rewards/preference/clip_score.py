"""CLIPScore: cosine between the embeddings of an image and of its prompt."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from rewards.preference.clip_model import FrozenClip


class CLIPScore:
    """Raw cosine in [-1, 1], without the factors 2.5 or 100 and the clamp that other definitions add.

    Three definitions share the name; this is the one whose values (about 0.2-0.35) tables of texture
    generation print. prefix is put before every prompt ("A photo depicts " in the original definition).
    """

    name = "clipscore"
    higher_is_better = True
    typical_range = (0.1, 0.4)

    def __init__(self, clip: FrozenClip, prefix: str = "") -> None:
        self.clip = clip
        self.prefix = prefix
        self.version = clip.version

    @classmethod
    def load(cls, source: str | Path, prefix: str = "", **options) -> CLIPScore:
        """`source`: folder or hub id of a CLIPModel; options are those of `FrozenClip.load`."""
        return cls(FrozenClip.load(source, **options), prefix)

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> cosines `[B]` float32, differentiable in the images."""
        if len(prompts) != len(images):
            raise ValueError(f"{len(images)} images but {len(prompts)} prompts; give one prompt per image.")
        texts = self.clip.text_features([self.prefix + prompt for prompt in prompts])
        return (self.clip.image_features(images) * texts).sum(dim=-1)

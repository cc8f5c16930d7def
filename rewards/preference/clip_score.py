"""CLIPScore: cosine between the embeddings of an image and of its prompt."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from rewards.preference.clip_model import FrozenClip
from rewards.preference.prompt_text import clean_text, require_prompts


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
        """`source`: folder of a CLIPModel in transformers layout; options are those of `FrozenClip`."""
        return cls(FrozenClip.load(source, **{"clean": clean_text, "fit": "crop-even", **options}), prefix)

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> cosines `[B]` float32, differentiable in the images."""
        return self.clip.cosine(images, [self.prefix + prompt for prompt in prompts])

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same of every image with every prompt; each is encoded once."""
        require_prompts(prompts)
        return self.clip.cosine_matrix(images, [self.prefix + prompt for prompt in prompts])

"""PickScore v1 (arXiv 2305.01569): a CLIP that was fine-tuned to people's choices between two images."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from rewards.preference.clip_model import FrozenClip


class PickScore:
    """Cosine of image and prompt times the model's temperature, about 100; values 18-23 with its weights.

    The prompt goes to the tokenizer as it is, as in the published recipe.
    """

    name = "pickscore"
    higher_is_better = True
    typical_range = (18.0, 23.0)

    def __init__(self, clip: FrozenClip) -> None:
        self.clip = clip
        self.version = clip.version

    @classmethod
    def load(cls, source: str | Path, **options) -> PickScore:
        """`source`: folder of a CLIPModel in transformers layout; options are those of `FrozenClip.load`.

        The published weights come without a tokenizer and image settings; both are those of LAION's ViT-H/14,
        whose folder is `tokenizer`.
        """
        if "tokenizer" in options and "preprocessing" not in options and options["tokenizer"] is not None:
            from rewards.preference.preprocess import read_preprocessing

            options["preprocessing"] = read_preprocessing(options["tokenizer"])
        return cls(FrozenClip.load(source, **options))

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> scores `[B]` float32, differentiable in the images."""
        return self.clip.model.logit_scale.exp() * self.clip.cosine(images, prompts)

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same of every image with every prompt; each is encoded once."""
        return self.clip.model.logit_scale.exp() * self.clip.cosine_matrix(images, prompts)

"""HPSv2 and HPSv2.1 (arXiv 2306.09341): a CLIP ViT-H/14 that was fine-tuned to people's rankings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from rewards.checkpoints.open_clip import VIT_H_14, TowerSettings, clip_from_open_clip
from rewards.checkpoints.published_files import HPS_FILES
from rewards.checkpoints.tensors import read_tensors
from rewards.preference.clip_model import FrozenClip, file_digest
from rewards.preference.preprocess import Preprocessing
from rewards.preference.prompt_text import clean_text
from rewards.preference.tokenizers import open_tokenizer


class HPSv2:
    """Cosine of image and prompt, 0.15-0.33; not scaled.

    Its preprocessing is its own: the longest side is resized as floats, without clamping, and the image is
    padded with black to a square.
    """

    name = "hpsv2"
    higher_is_better = True
    typical_range = (0.15, 0.33)

    def __init__(self, clip: FrozenClip) -> None:
        self.clip = clip
        self.clip.preprocessing = replace(clip.preprocessing, fit="pad", resample="tensor")
        self.version = clip.version

    @classmethod
    def load(
        cls,
        source: str | Path,
        version: str = "v2.1",
        tokenizer: str | Path | None = None,
        architecture: TowerSettings = VIT_H_14,
        **options,
    ) -> HPSv2:
        """`source`: a folder in transformers layout, or with the official file of `version`, or that file.

        tokenizer: folder of CLIP's tokenizer, needed for the official file; options: those of `FrozenClip`.
        """
        if version not in HPS_FILES:
            raise ValueError(f"HPSv2 has no version {version!r}; allowed are {', '.join(HPS_FILES)}.")
        options = {"clean": clean_text, **options}
        path = Path(source)
        if (path / "config.json").is_file():
            return cls(FrozenClip.load(path, tokenizer, **options))
        if path.is_dir():
            path = path / HPS_FILES[version]
        if tokenizer is None:
            raise ValueError(f"{path}: the official checkpoint has no tokenizer; give the folder of one.")
        model = clip_from_open_clip(read_tensors(path), architecture, str(path))
        size = model.config.vision_config.image_size
        clip = FrozenClip(
            model,
            open_tokenizer(tokenizer),
            Preprocessing(size=size),
            f"HPS{version}@{file_digest(path)}",
            **options,
        )
        return cls(clip)

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> cosines `[B]` float32, differentiable in the images."""
        return self.clip.cosine(images, prompts)

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same of every image with every prompt; each is encoded once."""
        return self.clip.cosine_matrix(images, prompts)

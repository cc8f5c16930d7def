"""A frozen CLIP model that embeds images with gradient and prompts once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPModel

from rewards.preference.memory import in_parts, recompute_layers
from rewards.preference.precision import computing, network_dtype
from rewards.preference.preprocess import Fit, Preprocessing, preprocess, read_preprocessing
from rewards.preference.prompt_text import require_prompts
from rewards.preference.scorer_options import ScorerOptions
from rewards.preference.tokenizers import open_tokenizer
from texgen.diffusion.prompts import warn_of_prompt


class FrozenClip:
    """CLIP towers in eval mode, weights without gradient.

    clean: what is done to a prompt before the tokenizer sees it. options: those of `ScorerOptions`.
    """

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: Callable,
        preprocessing: Preprocessing,
        version: str,
        device: str | torch.device = "cpu",
        clean: Callable[[str], str] | None = None,
        **options,
    ) -> None:
        self.options = ScorerOptions(**options)
        self.model = model.to(network_dtype(self.options.precision)).eval().requires_grad_(False).to(device)
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.version = version
        self.clean = clean
        self._texts: dict[str, Tensor] = {}
        if self.options.recompute:
            recompute_layers(self.model.vision_model.encoder.layers)

    @classmethod
    def load(
        cls,
        source: str | Path,
        tokenizer: str | Path | None = None,
        preprocessing: Preprocessing | None = None,
        fit: Fit = "crop",
        **options,
    ) -> FrozenClip:
        """From a folder in transformers layout; options are those of the class.

        tokenizer: folder of the tokenizer, when it lies elsewhere; preprocessing: default that of the folder;
        fit: how images that are not square are made so. A weight that is missing or unexpected is an error.
        """
        folder = Path(source)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(f"{folder}: there is no config.json, so no CLIP in transformers layout.")
        model, report = CLIPModel.from_pretrained(
            folder, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
        for problem in ("missing", "unexpected"):
            keys = [key for key in report[f"{problem}_keys"] if not key.endswith("position_ids")]
            if keys:
                raise ValueError(f"{folder}: weights of the model are {problem}, e.g. {min(keys)}.")
        return cls(
            model,
            open_tokenizer(tokenizer or folder),
            replace(preprocessing or read_preprocessing(folder), fit=fit),
            f"{folder.name}@{folder_digest(folder)}",
            **options,
        )

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    def image_features(self, images: Tensor) -> Tensor:
        """Unit embeddings `[B, D]` float32 of `images [B, 3, H, W] in [0, 1]`, differentiable."""
        return in_parts(self._embed_images, self.options.max_batch, images.to(self.device))

    def text_features(self, prompts: list[str]) -> Tensor:
        """Unit embeddings `[B, D]` float32 of prompts; each distinct prompt is encoded once."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if missing:
            ids, mask = self.tokens(missing)
            with torch.no_grad(), computing(self.options.precision, self.device):
                output = self.model.get_text_features(input_ids=ids, attention_mask=mask)
                embeddings = F.normalize(pooled(output).float(), dim=-1)
            self._texts.update(zip(missing, embeddings, strict=True))
        return torch.stack([self._texts[prompt] for prompt in prompts])

    def cosine(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Cosine `[B]` of image b with prompt b, for no other pair."""
        if len(prompts) != len(images):
            raise ValueError(f"{len(images)} images but {len(prompts)} prompts; give one prompt per image.")
        return (self.image_features(images) * self.text_features(prompts)).sum(dim=-1)

    def cosine_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """Cosines `[B, P]` of every image with every prompt; each image and each prompt is encoded once."""
        require_prompts(prompts)
        # The caller's autocast would do the product in half precision.
        with torch.autocast(self.device.type, enabled=False):
            return self.image_features(images) @ self.text_features(prompts).T

    def tokens(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask `[B, L]` of cleaned prompts, truncated and padded to the model's length."""
        length = self.model.config.text_config.max_position_embeddings
        for prompt in prompts:
            warn_of_prompt(self.tokenizer, prompt, length)
        encoded = self.tokenizer(
            [self.clean(prompt) for prompt in prompts] if self.clean else prompts,
            padding="max_length",
            truncation=True,
            max_length=length,
            return_tensors="pt",
        ).to(self.device)
        return encoded["input_ids"], encoded["attention_mask"]

    def embed_pixels(self, pixels: Tensor) -> Tensor:
        """Unit embeddings `[B, D]` of preprocessed pixels: the network alone."""
        return F.normalize(self.project_pixels(pixels), dim=-1)

    def project_pixels(self, pixels: Tensor) -> Tensor:
        """Embeddings `[B, D]` float32 of preprocessed pixels, of any length."""
        with computing(self.options.precision, self.device):
            output = self.model.get_image_features(
                pixel_values=pixels.to(network_dtype(self.options.precision))
            )
            return pooled(output).float()

    def _embed_images(self, images: Tensor) -> Tensor:
        return self.embed_pixels(preprocess(images, self.preprocessing, self.options.eight_bit))


def pooled(output) -> Tensor:
    """Projected embedding of a tower: transformers 5 wraps it as `pooler_output`, earlier ones did not."""
    return output if isinstance(output, Tensor) else output.pooler_output


def folder_digest(folder: Path) -> str:
    """First 12 hex digits of the sha256 over the weight files of a folder, in order of their names."""
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]


def file_digest(path: Path) -> str:
    """First 12 hex digits of the sha256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:12]

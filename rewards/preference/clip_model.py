"""A frozen CLIP model that embeds images with gradient and prompts once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import AutoTokenizer, CLIPModel

from rewards.preference.preprocess import Preprocessing, preprocess, read_preprocessing


class FrozenClip:
    """CLIP towers in eval mode and float32, weights without gradient.

    eight_bit: round inputs as the 8-bit pipeline does (for evaluation). max_batch: images per forward pass;
    more are split, each part under a checkpoint, so that memory in training does not grow with the number of
    views.
    """

    def __init__(
        self,
        model: CLIPModel,
        tokenizer: Callable,
        preprocessing: Preprocessing,
        version: str,
        eight_bit: bool = False,
        max_batch: int | None = None,
    ) -> None:
        self.model = model.float().eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.version = version
        self.eight_bit = eight_bit
        self.max_batch = max_batch
        self._texts: dict[str, Tensor] = {}

    @classmethod
    def load(
        cls,
        source: str | Path,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
        eight_bit: bool = False,
        max_batch: int | None = None,
    ) -> FrozenClip:
        """From a folder in transformers layout, or a hub id at a revision. A missing weight is an error."""
        folder = Path(source)
        if not folder.is_dir():
            from huggingface_hub import snapshot_download

            folder = Path(
                snapshot_download(
                    str(source),
                    revision=revision,
                    local_files_only=local_files_only,
                    allow_patterns=["*.json", "*.txt", "*.safetensors"],
                )
            )
            version = f"{source}@{revision or folder.name}"
        else:
            version = f"{folder.name}@{folder_digest(folder)}"
        model, report = CLIPModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
        if report["missing_keys"]:
            raise ValueError(
                f"{folder}: weights of the model are missing, e.g. {min(report['missing_keys'])}."
            )
        tokenizer = AutoTokenizer.from_pretrained(folder)
        return cls(model.to(device), tokenizer, read_preprocessing(folder), version, eight_bit, max_batch)

    @property
    def device(self) -> torch.device:
        return self.model.logit_scale.device

    def image_features(self, images: Tensor) -> Tensor:
        """Unit embeddings `[B, D]` float32 of `images [B, 3, H, W] in [0, 1]`, differentiable."""
        if self.max_batch is None or len(images) <= self.max_batch:
            return self._embed_images(images)
        parts = images.split(self.max_batch)
        return torch.cat([checkpoint(self._embed_images, part, use_reentrant=False) for part in parts])

    def text_features(self, prompts: list[str]) -> Tensor:
        """Unit embeddings `[B, D]` float32 of prompts; each distinct prompt is encoded once."""
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._texts]
        if missing:
            tokens = self.tokenizer(
                missing,
                padding="max_length",
                truncation=True,
                max_length=self.model.config.text_config.max_position_embeddings,
                return_tensors="pt",
            ).to(self.device)
            with torch.no_grad():
                output = self.model.get_text_features(
                    input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
                )
                embeddings = F.normalize(pooled(output).float(), dim=-1)
            self._texts.update(zip(missing, embeddings, strict=True))
        return torch.stack([self._texts[prompt] for prompt in prompts])

    def _embed_images(self, images: Tensor) -> Tensor:
        pixels = preprocess(images.to(self.device), self.preprocessing, self.eight_bit)
        # Autocast of the caller would make reward gradients noisy.
        with torch.autocast(self.device.type, enabled=False):
            output = self.model.get_image_features(pixel_values=pixels)
        return F.normalize(pooled(output).float(), dim=-1)


def pooled(output) -> Tensor:
    """Projected embedding of a tower: transformers 5 wraps it as `pooler_output`, earlier ones did not."""
    return output if isinstance(output, Tensor) else output.pooler_output


def folder_digest(folder: Path) -> str:
    """First 12 hex digits of the sha256 over the weight files of a folder, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()[:12]

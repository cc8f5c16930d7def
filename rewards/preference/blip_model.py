"""A frozen BLIP whose text tower looks at an image while it reads: what it sees in a pair, with gradient."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from rewards.checkpoints.blip import BlipTowers, read_blip
from rewards.preference.memory import in_parts, recompute_layers
from rewards.preference.precision import computing, network_dtype
from rewards.preference.preprocess import Preprocessing, preprocess
from rewards.preference.prompt_text import require_prompts
from rewards.preference.scorer_options import ScorerOptions
from rewards.preference.tokenizers import open_tokenizer
from texgen.diffusion.prompts import warn_of_prompt


class FrozenBlip:
    """Both towers in eval mode, weights without gradient.

    A score is a head on `features`: the last text state at position 0, which has attended to all tokens of
    the prompt and of the image. max_length: tokens that a prompt is truncated and padded to. options: those
    of `ScorerOptions`.
    """

    def __init__(
        self,
        towers: BlipTowers,
        tokenizer: Callable,
        preprocessing: Preprocessing,
        version: str,
        max_length: int,
        device: str | torch.device = "cpu",
        **options,
    ) -> None:
        self.options = ScorerOptions(**options)
        dtype = network_dtype(self.options.precision)
        self.vision = towers.vision.to(dtype).eval().requires_grad_(False).to(device)
        self.text = towers.text.to(dtype).eval().requires_grad_(False).to(device)
        self.tokenizer = tokenizer
        self.preprocessing = preprocessing
        self.version = version
        self.max_length = max_length
        self._tokens: dict[str, tuple[Tensor, Tensor]] = {}
        if self.options.recompute:
            recompute_layers(self.vision.encoder.layers)
            recompute_layers(self.text.encoder.layer)

    @property
    def device(self) -> torch.device:
        return self.vision.embeddings.class_embedding.device

    @property
    def width(self) -> int:
        """Numbers per pair."""
        return self.text.config.hidden_size

    def features(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, D]` float32 of `images [B, 3, H, W] in [0, 1]`, image b with prompt b, differentiable."""
        if len(prompts) != len(images):
            raise ValueError(f"{len(images)} images but {len(prompts)} prompts; give one prompt per image.")
        ids, mask = self.tokens(prompts)
        return in_parts(self._features, self.options.max_batch, images.to(self.device), ids, mask)

    def feature_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P, D]` of every image with every prompt; the image tower looks at each image once.

        The text tower reads the image, so it runs for every pair, at most `max_batch` pairs at a time, or as
        many as there are images. With gradient, what the image tower made of all images is kept.
        """
        require_prompts(prompts)
        ids, mask = self.tokens(prompts)
        seen = in_parts(self._see_images, self.options.max_batch, images.to(self.device))
        count = len(prompts)

        def read_pairs(pairs: Tensor) -> Tensor:
            return self.read(seen[pairs // count], ids[pairs % count], mask[pairs % count])

        pairs = torch.arange(len(images) * count, device=self.device)
        features = in_parts(read_pairs, self.options.max_batch or len(images), pairs)
        return features.reshape(len(images), count, self.width)

    def _features(self, images: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        return self.read(self._see_images(images), ids, mask)

    def _see_images(self, images: Tensor) -> Tensor:
        return self.see(preprocess(images, self.preprocessing, self.options.eight_bit))

    def states(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """`[B, D]` of preprocessed pixels and token ids: the network alone."""
        return self.read(self.see(pixels), ids, mask)

    def see(self, pixels: Tensor) -> Tensor:
        """Last states `[B, patches + 1, W]` of the image tower, of preprocessed pixels."""
        with computing(self.options.precision, self.device):
            # Not pooler_output, which would apply the final norm again.
            return self.vision(
                pixel_values=pixels.to(network_dtype(self.options.precision))
            ).last_hidden_state

    def read(self, seen: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """`[B, D]` of the image tower's states and token ids: the text tower alone."""
        # Position 0 alone is used and nothing attends to padding: columns that no prompt fills are left out.
        length = int(mask.any(dim=0).nonzero().max()) + 1
        with computing(self.options.precision, self.device):
            states = self.text(
                input_ids=ids[:, :length],
                attention_mask=mask[:, :length],
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=seen.device),
            ).last_hidden_state
            return states[:, 0].float()

    def tokens(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Token ids and mask `[B, max_length]` of prompts, truncated and padded; each prompt is read once."""
        for prompt in dict.fromkeys(prompts):
            if prompt not in self._tokens:
                warn_of_prompt(self.tokenizer, prompt, self.max_length)
                encoded = self.tokenizer(
                    prompt,
                    padding="max_length",
                    truncation=True,
                    max_length=self.max_length,
                    return_tensors="pt",
                ).to(self.device)
                self._tokens[prompt] = (encoded["input_ids"][0], encoded["attention_mask"][0])
        ids, masks = zip(*(self._tokens[prompt] for prompt in prompts), strict=True)
        return torch.stack(ids), torch.stack(masks)


class BlipScore(FrozenBlip):
    """A FrozenBlip with a head: `_judge` maps features `[B, D]` to scores `[B]`.

    A subclass is made of both towers, the tensors of its head, a tokenizer, the preprocessing and a version.
    """

    @classmethod
    def of_checkpoint(
        cls,
        path: Path,
        tokenizer: str | Path | None,
        version: str,
        vision_heads: int | None = None,
        **options,
    ) -> Self:
        """The score in a published file, which holds towers and head; tokenizer: the folder of BERT's."""
        if tokenizer is None:
            raise ValueError(f"{path.parent}: the checkpoint has no tokenizer; give the folder of one.")
        blip = read_blip(path, vision_heads=vision_heads)
        preprocessing = Preprocessing(size=blip.vision.config.image_size, fit="crop-even")
        opened = open_tokenizer(tokenizer)
        return cls(blip, blip.parts["mlp."], opened, preprocessing, version, **options)

    def __call__(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> scores `[B]` float32, differentiable in the images."""
        return self._judge(self.features(images, prompts))

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same of every image with every prompt; the image tower looks at each image once."""
        features = self.feature_matrix(images, prompts)
        return self._judge(features.flatten(0, 1)).reshape(features.shape[:2])

    def score_pixels(self, pixels: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Scores `[B]` of preprocessed pixels and token ids: the network alone."""
        return self._judge(self.states(pixels, ids, mask))

    def _judge(self, states: Tensor) -> Tensor:
        raise NotImplementedError

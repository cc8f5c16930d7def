"""The miniature's CLIP models: building, embedding images and captions, losses on pairs, saving."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from texgen.miniature.preferences import HARD, check_pairs, draw_index, draw_pairs, layout
from texgen.miniature.scale import IMAGE_SIZE
from texgen.miniature.steps import half
from texgen.miniature.tokenizer import text_settings, tokenize
from texgen.miniature.world_arrays import WorldSamples

WIDTH = 128
MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
VISION = dict(
    image_size=IMAGE_SIZE,
    patch_size=16,
    hidden_size=192,
    intermediate_size=576,
    num_hidden_layers=4,
    num_attention_heads=6,
)


def make_clip(vocabulary: int, end_token: int, vision: dict[str, int] = VISION) -> CLIPModel:
    """An untrained CLIP with 128-dimensional embeddings; ``vision`` are fields of `CLIPVisionConfig`."""
    text = text_settings(vocabulary, end_token, WIDTH)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=dict(vision), projection_dim=WIDTH))


def normalised(images: Tensor, size: int) -> Tensor:
    """Images ``[B, 3, H, H]`` in [0, 1] as an image tower takes them: at its size, normalised."""
    if images.shape[-1] != size:
        images = F.interpolate(images, (size, size), mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = _statistics(images.device)
    return (images - mean) / std


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and spread ``[3, 1, 1]`` of images, kept: a captured step may not copy from the host."""
    mean, std = (torch.tensor(values, device=device).view(3, 1, 1) for values in (MEAN, STD))
    return mean, std


def image_embeddings(clip: CLIPModel, images: Tensor) -> Tensor:
    """Unit image embeddings ``[B, 128]`` of images ``[B, 3, H, H]`` in [0, 1]."""
    pixels = normalised(images, clip.config.vision_config.image_size)
    pooled = clip.vision_model(pixels).pooler_output
    return F.normalize(clip.visual_projection(pooled), dim=-1)


def text_embeddings(clip: CLIPModel, tokens: Tensor) -> Tensor:
    """Unit text embeddings ``[B, 128]`` of token ids ``[B, L]``."""
    return F.normalize(clip.text_projection(clip.text_model(tokens).pooler_output), dim=-1)


def contrastive_loss(image: Tensor, text: Tensor, scale: Tensor, same: Tensor) -> Tensor:
    """CLIP's symmetric cross-entropy; other samples with the same paint are not negatives.

    Args:
        image, text: unit embeddings ``[B, D]``; scale: inverse temperature; same: ``[B, B]`` true where two
            samples have the same material and colours.
    """
    logits = scale * image @ text.T
    own = torch.eye(len(same), dtype=torch.bool, device=same.device)
    logits = logits.masked_fill(same & ~own, -torch.inf)
    target = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target))


def inverse_temperature(clip: CLIPModel) -> Tensor:
    """``exp(logit_scale)``, at most 100 as in CLIP."""
    return clip.logit_scale.exp().clamp(max=100)


class PairBatches:
    """Draws pairs of a world's images and embeds them with their captions."""

    def __init__(
        self, painted: WorldSamples, tokenizer: CLIPTokenizer, kinds: tuple[str, ...], batch: int
    ) -> None:
        check_pairs(painted)
        self.painted, self.rows = painted, layout(kinds + HARD, batch)
        self.tokens = tokenize(tokenizer, painted.captions).to(painted.device)

    def losses(self, clip: CLIPModel) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Numbers, and the embeddings of better and of worse images ``[B, D]``.

        The numbers are "match", the contrastive loss of the better images, "preference", PickScore's loss,
        and "ranking", the share of pairs in the right order.
        """
        index = draw_index(self.painted, self.rows)
        images = torch.cat(draw_pairs(self.painted, index, self.rows))
        with half(self.painted.device):
            both = image_embeddings(clip, images)
            text = text_embeddings(clip, self.tokens[index])
        better, worse = both.float().chunk(2)
        text, factor, paint = text.float(), inverse_temperature(clip), self.painted.paint[index]
        match = contrastive_loss(better, text, factor, paint[:, None] == paint[None])
        first, second = (factor * (part * text).sum(1) for part in (better, worse))
        numbers = {
            "match": match,
            "preference": preference_loss(first, second),
            "ranking": (first > second).float().mean(),
        }
        return numbers, better, worse


def preference_loss(better: Tensor, worse: Tensor) -> Tensor:
    """Mean of ``-log softmax`` of the preferred image's score among two, scores ``[B]``."""
    return -F.logsigmoid(better - worse).mean()


def save_clip(folder: Path, clip: CLIPModel, tokenizer) -> None:
    """Write a folder in transformers' layout."""
    clip.to("cpu").save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    save_processor(folder, clip.config.vision_config.image_size)


def save_processor(folder: Path, size: int) -> None:
    """Write the image settings of a tower."""
    CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=list(MEAN),
        image_std=list(STD),
    ).save_pretrained(folder)

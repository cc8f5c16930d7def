"""How well the miniature's scorers rank held-out pairs, and how far they agree with each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizer

from texgen.miniature.clip_towers import image_embeddings, text_embeddings
from texgen.miniature.preferences import KINDS, draw_pairs, other_rows
from texgen.miniature.pretrain_blip import BlipScorer, additive_mask, caption_mask
from texgen.miniature.tokenizer import tokenize
from texgen.miniature.world_arrays import WorldSamples

Scorer = Callable[[Tensor, list[str]], Tensor]
CLIP_FOLDERS = {"clipscore": "clip", "pickscore": "pickscore", "hpsv2": "hpsv2"}
RIGHT_PROMPT = "wrong prompt"
BATCH = 32


def load_scorers(folder: Path) -> dict[str, Scorer]:
    """The scorers that a folder of models has, by name; each maps images [B, 3, H, W] and prompts to [B]."""
    scorers: dict[str, Scorer] = {}
    for name, part in CLIP_FOLDERS.items():
        if (folder / part / "config.json").exists():
            scorers[name] = _clip_scorer(folder / part)
    if (folder / "image_reward" / "config.json").exists():
        scorers["imagereward"] = _blip_scorer(folder / "image_reward")
    if (folder / "aesthetic" / "head.safetensors").exists():
        scorers["aesthetic"] = _aesthetic_scorer(folder)
    return scorers


def _clip_scorer(folder: Path) -> Scorer:
    clip = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)

    def score(images: Tensor, prompts: list[str]) -> Tensor:
        text = text_embeddings(clip, tokenize(tokenizer, prompts))
        return (image_embeddings(clip, images) * text).sum(1)

    return score


def _aesthetic_scorer(folder: Path) -> Scorer:
    clip = CLIPModel.from_pretrained(folder / "clip").eval()
    head = load_file(folder / "aesthetic" / "head.safetensors")

    def score(images: Tensor, prompts: list[str]) -> Tensor:
        return image_embeddings(clip, images) @ head["weight"].reshape(-1) + head["bias"]

    return score


def _blip_scorer(folder: Path) -> Scorer:
    settings = json.loads((folder / "config.json").read_text())
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    blip = BlipScorer(settings["text_config"]["vocab_size"]).eval()
    blip.load_state_dict(load_file(folder / "model.safetensors"))

    def score(images: Tensor, prompts: list[str]) -> Tensor:
        tokens = tokenize(tokenizer, prompts)
        mask = additive_mask(caption_mask(tokens, tokenizer.eos_token_id))
        raw = blip(blip.image_tokens(images), tokens, mask)
        return (raw - settings["mean"]) / settings["std"]

    return score


@torch.no_grad()
def ranking_accuracy(
    scorers: dict[str, Scorer], samples: WorldSamples, pairs: int, seed: int
) -> tuple[dict[str, dict[str, float | None]], Tensor]:
    """Share of held-out pairs that each scorer ranks right, and the rank correlation of the scorers.

    Args:
        samples: the first of them, as many as ``pairs``, have wrong paintings, and their views are painted
            more than once.
        pairs: how many pairs of each kind.

    Returns:
        kind -> scorer -> share, the kinds being ``KINDS`` and "wrong prompt" (the same picture with its
        caption and with that of another paint), ties left out and None where there are only ties, as for a
        scorer that does not read prompts; and Spearman's matrix ``[S, S]`` over all pictures of the
        pairs, preferred and worse, with their right prompts.
    """
    table: dict[str, dict[str, float | None]] = {}
    everything: dict[str, list[Tensor]] = {name: [] for name in scorers}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for kind in (*KINDS, RIGHT_PROMPT):
            right: dict[str, list[Tensor]] = {name: [] for name in scorers}
            for index in torch.arange(pairs).split(BATCH):
                prompts = [samples.captions[i] for i in index.tolist()]
                if kind == RIGHT_PROMPT:
                    better = worse = samples.pictures(index)
                    worse_prompts = [samples.captions[i] for i in other_rows(samples, index).tolist()]
                else:
                    better, worse = draw_pairs(samples, index, ((kind, len(index)),))
                    worse_prompts = prompts
                for name, scorer in scorers.items():
                    first, second = scorer(better, prompts), scorer(worse, worse_prompts)
                    right[name].append(torch.where(first == second, torch.nan, (first > second).float()))
                    if kind != RIGHT_PROMPT:
                        everything[name] += [first, second]
            table[kind] = {name: _share(torch.cat(parts)) for name, parts in right.items()}
    return table, rank_correlation(torch.stack([torch.cat(parts) for parts in everything.values()]))


def _share(right: Tensor) -> float | None:
    """Mean of outcomes ``[N]``, NaN standing for ties; None where all are ties."""
    return None if bool(right.isnan().all()) else float(right.nanmean())


def rank_correlation(scores: Tensor) -> Tensor:
    """Spearman's matrix ``[S, S]`` of scores ``[S, N]``; ties share their mean rank."""
    ranks = torch.empty(scores.shape, dtype=torch.float64)
    for row, values in enumerate(scores):
        _, group, count = values.unique(return_inverse=True, return_counts=True)
        ranks[row] = (count.cumsum(0) - (count - 1) / 2)[group].double()
    return torch.corrcoef(ranks)

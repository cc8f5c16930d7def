"""Our half of the parity check: the saved official checkpoints through our converters, number by number.

    python tests/parity/our_side.py --size tiny|full [--score NAME ...] [--folder F] [--keep]

runs the official half in its environment, then this half, and prints one line of the table per score.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from rewards.checkpoints.linear_head import fold_head
from rewards.checkpoints.open_clip import VIT_B_32, VIT_H_14, VIT_L_14, TowerSettings, clip_from_open_clip
from rewards.checkpoints.tensors import read_tensors
from rewards.official.environment import ROOT, interpreter
from rewards.preference.aesthetic import Aesthetic
from rewards.preference.blip_model import FrozenBlip
from rewards.preference.clip_model import FrozenClip
from rewards.preference.clip_score import CLIPScore
from rewards.preference.cycle_reward import CycleReward
from rewards.preference.hps import HPSv2
from rewards.preference.image_reward import ImageReward
from rewards.preference.pick_score import PickScore
from rewards.preference.preprocess import Preprocessing, preprocess
from rewards.preference.prompt_text import clean_text

OFFICIAL_SIDE = Path(__file__).with_name("official_side.py")
SCORES = ("imagereward", "hpsv2", "pickscore", "clipscore", "aesthetic", "cyclereward")
END_OF_TEXT = 49407


def run_official(folder: Path, score: str, size: str) -> None:
    """Build, save and evaluate the official model in its own environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [interpreter(), OFFICIAL_SIDE, folder, score, size]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"The official {score} failed:\n{done.stderr[-3000:]}")


def load_ours(folder: Path, score: str, size: str):
    """Our scorer from the checkpoint that the official half saved."""
    tiny = size == "tiny"
    tokenizer = folder / "tokenizer"
    small = TowerSettings(vision_heads=4, text_heads=4, hidden_act="quick_gelu")
    if score == "imagereward":
        heads = {"vision_heads": 4} if tiny else {}
        return ImageReward.load(folder, tokenizer, eight_bit=True, **heads)
    if score == "cyclereward":
        heads = {"vision_heads": 4} if tiny else {}
        return CycleReward.load(folder, "Combo", tokenizer, eight_bit=True, **heads)
    if score == "hpsv2":
        architecture = TowerSettings(4, 4, "gelu") if tiny else VIT_H_14
        return HPSv2.load(folder / "HPS_v2.1_compressed.pt", "v2.1", tokenizer, architecture, eight_bit=True)
    if score == "pickscore":
        return PickScore.load(folder, tokenizer=tokenizer, eight_bit=True)
    from transformers import AutoTokenizer

    architecture = small if tiny else {"clipscore": VIT_B_32, "aesthetic": VIT_L_14}[score]
    path = folder / "open_clip.pt"
    model = clip_from_open_clip(read_tensors(path), architecture, str(path))
    preprocessing = Preprocessing(fit="crop-even")
    tokens = AutoTokenizer.from_pretrained(tokenizer)
    clip = FrozenClip(model, tokens, preprocessing, "parity", eight_bit=True, clean=clean_text)
    if score == "clipscore":
        return CLIPScore(clip)
    return Aesthetic(clip, *fold_head(read_tensors(folder / "head.pth")), "parity")


def network(scorer, prompts: list[str]):
    """Our score as a function of preprocessed pixels."""
    if isinstance(scorer, FrozenBlip):
        ids, mask = scorer.tokens(prompts)
        return lambda pixels: scorer.score_pixels(pixels, ids, mask)
    if isinstance(scorer, Aesthetic):
        return lambda pixels: scorer.clip.embed_pixels(pixels) @ scorer.weight + scorer.bias
    texts = scorer.clip.text_features(prompts)
    scale = scorer.clip.model.logit_scale.exp() if isinstance(scorer, PickScore) else 1.0
    return lambda pixels: scale * (scorer.clip.embed_pixels(pixels) * texts).sum(-1)


def read_png(path: Path) -> Tensor:
    """`[1, 3, H, W]` in [0, 1]."""
    return torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 255


def same_tokens(scorer, official: Tensor, prompts: list[str]) -> bool:
    """Token ids up to the end of the text are equal; how CLIP's causal tower is padded has no effect."""
    ours = (scorer if isinstance(scorer, FrozenBlip) else scorer.clip).tokens(prompts)[0]
    if isinstance(scorer, FrozenBlip):
        return torch.equal(ours, official)
    for one, other in zip(ours.tolist(), official.tolist(), strict=True):
        if one[: one.index(END_OF_TEXT) + 1] != other[: other.index(END_OF_TEXT) + 1]:
            return False
    return True


def compare(folder: Path) -> dict[str, Any]:
    """Differences between both halves: a row of the table."""
    record = json.loads((folder / "official.json").read_text())
    official = load_file(folder / "official.safetensors")
    prompts = record["prompts"]
    scorer = load_ours(folder, record["score"], record["size"])
    count = len(official["scores"])  # full-size models judge the first image only
    pixels = official["pixels"][:count].clone().requires_grad_()
    scores = network(scorer, prompts[:count])(pixels)
    scores.sum().backward()
    images = [read_png(folder / name) for name in record["images"]]
    settings = (scorer if isinstance(scorer, FrozenBlip) else scorer.clip).preprocessing
    std = torch.tensor(settings.std)[:, None, None]
    pixel: dict[bool, list[float]] = {True: [], False: []}
    for image, theirs in zip(images, official["pixels"], strict=True):
        for eight_bit, found in pixel.items():
            ours = preprocess(image, settings, eight_bit)[0]
            found.append(float(((ours - theirs) * std).abs().max() * 255))
    with torch.no_grad():
        pairs = list(zip(images, prompts, strict=True))[:count]
        calls = torch.cat([scorer(image, [prompt]) for image, prompt in pairs])
    judged = record["score"] != "aesthetic"
    return {
        "score": record["score"],
        "size": record["size"],
        "published_head": record["published_head"],
        "tokens": same_tokens(scorer, official["tokens"], prompts) if judged else None,
        "pixels": pixel[True],
        "training_pixels": pixel[False],
        "spread": float(official["scores"].max() - official["scores"].min()) if count > 1 else None,
        "size_of_scores": float(official["scores"].abs().max()),
        "network": float((scores.detach() - official["scores"]).abs().max()),
        "gradient": float((pixels.grad - official["gradient"]).norm() / official["gradient"].norm()),
        "call": float((calls - official["calls"]).abs().max()),
        "parameters": sum(p.numel() for part in towers(scorer) for p in part.parameters()),
    }


def towers(scorer) -> list[torch.nn.Module]:
    """Networks of a scorer."""
    return [scorer.vision, scorer.text] if isinstance(scorer, FrozenBlip) else [scorer.clip.model]


def line(row: dict[str, Any]) -> str:
    """One row of the Markdown table."""
    tokens = {True: "identical", False: "DIFFERENT", None: "-"}[row["tokens"]]
    spread = "-" if row["spread"] is None else f"{row['spread']:.1e}"
    head = ", published head" if row["published_head"] else ""
    pixels = [f"{value:.2f}" for value in row["training_pixels"]]
    return (
        f"| {row['score']} | {row['size']}, {row['parameters'] / 1e6:.1f} M{head} | {row['network']:.1e} | "
        f"{spread} | {row['gradient']:.1e} | {tokens} | {max(row['pixels']):.2f} | {' / '.join(pixels)} | "
        f"{row['call']:.1e} |"
    )


def passes(row: dict[str, Any]) -> bool:
    """Tolerances: 1e-5 in score, from pixels and from files, and in gradient; identical tokens and pixels;
    pixels within 2/255 where they have a gradient. Of scores above 1 it is 1e-5 of their size."""
    scores = max(row["network"], row["call"]) <= 1e-5 * max(1.0, row["size_of_scores"])
    pixels = max(row["pixels"]) < 0.01 and max(row["training_pixels"]) < 2.01
    return scores and row["gradient"] <= 1e-5 and row["tokens"] is not False and pixels


HEADER = (
    "| score | weights | network, max difference | spread of scores | gradient, relative | tokens | "
    "pixels, max (1/255) | with gradient: smooth / wide / edges | official call on PNG files |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="tiny")
    parser.add_argument("--score", nargs="+", choices=SCORES, default=SCORES)
    parser.add_argument("--folder", type=Path, default=ROOT / "results" / "parity", help="where models go")
    parser.add_argument("--keep", action="store_true", help="keep the models, and use those that are there")
    options = parser.parse_args()
    print(HEADER, flush=True)
    failed = False
    for score in options.score:
        folder = options.folder / f"{options.size}-{score}"
        if not (options.keep and (folder / "official.json").is_file()):
            run_official(folder, score, options.size)
        row = compare(folder)
        print(line(row), flush=True)
        failed |= not passes(row)
        (options.folder / f"{options.size}-{score}.json").write_text(json.dumps(row, indent=2) + "\n")
        if not options.keep:
            shutil.rmtree(folder)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

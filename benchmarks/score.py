"""Pairs per second of each score beside the official package's own scoring call: same weights, one run.

    make official && PYTHONPATH=. python benchmarks/score.py [--size tiny|full] [--score NAME ...]
        [--case pairs|matrix ...] [--images 64] [--prompts 8] [--side 512] [--threads N] [--clock wall|cpu]

Two cases: `pairs`, every image with one of the prompts, and `matrix`, every image with every prompt (not of
aesthetic, which reads none). In both the official package is called once for each prompt with all images of
that prompt, as it is written for; ours is one call of the score, or of its `score_matrix`.

Models have random weights; the official half of the parity check makes them, where none were left in
`--weights` by `tests/parity/our_side.py --size full --keep`. Both sides read the same PNG files. The
official packages are handed paths, so they decode an image at every call, except for PickScore, whose
function takes opened images: they stay open. Both sides have scored one image before the clock starts.
Loading of the models is counted on neither side, except that `hpsv2.score` reads its checkpoint at every
call.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from rewards.checkpoints.open_clip import VIT_H_14, TowerSettings
from rewards.official.environment import ROOT, interpreter
from rewards.preference.aesthetic import Aesthetic
from rewards.preference.clip_score import CLIPScore
from rewards.preference.cycle_reward import CycleReward
from rewards.preference.hps import HPSv2
from rewards.preference.image_reward import ImageReward
from rewards.preference.pick_score import PickScore

SCORES = ("imagereward", "hpsv2", "pickscore", "clipscore", "aesthetic", "cyclereward")
OFFICIAL_HALF = Path(__file__).with_name("score_official.py")
OPENAI = {  # widths, layers, heads of the towers: image (and patch), text; width of the embedding
    ("clipscore", "full"): ((768, 12, 12, 32), (512, 12, 8), 512),
    ("aesthetic", "full"): ((1024, 24, 16, 14), (768, 12, 12), 768),
    ("clipscore", "tiny"): ((80, 2, 4, 32), (48, 2, 4), 768),
    ("aesthetic", "tiny"): ((80, 2, 4, 32), (48, 2, 4), 768),
}
CASES = ("pairs", "matrix")
CLOCKS = {"wall": "perf_counter", "cpu": "process_time"}
EXTRA = {"hpsv2": {"version": "v2.1"}, "clipscore": {"prefix": ""}, "cyclereward": {"model": "Combo"}}


def parity():
    """Our half of the parity check, which is not a package."""
    spec = importlib.util.spec_from_file_location("our_side", ROOT / "tests" / "parity" / "our_side.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["our_side"] = module
    spec.loader.exec_module(module)
    return module


def make_weights(folder: Path, score: str, size: str) -> dict[str, str]:
    """Folders of a score with random weights, made where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    if (score, size) in OPENAI:
        return {"clip": str(write_openai_clip(folder, score, size)), "head": str(folder / "head.pth")}
    if not (folder / "official.json").is_file():
        parity().run_official(folder, score, size)
    return {"weights": str(folder), "tokenizer": str(folder / "tokenizer")}


def write_openai_clip(folder: Path, score: str, size: str) -> Path:
    """A CLIPModel of OpenAI's kind in transformers layout, with CLIP's tokenizer and a LAION head."""
    from transformers import CLIPConfig, CLIPModel

    (width, layers, heads, patch), (text_width, text_layers, text_heads), projection = OPENAI[score, size]
    vision = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    vision |= {"intermediate_size": 4 * width, "patch_size": patch, "image_size": 224}
    text = {"hidden_size": text_width, "num_hidden_layers": text_layers, "num_attention_heads": text_heads}
    text |= {"intermediate_size": 4 * text_width, "vocab_size": 49408, "projection_dim": projection}
    text |= {"bos_token_id": 49406, "eos_token_id": 49407}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text, vision_config={**vision, "projection_dim": projection}, projection_dim=projection
    )
    CLIPModel(config).save_pretrained(folder)
    if not (folder / "vocab.json").is_file():
        with tempfile.TemporaryDirectory() as tiny:
            parity().run_official(Path(tiny), "clipscore", "tiny")
            for path in (Path(tiny) / "tokenizer").iterdir():
                if path.name != "config.json":
                    shutil.copy(path, folder / path.name)
    widths = (768, 1024, 128, 64, 16, 1)
    head = {}
    for layer, inputs, outputs in zip((0, 2, 4, 6, 7), widths[:-1], widths[1:], strict=True):
        head[f"layers.{layer}.weight"] = torch.randn(outputs, inputs) / inputs**0.5
        head[f"layers.{layer}.bias"] = torch.zeros(outputs)
    torch.save(head, folder / "head.pth")
    return folder


def load_ours(score: str, folders: dict[str, str], size: str):
    """Our scorer on the same weights."""
    options = {"eight_bit": True, "max_batch": 16, "device": "cuda" if torch.cuda.is_available() else "cpu"}
    heads = {"vision_heads": 4} if size == "tiny" else {}
    hps = TowerSettings(4, 4, "gelu") if size == "tiny" else VIT_H_14
    weights, tokenizer = folders.get("weights"), folders.get("tokenizer")
    return {
        "imagereward": lambda: ImageReward.load(weights, tokenizer, **heads, **options),
        "hpsv2": lambda: HPSv2.load(weights, "v2.1", tokenizer, hps, **options),
        "pickscore": lambda: PickScore.load(weights, tokenizer=tokenizer, **options),
        "clipscore": lambda: CLIPScore.load(folders["clip"], **options),
        "aesthetic": lambda: Aesthetic.load(folders["clip"], folders["head"], **options),
        "cyclereward": lambda: CycleReward.load(weights, "Combo", tokenizer, **heads, **options),
    }[score]()


def write_images(folder: Path, count: int, side: int) -> list[Path]:
    """Smooth random PNG files."""
    generator = np.random.default_rng(0)
    paths = []
    for index in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        paths.append(folder / f"{index}.png")
        coarse.resize((side, side), Image.BICUBIC).save(paths[-1])
    return paths


def time_official(job: dict) -> dict:
    """Answer of the official half: scores, seconds, device."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [interpreter(), OFFICIAL_HALF]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"The official {job['kind']} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def time_ours(judge, paths: list[Path], prompts: list[str], clock: str) -> tuple[float, torch.Tensor]:
    """Seconds from PNG files to scores, and the scores; judge: a score or its `score_matrix`."""
    now = getattr(time, clock)
    with torch.no_grad():
        judge(read_images(paths[:1]), ["warm up"])
        started = now()
        scores = judge(read_images(paths), prompts).cpu()
    return now() - started, scores


def read_images(paths: list[Path]) -> torch.Tensor:
    """`[B, 3, H, W]` in [0, 1]."""
    images = np.stack([np.array(Image.open(path)) for path in paths])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255)


def official_calls(case: str, paths: list[str], prompts: list[str]) -> list[tuple[list[str], str]]:
    """One call for each prompt, with all of its images; of pairs, image i has prompt i modulo their count."""
    if case == "matrix":
        return [(paths, prompt) for prompt in prompts]
    return [(paths[index :: len(prompts)], prompt) for index, prompt in enumerate(prompts)]


def measure(score: str, options: argparse.Namespace) -> list[dict]:
    """One row for each case: both rates, their ratio, and how far the scores are apart."""
    folders = make_weights(options.weights / f"{options.size}-{score}", score, options.size)
    clock = CLOCKS[options.clock]
    prompts = [f"a picture of thing number {index}" for index in range(options.prompts)]
    cases = [case for case in options.case if (score, case) != ("aesthetic", "matrix")]
    rows = []
    with tempfile.TemporaryDirectory() as place:
        paths = write_images(Path(place), options.images, options.side)
        calls = [official_calls(case, [str(path) for path in paths], prompts) for case in cases]
        job = {"kind": score, "size": options.size, "folders": folders, "calls": calls}
        job |= {"threads": options.threads, "clock": clock, **EXTRA.get(score, {})}
        if options.size == "tiny" and score in ("hpsv2", "clipscore", "aesthetic"):
            job["architecture"] = "parity"
        answer = time_official(job)
        for case, official in zip(cases, answer["cases"], strict=True):
            ours = load_ours(score, folders, options.size)  # anew: it keeps the prompts that it has read
            if case == "matrix":
                seconds, scores = time_ours(ours.score_matrix, paths, prompts, clock)
                theirs = torch.tensor(official["scores"]).T
            else:
                paired = [prompts[index % len(prompts)] for index in range(len(paths))]
                seconds, scores = time_ours(ours, paths, paired, clock)
                theirs = torch.empty(len(paths))
                for index, values in enumerate(official["scores"]):
                    theirs[index :: len(prompts)] = torch.tensor(values)
            rates = scores.numel() / official["seconds"], scores.numel() / seconds
            rows.append(
                {
                    "score": score,
                    "size": options.size,
                    "case": case,
                    "images": len(paths),
                    "prompts": len(prompts),
                    "pairs": scores.numel(),
                    "side": options.side,
                    "threads": options.threads,
                    "device": answer["device"],
                    "clock": options.clock,
                    "official_pairs_per_s": rates[0],
                    "our_pairs_per_s": rates[1],
                    "ratio": rates[1] / rates[0],
                    "max_difference": float((scores - theirs).abs().max()),
                }
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", choices=("tiny", "full"), default="full", help="size of the models")
    parser.add_argument("--score", nargs="+", choices=SCORES, default=SCORES)
    parser.add_argument("--case", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--side", type=int, default=512, help="side of the images, pixels")
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: seconds of processor time, for one thread on a machine that others use too",
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--weights", type=Path, default=ROOT / "results" / "parity", help="where models are")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    columns = ("official, pairs/s", "ours, pairs/s", "ratio", "max difference")
    print("| score | models | case | images, prompts, pairs", *columns, sep=" | ", end=" |\n")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for score in options.score:
        rows = measure(score, options)
        for row in rows:
            print(
                f"| {score} | {row['size']} | {row['case']} | "
                f"{row['images']}, {row['prompts']}, {row['pairs']} | {row['official_pairs_per_s']:.3g} | "
                f"{row['our_pairs_per_s']:.3g} | {row['ratio']:.2f} | {row['max_difference']:.1e} |",
                flush=True,
            )
        path = options.weights / f"benchmark-{options.size}-{score}.json"
        path.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

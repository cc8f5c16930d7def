"""Evaluate the miniature on meshes and captions that it never met: a table, its numbers, a contact sheet.

    python -m texgen.miniature.evaluate --models models/miniature --out FOLDER

or `texreward miniature evaluate` with the same arguments. Writes evaluation.json, evaluation.md and
sheet.png, and prints the table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from texgen.diffusion.backbone import Backbone
from texgen.miniature.evaluate_generation import (
    SamplingSettings,
    autoencoded,
    generate,
    inpainting,
    inpainting_masks,
    judged,
    psnr,
    silhouette_iou,
    velocity_errors,
)
from texgen.miniature.evaluate_scorers import load_scorers, ranking_accuracy
from texgen.miniature.evaluation_options import add_arguments
from texgen.miniature.judge import load_judge
from texgen.miniature.unseen import unseen_samples, unseen_views
from texgen.storage.files import atomic_path, write_text

SHEET_PICTURES = 48
# The kinds of pictures in the order of the table.
TITLES = {
    "generated": "generated",
    "depth alone": "generated from depth alone",
    "autoencoded": "true renders, autoencoded",
    "real": "true renders",
    "chance": "chance",
}


def evaluate(models: Path, judge: Path, parts: tuple[str, ...], options: argparse.Namespace) -> dict:
    """All figures by name, and under "images" the true and the generated pictures for the sheet."""
    samples = unseen_samples(unseen_views(options.images, options.seed), options.images, options.seed)
    results: dict = {"images": None}
    sampling = SamplingSettings(options.scheduler, options.steps, options.guidance)
    if set(parts) & {"generation", "depth", "inpainting", "vae", "velocity"}:
        backbone = Backbone.load(models / "backbone")
        ceiling = autoencoded(backbone, samples)
    kinds = {}
    if "generation" in parts:
        kinds["generated"] = made = generate(backbone, samples, samples.captions, sampling=sampling)
        results["images"] = made
    if "depth" in parts and "depth" in backbone.controlnets:
        kinds["depth alone"] = generate(backbone, samples, samples.captions, role="depth", sampling=sampling)
    if kinds:
        kinds["autoencoded"] = ceiling
        results["judge"] = judged(load_judge(judge), samples, kinds)
        kinds["real"] = samples.pictures()
        results["silhouette IoU"] = {kind: silhouette_iou(samples, each) for kind, each in kinds.items()}
    if "inpainting" in parts:
        known = inpainting_masks(samples, options.seed)
        made = generate(backbone, samples, samples.captions, known, sampling=sampling)
        kinds = {"generated": made, "autoencoded": ceiling}
        results["inpainting"] = {kind: inpainting(samples, known, each) for kind, each in kinds.items()}
    if "vae" in parts:
        results["VAE PSNR"] = psnr(ceiling, samples)
    if "velocity" in parts:
        results["velocity error"] = velocity_errors(backbone, samples, options.seed)
    if "scorers" in parts:
        scorers = load_scorers(models)
        seed = options.seed + 1
        # Each view is painted twice, so that two views can disagree.
        held_out = unseen_samples(unseen_views(options.pairs, seed), 2 * options.pairs, seed, options.pairs)
        accuracy, correlation = ranking_accuracy(scorers, held_out, options.pairs, options.seed)
        results["ranking"] = accuracy
        results["rank correlation"] = {"scorers": list(scorers), "matrix": correlation.tolist()}
    return results


def markdown(results: dict) -> str:
    """The results as tables."""
    lines = []
    if "judge" in results:
        figures, iou = results["judge"], results["silhouette IoU"]
        kinds = [kind for kind in TITLES if f"{kind} colour" in figures]
        lines += ["| | " + " | ".join(TITLES[kind] for kind in kinds) + " |", "|---" * (len(kinds) + 1) + "|"]
        for what in ("colour", "material"):
            row = [percent(figures[f"{kind} {what}"]) for kind in kinds]
            lines.append(f"| {what} named by the judge | " + " | ".join(row) + " |")
        row = [f"{iou[kind]:.3f}" if kind in iou else "–" for kind in kinds]
        lines += ["| silhouette IoU | " + " | ".join(row) + " |", ""]
    if "inpainting" in results:
        made, ceiling = (results["inpainting"][kind] for kind in ("generated", "autoencoded"))
        lines += [
            f"Inpainting: known pixels {made['known PSNR']:.1f} dB before pasting, gradient across the "
            f"border {made['border gradient']:.2f} times that of the true renders, of autoencoded true "
            f"renders {ceiling['known PSNR']:.1f} dB and {ceiling['border gradient']:.2f} times",
            "",
        ]
    if "VAE PSNR" in results:
        lines += [f"VAE: {results['VAE PSNR']:.1f} dB PSNR", ""]
    if "velocity error" in results:
        errors = [f"{value:.3f} at t = {time}" for time, value in results["velocity error"].items()]
        lines += ["Velocity, mean squared error: " + ", ".join(errors), ""]
    if "ranking" in results:
        names = results["rank correlation"]["scorers"]
        lines += ["| ranked right | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for kind, row in results["ranking"].items():
            lines.append(f"| {kind} | " + " | ".join(percent(row[name]) for name in names) + " |")
        lines += ["", "| rank correlation | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for name, row in zip(names, results["rank correlation"]["matrix"], strict=True):
            lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    return "\n".join(lines) + "\n"


def percent(share: float | None) -> str:
    """A share as the tables print it; None, where there is nothing to rank, as a dash."""
    return "–" if share is None else f"{100 * share:.0f} %"


def sheet(images: Tensor, columns: int = 12) -> Image.Image:
    """Pictures ``[N, 3, H, W]`` in [0, 1] in rows, the last row filled up with white."""
    missing = -len(images) % columns
    images = torch.cat([images, torch.ones(missing, *images.shape[1:])])
    _, channels, height, width = images.shape
    grid = images.view(-1, columns, channels, height, width).permute(0, 3, 1, 4, 2)
    array = (grid.reshape(-1, columns * width, channels) * 255).round().to(torch.uint8)
    return Image.fromarray(array.numpy())


def run(options: argparse.Namespace) -> int:
    """Evaluate, write the files and print the table; the exit status.

    Raises:
        FileNotFoundError: models or judge are not where the options say.
    """
    judge = options.judge or options.models
    for path in (options.models / "backbone", judge / "judge.safetensors"):
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing; --models and --judge say where trained models lie.")
    torch.set_num_threads(options.threads)
    results = evaluate(options.models, judge, tuple(options.parts), options)
    options.out.mkdir(parents=True, exist_ok=True)
    images = results.pop("images")
    if images is not None:
        with atomic_path(options.out / "sheet.png") as temporary:
            sheet(images[:SHEET_PICTURES]).save(temporary)
    table = markdown(results)
    for name, text in (("evaluation.json", json.dumps(results, indent=2) + "\n"), ("evaluation.md", table)):
        write_text(options.out / name, text)
    print(table)
    return 0


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    run(parser.parse_args(argv))


if __name__ == "__main__":
    main()

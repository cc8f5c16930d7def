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

from texgen.backbone import Backbone
from texgen.files import atomic_path, write_text
from texgen.miniature.evaluate_generation import (
    autoencoded,
    generate,
    inpainting,
    inpainting_masks,
    judged,
    psnr,
    silhouette_iou,
)
from texgen.miniature.evaluate_scorers import load_scorers, ranking_accuracy
from texgen.miniature.evaluation_options import add_arguments
from texgen.miniature.judge import load_judge
from texgen.miniature.unseen import unseen_samples, unseen_views

SHEET_PICTURES = 48


def evaluate(models: Path, judge: Path, parts: tuple[str, ...], options: argparse.Namespace) -> dict:
    """All figures by name, and under "images" the true and the generated pictures for the sheet."""
    samples = unseen_samples(unseen_views(options.images, options.seed), options.images, options.seed)
    results: dict = {"images": None}
    sampling = {"scheduler": options.scheduler, "steps": options.steps, "guidance": options.guidance}
    if set(parts) & {"generation", "inpainting", "vae"}:
        backbone = Backbone.load(models / "backbone")
        ceiling = autoencoded(backbone, samples)
    if "generation" in parts:
        made = generate(backbone, samples, samples.captions, **sampling)
        kinds = {"generated": made, "autoencoded": ceiling}
        results["judge"] = judged(load_judge(judge), samples, kinds)
        results["silhouette IoU"] = {kind: silhouette_iou(samples, each) for kind, each in kinds.items()}
        results["images"] = made
    if "inpainting" in parts:
        known = inpainting_masks(samples, options.seed)
        made = generate(backbone, samples, samples.captions, known, **sampling)
        kinds = {"generated": made, "autoencoded": ceiling}
        results["inpainting"] = {kind: inpainting(samples, known, each) for kind, each in kinds.items()}
    if "vae" in parts:
        results["VAE PSNR"] = psnr(ceiling, samples)
    if "scorers" in parts:
        scorers = load_scorers(models)
        held_out = unseen_samples(
            unseen_views(options.pairs, options.seed + 1), options.pairs, options.seed + 1
        )
        accuracy, correlation = ranking_accuracy(scorers, held_out, options.pairs, options.seed)
        results["ranking"] = accuracy
        results["rank correlation"] = {"scorers": list(scorers), "matrix": correlation.tolist()}
    return results


def markdown(results: dict) -> str:
    """The results as tables."""
    lines = []
    if "judge" in results:
        j = results["judge"]
        lines += ["| accuracy of the judge | generated | true renders, autoencoded | true renders | chance |"]
        lines += ["|---|---|---|---|---|"]
        for what in ("colour", "material"):
            row = [percent(j[f"{kind} {what}"]) for kind in ("generated", "autoencoded", "real", "chance")]
            lines.append(f"| {what} | " + " | ".join(row) + " |")
        iou = results["silhouette IoU"]
        lines += [
            "",
            f"Silhouette IoU: {iou['generated']:.3f}, of autoencoded true renders {iou['autoencoded']:.3f}",
            "",
        ]
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

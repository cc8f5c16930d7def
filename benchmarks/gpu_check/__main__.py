"""Correctness and speed on one GPU, in at most four minutes, without a network.

    make gpu-check                                  # results/gpu-check.json
    python -m benchmarks.gpu_check --out FILE [--budget 230] [--tiny] [--device cuda]

It needs torch 2.11 or newer and the packages of the lock, or what is there of them; nvdiffrast is used where
it is installed. Models have random weights of full size (Stable Diffusion 1.5, CLIP ViT-L/14). --tiny: small
ones, to try the program itself on a CPU. --make-reference: paint the CPU's texture that others are compared
with.
Exit status 1 when something was wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

import torch

from benchmarks.gpu_check import correct, environment, models, speed
from benchmarks.gpu_check.record import Report


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results/gpu-check.json"))
    parser.add_argument("--budget", type=float, default=230.0, help="seconds that it may take")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="small models, to try the program on a CPU")
    parser.add_argument("--make-reference", action="store_true", help="paint the reference on this CPU")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    if options.make_reference:
        correct.make_reference()
        return 0
    if options.device == "cpu" and not options.tiny:
        parser.error("there is no GPU here; --tiny tries the program on a CPU")
    report = Report(options.out, options.budget, torch.device(options.device), options.tiny)
    check(report)
    wrong = report.failures()
    print("\n".join(wrong) or f"All checks were met; {options.out}")
    return int(bool(wrong))


def check(report: Report) -> None:
    """All items, the most wanted first."""
    device, tiny = report.device, report.tiny
    report.item("environment", 1, lambda: environment.versions(device))
    found = report.item("rates", 2, lambda: speed.rates(device, tiny))
    report.item("textures", 25, lambda: correct.textures(device))
    report.item("filling", 3, lambda: correct.filling(device, 64 if tiny else 256))
    report.item("rasterizers", 5, lambda: correct.rasterizers(device, 64 if tiny else 512))
    report.item("scoring", 20, lambda: speed.scoring(device, tiny))
    full_size(report, found.get("matmul_tflop_s"))


def full_size(report: Report, tflop_s: float | None) -> None:
    """What needs the backbone of full size, which goes when this returns."""
    device, tiny = report.device, report.tiny
    dtype = torch.float16 if device.type == "cuda" else torch.float32
    side, backbone = (64 if tiny else 512), models.sd15(device, dtype, tiny)
    report.item("prediction_is_right", 4, lambda: correct.prediction(backbone, side))
    report.item("painting_texgen", 12, lambda: speed.painting(backbone, "texgen", tiny))
    report.item("painting_intex", 25, lambda: speed.painting(backbone, "intex", tiny))
    backbone.add_lora(4, 4.0)
    report.item("prediction", 10, lambda: speed.prediction(backbone, side, tflop_s))
    report.item("training", 70, lambda: speed.training(backbone, tiny))
    report.item("gradients", 20, lambda: correct.gradients(backbone, side))
    # Compiling took 71 seconds for a prediction, 26 for a mesh.
    report.item("compiled", 130, lambda: speed.compiled(backbone, side, tiny))


if __name__ == "__main__":
    sys.exit(main())

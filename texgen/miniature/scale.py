"""How much the miniature is trained, on a CPU and on a GPU: `test` checks the code, `full` trains for use."""

from __future__ import annotations

from dataclasses import dataclass

import torch

DEVICES = ("auto", "cpu", "cuda")
IMAGE_SIZE = 128
CAPTION_LENGTH = 24


@dataclass(frozen=True)
class Sizes:
    """Sizes of a world.

    views: rasterised views of random shapes. samples: paintings of them in turn. others: samples, the first
    ones, of which there are two more paintings, in wrong colours and of a wrong material. atlases: of so many
    shapes, fewer those of too many charts; paints: paintings of each.
    """

    views: int
    samples: int
    others: int = 0
    atlases: int = 0
    paints: int = 0


@dataclass(frozen=True)
class TrainingStage:
    """How one part is trained.

    steps: where neither steps nor seconds are given. batch: images, or pairs of images, per step and process.
    rate: the peak learning rate. warmup: steps in which it rises.
    """

    steps: int
    batch: int
    rate: float
    warmup: int = 100


@dataclass(frozen=True)
class Scale:
    """The world and, for every part of `parts.PARTS`, its stage."""

    world: Sizes
    stages: dict[str, TrainingStage]


_TEST = Scale(
    Sizes(views=6, samples=12, others=6, atlases=3, paints=1),
    {
        "vae": TrainingStage(3, 2, 1.5e-3),
        "backbone": TrainingStage(2, 2, 8e-4),
        "controlnet_depth": TrainingStage(2, 2, 5e-4),
        "controlnet_uv_position": TrainingStage(2, 2, 5e-4),
        "clip": TrainingStage(2, 4, 8e-4),
        "pickscore": TrainingStage(2, 4, 4e-4),
        "hpsv2": TrainingStage(2, 4, 8e-4),
        "image_reward": TrainingStage(2, 4, 6e-4),
        "judge": TrainingStage(3, 4, 2e-3),
    },
)
_CPU = Scale(
    Sizes(views=4000, samples=20_000, others=5000, atlases=600, paints=8),
    {
        "vae": TrainingStage(5000, 4, 1.5e-3),
        "backbone": TrainingStage(8000, 16, 8e-4),
        "controlnet_depth": TrainingStage(1500, 16, 5e-4, 50),
        "controlnet_uv_position": TrainingStage(1500, 16, 5e-4, 50),
        "clip": TrainingStage(1200, 48, 8e-4),
        "pickscore": TrainingStage(320, 48, 4e-4, 40),
        "hpsv2": TrainingStage(500, 48, 8e-4, 40),
        "image_reward": TrainingStage(1400, 48, 6e-4, 40),
        "judge": TrainingStage(600, 48, 2e-3, 40),
    },
)
_GPU = Scale(
    Sizes(views=7200, samples=115_200, others=24_000, atlases=900, paints=8),
    {
        "vae": TrainingStage(6000, 64, 1.5e-3, 200),
        "backbone": TrainingStage(10_000, 256, 1.0e-3, 150),
        "controlnet_depth": TrainingStage(1500, 256, 6e-4, 50),
        "controlnet_uv_position": TrainingStage(1500, 192, 6e-4, 50),
        "clip": TrainingStage(2000, 384, 1e-3),
        "pickscore": TrainingStage(1500, 256, 6e-4),
        "hpsv2": TrainingStage(1900, 256, 1e-3),
        "image_reward": TrainingStage(1700, 256, 8e-4),
        "judge": TrainingStage(4500, 256, 2e-3),
    },
)
SCALES: dict[str, dict[str, Scale]] = {
    "test": {"cpu": _TEST, "cuda": _TEST},
    "full": {"cpu": _CPU, "cuda": _GPU},
}


def chosen_device(name: str) -> torch.device:
    """The device that `--device` means; "auto": a GPU where there is one. SystemExit where there is none."""
    if name == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda: torch sees no CUDA device; leave the option out to train on the CPU."
        )
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")

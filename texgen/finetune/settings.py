"""What a training run does: everything but the reward, the items and the algorithm."""

from __future__ import annotations

import math
from dataclasses import dataclass

from texgen.finetune.learned_cameras import CameraRates


@dataclass(frozen=True)
class TrainSettings:
    """Settings of the loop. All but `steps` and the two intervals decide the numbers of each step; `steps`
    does where the rates decay."""

    steps: int = 60  # optimiser steps
    learning_rate: float = 1e-3
    warmup: int = 0  # steps in which the learning rates rise to their values
    decay: bool = False  # let them fall to nearly 0 by the last step, by half a cosine
    weight_decay: float = 1e-4
    grad_clip: float | None = 1.0  # largest norm of the gradient over all LoRA weights; None = no limit
    accumulate: int = 1  # items per optimiser step
    seed: int = 0
    holdout_every: int = (
        10  # steps between held-out measurements (also before the first and after the last); 0 = never
    )
    checkpoint_every: int = 5  # steps between checkpoints
    views_per_step: int | None = None  # None = all views of the rig, else a random subset, in the rig's order
    keep_best: bool = True  # the saved adapter is that of the best held-out reward, else the last one
    patience: int | None = None  # stop after so many held-out measurements without a new best; None = never
    cameras: CameraRates | None = None  # learn azimuth and elevation of the generation cameras, too

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"training settings: {name} is {getattr(self, name)}; it must be at least 1."
                )
        if not self.learning_rate > 0:
            raise ValueError(
                f"training settings: learning_rate is {self.learning_rate}; it must be positive."
            )
        if not 0 <= self.warmup < self.steps:
            raise ValueError(f"training settings: warmup is {self.warmup}; it must be from 0 to below steps.")
        for name, rest in (("views_per_step", "all views"), ("patience", "no early stop")):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"training settings: {name} must be at least 1, or None for {rest}.")
        if self.patience is not None and self.holdout_every < 1:
            raise ValueError("training settings: patience needs held-out measurements (holdout_every).")

    def rate(self, step: int) -> float:
        """The share in (0, 1] of its value that a learning rate has at a step, counted from 1."""
        if step <= self.warmup:
            return step / (self.warmup + 1)
        if not self.decay:
            return 1.0
        progress = (step - 1 - self.warmup) / (self.steps - self.warmup)
        return 0.5 * (1 + math.cos(math.pi * progress))

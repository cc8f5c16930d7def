"""Counting what a gradient costs, in denoiser evaluations: independent of hardware."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

from torch import Tensor

from texgen.diffusion.backbone import Backbone


@dataclass
class EvaluationCount:
    """Evaluations inside one `forwards` context, known when it is left."""

    count: int = 0


@dataclass
class Evaluations:
    """Denoiser evaluations (UNet and ControlNet on one guidance pair = 1): forward passes, their repetition
    during the backward pass, backward passes.

    `Backbone.calls` keeps counting forward passes only: repetitions are moved here.
    """

    forward: int = 0
    recompute: int = 0
    backward: int = 0

    def reset(self) -> None:
        self.forward = self.recompute = self.backward = 0

    @property
    def total(self) -> int:
        return self.forward + self.recompute + self.backward

    def as_dict(self) -> dict[str, int]:
        return {"forward": self.forward, "recompute": self.recompute, "backward": self.backward}

    @contextmanager
    def forwards(self, backbone: Backbone) -> Iterator[EvaluationCount]:
        """Counts the forward passes inside."""
        before, spent = backbone.calls.unet, EvaluationCount()
        try:
            yield spent
        finally:
            spent.count = backbone.calls.unet - before
            self.forward += spent.count

    @contextmanager
    def repetitions(self, backbone: Backbone) -> Iterator[None]:
        """Counts the forward passes inside as repeated, each followed by its backward pass."""
        before = {entry.name: getattr(backbone.calls, entry.name) for entry in fields(backbone.calls)}
        try:
            yield
        finally:
            repeated = backbone.calls.unet - before["unet"]
            self.recompute += repeated
            self.backward += repeated
            for name, value in before.items():
                setattr(backbone.calls, name, value)

    def count_backward(self, output: Tensor, spent: EvaluationCount) -> None:
        """Counts the backward pass of what was evaluated for `output`, when and if it comes."""
        if output.requires_grad:

            def count(gradient: Tensor) -> None:
                self.backward += spent.count

            output.register_hook(count)

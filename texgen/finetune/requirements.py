"""What a trainer needs of an algorithm and of a preset, checked before the first step."""

from __future__ import annotations

from typing import Protocol

from texgen.errors import PlainError
from texgen.finetune.algorithms import DifferentiablePainter, Reward, Sample, SampleOutcome
from texgen.finetune.evaluations import Evaluations
from texgen.finetune.settings import TrainSettings
from texgen.painting.pipeline import TexGen


class TrainingError(PlainError):
    """Training cannot start or go on; the message says at which step and what to change."""


class Algorithm(Protocol):
    """See `texgen.finetune.algorithms`. needs_noise: works on transitions with noise, so eta must be
    positive."""

    name: str
    learns_cameras: bool
    needs_noise: bool
    reward: Reward

    @property
    def evaluations(self) -> Evaluations: ...

    def accumulate(self, painter: DifferentiablePainter, sample: Sample) -> SampleOutcome: ...


def require_differentiable(method: TexGen, algorithm: Algorithm, settings: TrainSettings) -> None:
    """Raises TrainingError when the algorithm cannot work with the preset's sampler or learned cameras."""
    preset = method.preset
    if preset.scheduler != "ddim":
        raise TrainingError(
            f"Preset {preset.name!r} samples with {preset.scheduler!r}; "
            "fine-tuning needs scheduler 'ddim', whose steps can be repeated and have a density."
        )
    if algorithm.needs_noise and not preset.eta > 0:
        raise TrainingError(
            f"The algorithm {algorithm.name!r} works on noisy transitions, but the preset's eta is 0; set it "
            "to 1."
        )
    if settings.cameras is not None and not algorithm.learns_cameras:
        raise TrainingError(
            f"The algorithm {algorithm.name!r} has no gradient for cameras; learn them with 'direct'."
        )

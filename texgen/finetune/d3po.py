"""D3PO: preference between two samples of one start, as a loss on every denoising step (Yang et al. 2024).

Two textures a and b are painted from the same start noise and prompt; only the noise of the steps differs.
With h = (+1, -1) where a has the higher reward, (-1, +1) where b has, and (0, 0) in a tie, and with

    rho = clip( p_theta(z_(i+1) | z_i) / p_ref(z_(i+1) | z_i), 1 - c, 1 + c ),

log-densities being means over latent numbers:  L = -log sigmoid( beta (h_a log rho_a + h_b log rho_b) ).
The reward is only compared: it needs no gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from texgen.finetune.algorithms import (
    DifferentiablePainter,
    NotFiniteError,
    Reward,
    Sample,
    SampleOutcome,
    add_gradient,
    tuned_and_untuned,
)
from texgen.finetune.differentiation import Recording, ViewRecord
from texgen.finetune.evaluations import Evaluations
from texgen.finetune.nabla import chosen_steps


def preference(reward_a: float, reward_b: float, margin: float = 0.0) -> int:
    """+1 where a is better by more than the margin, -1 where b is, 0 in a tie."""
    gap = reward_a - reward_b
    return 0 if abs(gap) <= margin else int(math.copysign(1, gap))


def log_ratio(mean: Tensor, reference: Tensor, spread: float, drawn: Tensor) -> Tensor:
    """log p_theta(drawn) - log p_ref(drawn) of two Gaussians of one spread, mean over numbers: a scalar."""
    return ((drawn - reference).square() - (drawn - mean).square()).mean() / (2 * spread**2)


def preference_loss(log_ratio_a: Tensor, log_ratio_b: Tensor, sign: int, beta: float, clip: float) -> Tensor:
    """-log sigmoid(beta * sign * (log rho_a - log rho_b)), the ratios clipped to 1 +- clip.

    sign: of `preference`. A clipped ratio has no gradient, and a tie none at all: it says nothing.
    """
    a, b = (value.exp().clamp(1 - clip, 1 + clip).log() for value in (log_ratio_a, log_ratio_b))
    return -F.logsigmoid(beta * sign * (a - b))


@dataclass(frozen=True)
class D3PO:
    """beta: temperature of the preference. clip: of the ratios. transitions: how many steps of every chain
    are trained per sample (see `nabla.chosen_steps`). margin: rewards nearer than this are a tie."""

    reward: Reward
    beta: float = 0.1
    clip: float = 0.1
    transitions: int = 2
    margin: float = 0.0
    evaluations: Evaluations = field(default_factory=Evaluations, compare=False, repr=False)

    name = "d3po"
    learns_cameras = False
    needs_noise = True

    def __post_init__(self) -> None:
        if not self.beta > 0 or not 0 < self.clip < 1 or self.transitions < 1 or self.margin < 0:
            raise ValueError(
                "d3po: beta must be positive, clip between 0 and 1, transitions at least 1 and margin not "
                "negative."
            )

    def accumulate(self, painter: DifferentiablePainter, sample: Sample) -> SampleOutcome:
        """Adds the gradient of one pair; its mean loss and the mean of both rewards. details: tie 0 or 1."""
        recordings, rewards = [], []
        for branch in ("a", "b"):
            recording = Recording(self.evaluations, (sample.seed, branch))
            with torch.no_grad():
                texture, painted = sample.paint(painter, recording)
                rewards.append(float(self.reward(texture, painted, sample.item)))
            if not math.isfinite(rewards[-1]):
                raise NotFiniteError("reward", rewards[-1])
            recordings.append(recording.views)
        mean_reward = sum(rewards) / 2
        sign = preference(*rewards, self.margin)
        if sign == 0:
            return SampleOutcome(math.log(2), mean_reward, None, {"tie": 1.0})
        loss = 0.0
        first, second = recordings
        chosen = chosen_steps(next(iter(first.values())), self.transitions, sample.seed)
        share = 1 / (len(chosen) * len(first))
        for i in chosen:
            for index in first:
                a, b = (self._log_ratio(painter, views[index], i) for views in (first, second))
                value = preference_loss(a, b, sign, self.beta, self.clip)
                loss += add_gradient(value, sample.share * share) * share
        return SampleOutcome(loss, mean_reward, None, {"tie": 0.0})

    def _log_ratio(self, painter: DifferentiablePainter, record: ViewRecord, i: int) -> Tensor:
        mean, reference, spread = tuned_and_untuned(painter.backbone, record, i, self.evaluations)
        return log_ratio(mean, reference, spread, record.latents[i + 1].detach())

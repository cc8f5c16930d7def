"""Direct reward maximisation: the gradient of the reward of the finished texture, pushed through the painter.

J(theta) = E_c[ r(TexGen(theta, c, V), c) ] (arXiv 2506.18331). How far back the gradient goes is the
strategy's choice.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from texgen.finetune.algorithms import (
    DifferentiablePainter,
    Reward,
    Sample,
    SampleOutcome,
    add_gradient,
    divergence,
    divergence_step,
    drawn_reward,
    noisy_steps,
)
from texgen.finetune.differentiation import Recording
from texgen.finetune.evaluations import Evaluations
from texgen.finetune.gradients import Strategy
from texgen.painting.views import Derivative


@dataclass(frozen=True)
class Direct:
    """loss = -r, or with a target the hinge relu(target - r); plus kl_weight * KL to the untuned model.

    detach_conditioning: cut the derivative of later views with respect to earlier colours where they enter
    the diffusion model (the released code cuts it); False takes the whole derivative. The KL is that of one
    drawn step per view (`divergence`), at the latents that the painting passed through.
    """

    reward: Reward
    gradient: Strategy
    target: float | None = None
    kl_weight: float = 0.0
    detach_conditioning: bool = True

    name = "direct"
    learns_cameras = True
    needs_noise = False

    @property
    def evaluations(self) -> Evaluations:
        return self.gradient.evaluations

    def accumulate(self, painter: DifferentiablePainter, sample: Sample) -> SampleOutcome:
        """Adds the gradient of one sample; its loss, reward and divergence."""
        used = []

        def paint(gradient):
            gradient.keep_records = self.kl_weight > 0
            used.append(gradient)
            return sample.paint(painter, gradient, self.detach_conditioning)

        rewards, losses = [], []
        textures = self.gradient.textures
        judge = drawn_reward(self.reward, (sample.seed, "jitter"))
        for texture, painted in self.gradient.paintings(paint, sample.seed):
            reward = judge(texture, painted, sample.item)
            losses.append(add_gradient(direct_loss(reward, self.target), sample.share / textures))
            rewards.append(float(reward.detach()))
        loss, kl = sum(losses) / textures, None
        if self.kl_weight > 0:
            kl = self._pull(painter, sample, used)
            loss += self.kl_weight * kl
        return SampleOutcome(loss, sum(rewards) / textures, kl)

    def _pull(self, painter: DifferentiablePainter, sample: Sample, used: list) -> float:
        """Adds the gradient of the divergence, view by view; returns its mean."""
        records = used[0].views
        total = 0.0
        for index, record in records.items():
            i = divergence_step(record, sample.seed, index)
            value = divergence(painter.backbone, record, i, self.evaluations)
            share = sample.share * self.kl_weight / len(records)
            total += add_gradient(value, share, "divergence from the untuned model")
        return total / max(len(records), 1)


def direct_loss(reward: Tensor, target: float | None = None) -> Tensor:
    """-r without a target, else max(target - r, 0)."""
    return -reward if target is None else (target - reward).clamp_min(0.0)


def measured_divergence(
    painter: DifferentiablePainter, sample: Sample
) -> tuple[Tensor, Tensor, float | None]:
    """Texture, coverage and mean divergence over the views of one painting without gradient.

    The divergence is None where no step has noise (chains of one step).
    """
    recording = Recording(Evaluations())
    with torch.no_grad():
        texture, painted = painter.paint(
            sample.item.mesh, sample.item.prompt, sample.seed, Derivative(recording), sample.viewpoints
        )
        values = [
            float(divergence(painter.backbone, record, divergence_step(record, sample.seed, index)))
            for index, record in recording.views.items()
            if noisy_steps(record.scheduler)
        ]
    return texture, painted, sum(values) / len(values) if values else None

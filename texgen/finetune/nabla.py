"""Residual gradient-informed detailed balance: the reward's gradient as a target for the denoiser's mean.

Nabla-GFlowNet (arXiv 2412.07775) in the form of Nabla-R2D3 (arXiv 2506.15684): the forward loss only, no flow
network, the mean reward of jittered renders. For a transition z -> y of a sampled chain, from step i to
i + 1, with y drawn around mu_theta(z) at standard deviation sigma:

    L = mean || (mu_theta(z) - mu_ref(z)) / sigma^2 - u(y) ||^2,
    u(y) = stopgrad[ beta * abar_(i+1) * grad_y R(x0(y)) ].

The published loss subtracts two scores -(y - mu) / sigma^2; y cancels, and the difference of the means is
taken directly. Its minimum is the untuned chain tilted by the reward, not the reward's maximum: the prior is
part of the target.

A texture is painted by several views in turn. Each view's chain is a trajectory, conditioned on what the
views before it had painted; R judges the texture that the clean latents x0 of all views at one step make
together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from texgen import seeds
from texgen.diffusion.sampler import predict_step
from texgen.diffusion.schedules import signal_level, split_prediction
from texgen.finetune.algorithms import (
    DifferentiablePainter,
    NotFiniteError,
    Reward,
    Sample,
    SampleOutcome,
    add_gradient,
    drawn_reward,
    trainable_steps,
    tuned_and_untuned,
)
from texgen.finetune.differentiation import GivenLatents, Recording, ViewRecord
from texgen.finetune.evaluations import Evaluations
from texgen.finetune.replay import replayed


def residual_balance_loss(mean: Tensor, reference: Tensor, spread: float, flow: Tensor) -> Tensor:
    """mean ((mu_theta - mu_ref) / sigma^2 - u)^2: a scalar. reference and flow count as constant."""
    return ((mean - reference.detach()) / spread**2 - flow.detach()).square().mean()


@dataclass(frozen=True)
class Nabla:
    """beta: strength of the reward against the prior. transitions: how many steps of a chain are trained per
    sample: the last one with noise, the others drawn from equal parts of the rest. draws: jittered judgements
    that are averaged. max_flow: largest norm of u over one view's latents; None = no limit.

    details of its outcomes: tilt = ||sigma^2 u|| / ||y - mu_ref||, mean over what was trained. beta is well
    chosen when it is some per cent.
    """

    reward: Reward
    beta: float = 1.0
    transitions: int = 2
    draws: int = 1
    max_flow: float | None = None
    evaluations: Evaluations = field(default_factory=Evaluations, compare=False, repr=False)

    name = "nabla"
    learns_cameras = False
    needs_noise = True

    def __post_init__(self) -> None:
        if not self.beta > 0 or self.transitions < 1 or self.draws < 1:
            raise ValueError("nabla: beta must be positive, transitions and draws at least 1.")

    def accumulate(self, painter: DifferentiablePainter, sample: Sample) -> SampleOutcome:
        """Adds the gradient of one sample; its mean loss and the reward of the sampled texture."""
        recording = Recording(self.evaluations)
        with torch.no_grad():
            texture, painted = sample.paint(painter, recording)
            reward = float(self.reward(texture, painted, sample.item))
        views = recording.views
        chosen = chosen_steps(next(iter(views.values())), self.transitions, sample.seed)
        share = 1 / (len(chosen) * len(views))
        loss, tilt = 0.0, 0.0
        for i in chosen:
            flows = self.flows(painter, sample, views, i)
            for index, record in views.items():
                value, ratio = self._train(painter, record, i, flows[index], sample.share * share)
                loss, tilt = loss + value * share, tilt + ratio * share
        return SampleOutcome(loss, reward, None, {"tilt": tilt})

    def flows(
        self, painter: DifferentiablePainter, sample: Sample, views: Mapping[int, ViewRecord], i: int
    ) -> dict[int, Tensor]:
        """u at the latents that the transition from step i led to, by view index."""
        backbone = painter.backbone
        ends = {index: record.latents[i + 1].detach().requires_grad_() for index, record in views.items()}

        def clean(record: ViewRecord, latents: Tensor) -> Tensor:
            if i + 1 == len(record.scheduler.timesteps):
                return latents

            def first(latents: Tensor) -> tuple[Tensor, ...]:
                with self.evaluations.forwards(backbone):
                    return (estimate(latents),)

            def again(latents: Tensor) -> tuple[Tensor, ...]:
                with self.evaluations.repetitions(backbone):
                    return (estimate(latents),)

            def estimate(latents: Tensor) -> Tensor:
                seen, prediction = predict_step(backbone, record.scheduler, record.chain, latents, i + 1)
                return split_prediction(record.scheduler, prediction, i + 1, seen)[0]

            return replayed(first, again, (latents,), (), (True,))[0]

        guesses = {index: clean(record, ends[index]) for index, record in views.items()}
        texture, painted = sample.paint(painter, GivenLatents(guesses))
        rewards = [
            drawn_reward(self.reward, (sample.seed, "jitter", i, draw))(texture, painted, sample.item)
            for draw in range(self.draws)
        ]
        value = torch.stack(rewards).mean()
        if not bool(torch.isfinite(value)):
            raise NotFiniteError("reward", float(value))
        if not value.requires_grad:
            return {index: torch.zeros_like(end) for index, end in ends.items()}
        # The share carries the loss scale, without which a decoder in float16 lets the gradient vanish.
        scaled = torch.autograd.grad(value * sample.share, list(ends.values()), allow_unused=True)
        flows = {}
        for (index, end), gradient in zip(ends.items(), scaled, strict=True):
            flow = torch.zeros_like(end) if gradient is None else gradient.detach() / sample.share
            flow = flow * (self.beta * signal_level(views[index].scheduler, i + 1))
            if self.max_flow is not None:
                flow = flow * min(1.0, self.max_flow / max(float(flow.norm()), 1e-12))
            flows[index] = flow
        return flows

    def _train(
        self, painter: DifferentiablePainter, record: ViewRecord, i: int, flow: Tensor, share: float
    ) -> tuple[float, float]:
        mean, reference, spread = tuned_and_untuned(painter.backbone, record, i, self.evaluations)
        end = record.latents[i + 1].detach()
        loss = add_gradient(residual_balance_loss(mean, reference, spread, flow), share)
        return loss, float(spread**2 * flow.norm() / (end - reference).norm())


def chosen_steps(record: ViewRecord, count: int, seed: int) -> list[int]:
    """`count` steps with noise: the last, and one drawn from each of count - 1 equal parts of the others.

    Raises ValueError where no step has noise.
    """
    steps = trainable_steps(record.scheduler)
    rest, last = steps[:-1], steps[-1]
    parts = min(count - 1, len(rest))
    random = seeds.generator(seed, "transitions")
    chosen = []
    for part in range(parts):
        low, high = part * len(rest) // parts, (part + 1) * len(rest) // parts
        chosen.append(rest[int(torch.randint(low, high, (), generator=random))])
    return [*chosen, last]

"""What the training algorithms share: a sample to learn from, what came of it, and the divergence from the
untuned model.

An algorithm has a method `accumulate(painter, sample) -> Outcome` that adds its gradient, times
`sample.share`, to the `.grad` of the adapter. It calls backward itself, piece by piece, so that no more than
one piece is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from texgen import seeds
from texgen.diffusion.sampler import transition
from texgen.diffusion.schedules import ddim_posterior
from texgen.finetune.differentiation import ViewRecord
from texgen.finetune.evaluations import Evaluations
from texgen.painting.scene import OWN_CAMERAS, Viewpoints
from texgen.painting.views import Derivative

if TYPE_CHECKING:
    from texgen.diffusion.backbone import Backbone
    from texgen.mesh.mesh import Mesh


class DifferentiablePainter(Protocol):
    """The part of `TexGen` that training uses."""

    backbone: Backbone

    def paint(
        self, mesh: Mesh, prompt: str, seed: int, derivative: Derivative, viewpoints: Viewpoints
    ) -> tuple[Tensor, Tensor]: ...


class Item(Protocol):
    """One training example; rewards may ask it for more, such as `geometry`."""

    mesh: Mesh
    prompt: str


Reward = Callable[[Tensor, Tensor, Any], Tensor]  # (texture [3, T, T], painted [1, T, T], item) -> scalar


@dataclass(frozen=True, eq=False)
class Sample:
    """One item, the seed of its noise, and which cameras paint it.

    viewpoints: the painter's own cameras, some of them, or learned ones, which require a gradient. share:
    factor of its gradient in the step's, 1 / accumulation.
    """

    item: Item
    seed: int
    viewpoints: Viewpoints = OWN_CAMERAS
    share: float = 1.0

    def paint(self, painter: DifferentiablePainter, gradient: Any, detach_conditioning: bool = True):
        """One painting by the soft trimap, as training sees it."""
        derivative = Derivative(gradient, soft=True, detach_conditioning=detach_conditioning)
        return painter.paint(self.item.mesh, self.item.prompt, self.seed, derivative, self.viewpoints)


@dataclass(frozen=True)
class SampleOutcome:
    """Numbers of one sample. kl: see `divergence`; None where it was not asked for. details: what only one
    algorithm knows."""

    loss: float
    reward: float
    kl: float | None = None
    details: dict[str, float] | None = None


class NotFiniteError(ArithmeticError):
    """A loss or a reward that is not finite; nothing was added to the gradient by it."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__(f"the {what} is {value}")
        self.what, self.value = what, value


def drawn_reward(reward: Reward, seed: tuple[object, ...]) -> Reward:
    """The reward with its random parts (jittered cameras, backgrounds) drawn from a seed; itself where it has
    none. A reward with random parts has a method `drawn(seed)`."""
    draw = getattr(reward, "drawn", None)
    return reward if draw is None else draw(seed)


def add_gradient(loss: Tensor, share: float, what: str = "loss") -> float:
    """Backward of `share * loss`; returns the loss. Raises NotFiniteError before anything is changed."""
    value = float(loss.detach())
    if not math.isfinite(value):
        raise NotFiniteError(what, value)
    if loss.requires_grad:
        (loss * share).backward()
    return value


def spread_of(scheduler: DDIMScheduler, i: int) -> float:
    """Standard deviation of DDIM's transition from step i at eta = 1."""
    zero = torch.zeros(())
    return ddim_posterior(scheduler, zero, zero, i, 1.0)[1]


def noisy_steps(scheduler: DDIMScheduler) -> list[int]:
    """Steps whose transition at eta = 1 has noise: all, or all but the last where that ends at no noise."""
    return [i for i in range(len(scheduler.timesteps)) if spread_of(scheduler, i) > 1e-4]


def trainable_steps(scheduler: DDIMScheduler) -> list[int]:
    """`noisy_steps`; raises ValueError where there is none (a chain of one step that ends clean)."""
    steps = noisy_steps(scheduler)
    if not steps:
        raise ValueError("A chain of one denoising step has no transition with noise; use 2 steps or more.")
    return steps


def tuned_and_untuned(
    backbone: Backbone, record: ViewRecord, i: int, evaluations: Evaluations
) -> tuple[Tensor, Tensor, float]:
    """Means [1, C, h, w] of the chain's transition from step i, and its standard deviation.

    First the tuned model's, with its graph, then the untuned one's without, both at the recorded latents,
    which count as constant.
    """
    latents = record.latents[i].detach()
    with torch.no_grad(), backbone.lora_disabled(), evaluations.forwards(backbone):
        reference, spread = transition(backbone, record.scheduler, record.chain, latents, i)
    with evaluations.forwards(backbone) as spent:
        mean, _ = transition(backbone, record.scheduler, record.chain, latents, i)
    evaluations.count_backward(mean, spent)
    return mean, reference, spread


def divergence(
    backbone: Backbone, record: ViewRecord, i: int, evaluations: Evaluations | None = None
) -> Tensor:
    """KL(tuned || untuned) of the chain's transition from step i, per latent number: a scalar.

    Both are Gaussians of one variance, so it is mean (mu_theta - mu_ref)^2 / (2 sigma_i^2), with the sigma of
    eta = 1 whatever the chain's eta. The untuned mean comes from a pass without the adapter, at the same
    latents, which count as constant.
    """
    counter = Evaluations() if evaluations is None else evaluations
    mean, reference, _ = tuned_and_untuned(backbone, record, i, counter)
    spread = spread_of(record.scheduler, i)
    return (mean - reference).square().mean() / (2 * spread**2)


def divergence_step(record: ViewRecord, *seed: object) -> int:
    """The step at which a view's divergence is measured, drawn from those with noise, as `trainable_steps`
    finds them."""
    steps = trainable_steps(record.scheduler)
    return steps[int(torch.randint(len(steps), (), generator=seeds.generator(*seed, "divergence")))]

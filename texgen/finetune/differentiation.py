"""How one painting keeps or rebuilds its graph: its last steps differentiated, recorded, or handed in.

Each class is a `texgen.painting.views.Gradient` for one painting. With replay nothing but texture states and
latents is kept on the way forward. The backward pass then takes the views in reverse order, and in each the
steps in reverse order: one step's graph is alive at a time, whatever the number of views and steps.
Everything that a step or a view depends on is an argument or a constant of the painting, so the second run
equals the first. (A multistep scheduler keeps state between steps and cannot be used.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from texgen.diffusion.backbone import Backbone
from texgen.diffusion.sampler import Step, ViewDenoising
from texgen.diffusion.schedules import add_noise
from texgen.finetune.evaluations import Evaluations
from texgen.finetune.replay import Run, replayed
from texgen.painting.chains import draw
from texgen.painting.state import TextureState


@dataclass(frozen=True, eq=False)
class ViewRecord:
    """One view's chain as it was sampled: latents before every evaluated step, and after the last."""

    scheduler: SchedulerMixin
    chain: ViewDenoising
    latents: list[Tensor]


def carried(fixed_geometry: bool) -> tuple[bool, ...]:
    """Which tensors of a texture state depend on what is trained: the colours, and all where cameras move."""
    return tuple(name == "colour_sum" or not fixed_geometry for name in TextureState._fields)


class Differentiation:
    """The `Gradient` of one painting: its last `carried` steps (None = all) have a gradient."""

    def __init__(self, carried: int | None, replay: bool, evaluations: Evaluations) -> None:
        self.carried, self.replay, self.evaluations = carried, replay, evaluations
        self.keep_records = False  # fill `views`; it costs memory per view
        # Of one view: latents before every evaluated step and after the last, None where not replayed.
        self._tape: list[Tensor | None] | None = None
        self._replaying = False
        self._parameters: tuple[Tensor, ...] = ()
        self.views: dict[int, ViewRecord] = {}  # what was sampled, by view index, without graphs

    def frozen(self) -> bool:
        """See `texgen.painting.views.Gradient`."""
        return self.replay or not torch.is_grad_enabled()

    def view(
        self,
        run: Run,
        inputs: tuple[Tensor, ...],
        parameters: Sequence[Tensor],
        fixed_geometry: bool,
    ) -> tuple[Tensor, ...]:
        """See `texgen.painting.views.Gradient`. The view's denoiser is not evaluated again as a whole."""
        self._parameters = tuple(parameters)
        if not (self.replay and torch.is_grad_enabled()):
            return run(*inputs)
        tape: list[Tensor] = []

        def first(*tensors: Tensor) -> tuple[Tensor, ...]:
            self._tape, self._replaying = tape, False
            return run(*tensors)

        def again(*tensors: Tensor) -> tuple[Tensor, ...]:
            self._tape, self._replaying = tape, True
            return run(*tensors)

        return replayed(first, again, inputs, parameters, carried(fixed_geometry))

    def denoise(
        self,
        backbone: Backbone,
        scheduler: SchedulerMixin,
        chain: ViewDenoising,
        latents: Tensor,
        step: Step,
        index: int,
    ) -> Tensor:
        """All steps of one view: with graphs, recorded on the tape, or replayed from it."""
        steps = len(scheduler.timesteps)
        begin = 0 if self.carried is None else max(0, steps - self.carried)
        first = self.first_step(steps)
        if self._replaying:
            return self._replay(backbone, scheduler, chain, latents, step, first, begin)
        latents = self.start(scheduler, latents, first, index)
        recorded = self._tape is not None and not torch.is_grad_enabled()
        tape: list[Tensor | None] = self._tape if recorded else []
        tape[:] = [latents.detach()]
        for i in range(first, steps):
            if recorded or i < begin or not torch.is_grad_enabled():
                with torch.no_grad(), self.evaluations.forwards(backbone):
                    latents = step(backbone, scheduler, chain, latents, i).detach()
            else:
                with self.evaluations.forwards(backbone) as spent:
                    latents = step(backbone, scheduler, chain, latents, i)
                self.evaluations.count_backward(latents, spent)
            tape.append(latents.detach())
        if self.keep_records:
            self.views[index] = ViewRecord(scheduler, chain.mapped(Tensor.detach), list(tape))
        tape[: max(begin - first, 0)] = [None] * max(begin - first, 0)
        return latents

    def first_step(self, steps: int) -> int:
        """The first step that is evaluated."""
        return 0

    def start(self, scheduler: SchedulerMixin, latents: Tensor, first: int, index: int) -> Tensor:
        """Latents before the first step."""
        return latents

    def _replay(
        self,
        backbone: Backbone,
        scheduler: SchedulerMixin,
        chain: ViewDenoising,
        latents: Tensor,
        step: Step,
        first: int,
        begin: int,
    ) -> Tensor:
        tape = self._tape
        assert tape is not None
        moving = [tensor for tensor in chain.tensors() if tensor.requires_grad]
        latents = tape[max(begin, first) - first].detach()
        for i in range(max(begin, first), len(scheduler.timesteps)):
            known = tape[i - first + 1]

            def first_run(*_: Tensor, known: Tensor = known) -> tuple[Tensor, ...]:
                return (known,)

            def again(latents: Tensor, *tensors: Tensor, i: int = i) -> tuple[Tensor, ...]:
                given = iter(tensors)
                own = chain.mapped(lambda tensor: next(given) if tensor.requires_grad else tensor)
                with self.evaluations.repetitions(backbone):
                    return (step(backbone, scheduler, own, latents, i),)

            (latents,) = replayed(first_run, again, (latents, *moving), self._parameters, (True,))
        return latents


class Renoised(Differentiation):
    """Only the last step, from noised final latents."""

    def __init__(
        self, finals: dict[int, Tensor], seed: tuple[object, ...], replay: bool, evaluations: Evaluations
    ) -> None:
        super().__init__(1, replay, evaluations)
        self.finals, self.seed = finals, seed

    def first_step(self, steps: int) -> int:
        return steps - 1

    def start(self, scheduler: SchedulerMixin, latents: Tensor, first: int, index: int) -> Tensor:
        if index not in self.finals:
            raise RuntimeError(f"View {index} was painted in a copy, but skipped in the first painting.")
        final = self.finals[index]
        return add_noise(scheduler, final, draw(final.shape, final, *self.seed, index), first)


class Recording:
    """A painting without gradient that remembers the denoising chain of every view (by view index).

    noise: seed parts of another variance noise; None = the painting's own. With it, two paintings share
    their start and part ways at the first step.
    """

    def __init__(self, evaluations: Evaluations, noise: tuple[object, ...] | None = None) -> None:
        self.evaluations, self.noise = evaluations, noise
        self.views: dict[int, ViewRecord] = {}

    def frozen(self) -> bool:
        return True

    def view(self, run: Run, inputs, parameters, fixed_geometry: bool) -> tuple[Tensor, ...]:
        with torch.no_grad():
            return run(*inputs)

    def denoise(self, backbone, scheduler, chain, latents, step, index) -> Tensor:
        if self.noise is not None:
            noise = draw(chain.variance_noise.shape, chain.variance_noise, *self.noise, index)
            chain = dataclasses.replace(chain, variance_noise=noise)
        kept = [latents]
        for i in range(len(scheduler.timesteps)):
            with self.evaluations.forwards(backbone):
                latents = step(backbone, scheduler, chain, latents, i)
            kept.append(latents)
        self.views[index] = ViewRecord(scheduler, chain, kept)
        return latents


class GivenLatents:
    """A painting whose denoised latents are handed in, by view index; they may require a gradient.

    Every view is replayed when the gradient arrives, so that one view's decoder is in memory at a time.
    """

    def __init__(self, latents: dict[int, Tensor]) -> None:
        self.latents = latents
        self._now = latents

    def frozen(self) -> bool:
        return False  # nothing is evaluated, so there is nothing to prepare

    def view(self, run: Run, inputs, parameters, fixed_geometry: bool) -> tuple[Tensor, ...]:
        if not torch.is_grad_enabled():
            return run(*inputs)
        count = len(inputs)

        def with_latents(*tensors: Tensor) -> tuple[Tensor, ...]:
            self._now = dict(zip(self.latents, tensors[count:], strict=True))
            return run(*tensors[:count])

        every = (*inputs, *self.latents.values())
        return replayed(with_latents, with_latents, every, (), carried(fixed_geometry))

    def denoise(self, backbone, scheduler, chain, latents, step, index) -> Tensor:
        return self._now[index]

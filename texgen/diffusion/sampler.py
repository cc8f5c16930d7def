"""Denoising one view while parts of it are pinned to a known image (masked latent blending).

All random numbers are drawn beforehand and handed in, and the DDIM step is a pure function, so a chain can be
recomputed at any step with the same result: that is what gradient checkpointing needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from diffusers import LCMScheduler, SchedulerMixin
from torch import Tensor

from texgen.diffusion.backbone import Backbone
from texgen.diffusion.guidance import Control
from texgen.diffusion.schedules import add_noise, ddim_transition, is_pure, lcm_transition, noised


@dataclass(frozen=True, eq=False)
class Alternation:
    """Steps first to last, inclusive, at which another model predicts, without blending (TEXTure).

    Either the UNet with other ControlNets (`controls`) or the inpainting UNet (`inpainting`: [B, 5, h, w],
    see `Backbone.predict`).
    """

    first: int
    last: int
    controls: tuple[Control, ...] = ()
    inpainting: Tensor | None = None

    def holds(self, i: int) -> bool:
        """Whether step i is one of its steps."""
        return self.first <= i <= self.last

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Alternation:
        """See `ViewDenoising.mapped`."""
        controls = tuple(control.mapped(change) for control in self.controls)
        inpainting = None if self.inpainting is None else change(self.inpainting)
        return replace(self, controls=controls, inpainting=inpainting)


@dataclass(frozen=True, eq=False)
class ViewDenoising:
    """Everything that is constant over the denoising chain of one view (batch B = 1), or of B views at once.

    text: [2, L, D] or [2B, L, D], unconditional first. controls: the ControlNets that take part.
    known_latents: [B, 4, h, w], encoding of the image that pinned regions return to.
    pin_early, pin_late: [B, 1, h, w] in [0, 1], 1 = pinned; early holds at the steps i < switch_step.
    blend_noise, variance_noise: [S, B, 4, h, w], one standard normal draw per step, for re-noising the known
    latents and for the sampler itself (DDIM with eta > 0, LCM). eta: 0 = deterministic DDIM, 1 = ancestral.
    blending: when pinned regions are replaced, and at which noise level: "before"
    each step at the step's own level (InTeX, TEXTure); "after" each step, one training time step below it
    (Text2Tex); "after_next" each step, at the level of the next one, clean after the last (diffusers'
    inpainting pipelines, Paint3D). alternation: steps at which another model predicts.
    """

    text: Tensor
    controls: tuple[Control, ...]
    known_latents: Tensor
    pin_early: Tensor
    pin_late: Tensor
    switch_step: int
    blend_noise: Tensor
    variance_noise: Tensor
    guidance_scale: float
    eta: float
    blending: str = "before"
    alternation: Alternation | None = None

    def mapped(self, change: Callable[[Tensor], Tensor]) -> ViewDenoising:
        """The chain with every tensor replaced by change(tensor), one after the other in a fixed order.

        Those of its ControlNets and of its alternation are among them: all that a derivative comes through.
        """
        return replace(
            self,
            text=change(self.text),
            controls=tuple(control.mapped(change) for control in self.controls),
            known_latents=change(self.known_latents),
            pin_early=change(self.pin_early),
            pin_late=change(self.pin_late),
            blend_noise=change(self.blend_noise),
            variance_noise=change(self.variance_noise),
            alternation=None if self.alternation is None else self.alternation.mapped(change),
        )

    def tensors(self) -> list[Tensor]:
        """All tensors of the chain, in the order of `mapped`."""
        found: list[Tensor] = []

        def noted(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        self.mapped(noted)
        return found


def blend(scheduler: SchedulerMixin, chain: ViewDenoising, latents: Tensor, i: int) -> Tensor:
    """Replace pinned regions by the known latents, noised to the level that `chain.blending` names."""
    pin = chain.pin_early if i < chain.switch_step else chain.pin_late
    noise = chain.blend_noise[i]
    if chain.blending == "before":
        known = add_noise(scheduler, chain.known_latents, noise, i)
    elif chain.blending == "after":
        known = noised(scheduler, chain.known_latents, noise, max(float(scheduler.timesteps[i]) - 1, 0.0))
    elif i + 1 < len(scheduler.timesteps):
        known = add_noise(scheduler, chain.known_latents, noise, i + 1)
    else:
        known = chain.known_latents
    return latents * (1 - pin) + known * pin


def denoise_step(
    backbone: Backbone, scheduler: SchedulerMixin, chain: ViewDenoising, latents: Tensor, i: int
) -> Tensor:
    """Latents [B, 4, h, w] at time step i of the scheduler -> at step i + 1.

    Blend, predict, update, or predict, update, blend: as the chain says. Pure for DDIM and LCM; the others
    advance their own state.
    """
    if is_pure(scheduler):
        mean, spread = transition(backbone, scheduler, chain, latents, i)
        latents = mean + spread * chain.variance_noise[i]
    else:
        latents, prediction = predict_step(backbone, scheduler, chain, latents, i)
        latents = scheduler.step(prediction, scheduler.timesteps[i], latents).prev_sample
    if chain.blending == "before" or _alternates(chain, i):
        return latents
    return blend(scheduler, chain, latents, i)


def _alternates(chain: ViewDenoising, i: int) -> bool:
    return chain.alternation is not None and chain.alternation.holds(i)


def transition(
    backbone: Backbone, scheduler: SchedulerMixin, chain: ViewDenoising, latents: Tensor, i: int
) -> tuple[Tensor, float]:
    """Mean and standard deviation of a pure chain's latents at step i + 1 given its latents at step i."""
    latents, prediction = predict_step(backbone, scheduler, chain, latents, i)
    if isinstance(scheduler, LCMScheduler):
        return lcm_transition(scheduler, prediction, i, latents)
    return ddim_transition(scheduler, prediction, i, latents, chain.eta)


def predict_step(
    backbone: Backbone, scheduler: SchedulerMixin, chain: ViewDenoising, latents: Tensor, i: int
) -> tuple[Tensor, Tensor]:
    """Latents as the network sees them at step i, blended where the chain blends before, and its guided
    output for them.
    """
    t = scheduler.timesteps[i]
    if _alternates(chain, i):
        other = chain.alternation
        return latents, backbone.predict(
            latents, t, chain.text, other.controls, chain.guidance_scale, other.inpainting
        )
    if chain.blending == "before":
        latents = blend(scheduler, chain, latents, i)
    return latents, backbone.predict(latents, t, chain.text, chain.controls, chain.guidance_scale)


Step = Callable[[Backbone, SchedulerMixin, ViewDenoising, Tensor, int], Tensor]


def denoise(
    backbone: Backbone,
    scheduler: SchedulerMixin,
    chain: ViewDenoising,
    latents: Tensor,
    step: Step = denoise_step,
    first: int = 0,
) -> Tensor:
    """Run the steps from `first` on, from latents [B, 4, h, w] at its noise level (pure noise for 0).

    `step` has the signature of `denoise_step`. With blending "before" the result is not blended once more:
    pinned regions are as the last step left them, near the known latents.
    """
    for i in range(first, len(scheduler.timesteps)):
        latents = step(backbone, scheduler, chain, latents, i)
    return latents

"""Denoising one view while parts of it are pinned to a known image (masked latent blending).

All random numbers are drawn beforehand and handed in, and the DDIM step is a pure function, so a chain can be
recomputed at any step with the same result: that is what gradient checkpointing needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler, PNDMScheduler, SchedulerMixin, UniPCMultistepScheduler
from torch import Tensor

from texgen.diffusion.backbone import Backbone, Control

SCHEDULER_CLASSES: dict[str, type[SchedulerMixin]] = {
    "ddim": DDIMScheduler,
    "unipc": UniPCMultistepScheduler,
    "pndm": PNDMScheduler,
}


@dataclass(frozen=True, eq=False)
class Alternation:
    """Steps first to last, inclusive, at which another model predicts, without blending (TEXTure).

    Either a ControlNet (`control`, `role`) or the inpainting UNet (`inpainting`: [B, 5, h, w], see
    `Backbone.predict`).
    """

    first: int
    last: int
    control: Tensor | None = None
    role: str | None = None
    inpainting: Tensor | None = None

    def holds(self, i: int) -> bool:
        """Whether step i is one of its steps."""
        return self.first <= i <= self.last


@dataclass(frozen=True, eq=False)
class ViewDenoising:
    """Everything that is constant over the denoising chain of one view (batch B = 1), or of B views at once.

    text: [2, L, D] or [2B, L, D], unconditional first. control: [B, C, H, W] for the ControlNet `role`.
    known_latents: [B, 4, h, w], encoding of the image that pinned regions return to.
    pin_early, pin_late: [B, 1, h, w] in [0, 1], 1 = pinned; early holds at the steps i < switch_step.
    blend_noise, variance_noise: [S, B, 4, h, w], one standard normal draw per step, for re-noising the known
    latents and for the sampler itself (used when eta > 0). eta: 0 = deterministic DDIM, 1 = ancestral.
    also: further ControlNets. blending: when pinned regions are replaced, and at which noise level: "before"
    each step at the step's own level (InTeX, TEXTure); "after" each step, one training time step below it
    (Text2Tex); "after_next" each step, at the level of the next one, clean after the last (diffusers'
    inpainting pipelines, Paint3D). alternation: steps at which another model predicts.
    """

    text: Tensor
    control: Tensor | None
    role: str | None
    known_latents: Tensor
    pin_early: Tensor
    pin_late: Tensor
    switch_step: int
    blend_noise: Tensor
    variance_noise: Tensor
    guidance_scale: float
    eta: float
    control_scale: float = 1.0
    also: tuple[Control, ...] = ()
    blending: str = "before"
    alternation: Alternation | None = None


def make_scheduler(
    config: Mapping[str, object], name: str, steps: int, spacing: str = "model", last_signal: str = "model"
) -> SchedulerMixin:
    """A scheduler with `steps` time steps set, from the contents of a model's scheduler file.

    name: "ddim", "unipc" or "pndm" (linear multistep without Runge-Kutta steps, as TEXTure uses it; its list
    holds one time step twice and is one longer than `steps`). All read the noise schedule, the prediction
    type and, for "model", spacing and last signal from the file. spacing: "leading", "trailing" or "linspace"
    as in diffusers; with DDIM "linspace" is that of Euler's schedulers, whose time steps between 999 and 0
    are not rounded. last_signal: "one" ends chains at alpha-bar 1, i.e. at the last estimate of the clean
    latents, as Euler's and DDPM's schedulers do; for DDIM. UniPC and PNDM carry state from step to step: make
    new ones for every chain. Latents are never clipped, as the image-space default of DDIM would do where the
    file does not mention it.
    """
    if name not in SCHEDULER_CLASSES:
        raise ValueError(f"There is no scheduler {name!r}; choose one of {', '.join(SCHEDULER_CLASSES)}.")
    if steps < 1:
        raise ValueError(f"The number of denoising steps is {steps}; it must be at least 1.")
    config = dict(config)
    if spacing != "model":
        config["timestep_spacing"] = spacing
    if name == "ddim":
        config.setdefault("clip_sample", False)
        if last_signal == "one":
            config["set_alpha_to_one"] = True
    if name == "pndm":
        if config.get("rescale_betas_zero_snr"):
            raise ValueError(
                'The scheduler "pndm" divides by the signal, which is zero at the first step of this model '
                '(rescale_betas_zero_snr); use scheduler="ddim".'
            )
        config["skip_prk_steps"] = True
    scheduler = SCHEDULER_CLASSES[name].from_config(config)
    if config.get("rescale_betas_zero_snr") and scheduler.config.prediction_type == "epsilon":
        raise ValueError(
            "The scheduler file has zero terminal signal together with noise prediction, which "
            'cannot be inverted at the first step; its prediction_type should be "v_prediction".'
        )
    scheduler.set_timesteps(steps)
    if name == "ddim" and spacing == "linspace":
        scheduler.timesteps = torch.linspace(scheduler.config.num_train_timesteps - 1, 0, steps)
    return scheduler


def is_pure(scheduler: SchedulerMixin) -> bool:
    """Whether a step depends on its arguments only, so that it may be recomputed and differentiated."""
    return isinstance(scheduler, DDIMScheduler)


def ddim_step(
    scheduler: DDIMScheduler, prediction: Tensor, i: int, latents: Tensor, eta: float, noise: Tensor
) -> Tensor:
    """One DDIM update from time step i to i + 1 of the scheduler's list: a draw from `ddim_transition`."""
    mean, spread = ddim_transition(scheduler, prediction, i, latents, eta)
    return mean + spread * noise


def ddim_transition(
    scheduler: DDIMScheduler, prediction: Tensor, i: int, latents: Tensor, eta: float
) -> tuple[Tensor, float]:
    """Mean and standard deviation of the latents at step i + 1 given those at step i.

    Song et al. 2021, eq. 12 and 16. Written out rather than left to `scheduler.step` for two reasons. With
    zero terminal signal and eta = 1 the variance left for the direction is 0 in exact arithmetic, and the
    library's float32 difference falls below 0 at some step counts (10 and 20 among them), which gives NaN.
    And with trailing spacing the library steps back by the rounded mean stride, not to the next time step of
    the list. Elsewhere both agree.
    """
    original, direction = split_prediction(scheduler, prediction, i, latents)
    return ddim_posterior(scheduler, original, direction, i, eta)


def ddim_posterior(
    scheduler: DDIMScheduler, original: Tensor, direction: Tensor, i: int, eta: float
) -> tuple[Tensor, float]:
    """The same from the clean latents and the noise at step i; of any shape, textures too.

    With eta = 1 it is DDPM's posterior q(z_{t-1} | z_t, z_0), and, up to a scaling of latents by the signal,
    the step of Euler ancestral.
    """
    alpha, alpha_next = signal_level(scheduler, i), signal_level(scheduler, i + 1)
    spread = eta * (max((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next), 0.0)) ** 0.5
    straight = max(1 - alpha_next - spread**2, 0.0) ** 0.5
    return alpha_next**0.5 * original + straight * direction, spread


def signal_level(scheduler: SchedulerMixin, i: int) -> float:
    """alpha-bar at step i of the scheduler's list; i = number of steps: that of finished latents."""
    if i == len(scheduler.timesteps):
        return float(scheduler.final_alpha_cumprod)
    return signal_at(scheduler, float(scheduler.timesteps[i]))


def signal_at(scheduler: SchedulerMixin, t: float) -> float:
    """alpha-bar at a training time step; between two of them sigma = sqrt(1 / alpha-bar - 1) is linear, as in
    Euler's schedulers.
    """
    low = int(t)
    if t == low:
        return float(scheduler.alphas_cumprod[low])
    near, far = ((1 / float(scheduler.alphas_cumprod[k]) - 1) ** 0.5 for k in (low, low + 1))
    return 1 / (1 + (near + (t - low) * (far - near)) ** 2)


def split_prediction(
    scheduler: SchedulerMixin, prediction: Tensor, i: int, latents: Tensor
) -> tuple[Tensor, Tensor]:
    """(clean latents, noise) that the network's output at step i stands for."""
    alpha = signal_level(scheduler, i)
    signal, sigma = alpha**0.5, (1 - alpha) ** 0.5
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        original, direction = (latents - sigma * prediction) / signal, prediction
    elif kind == "v_prediction":
        original, direction = signal * latents - sigma * prediction, signal * prediction + sigma * latents
    elif kind == "sample":
        original, direction = prediction, (latents - signal * prediction) / sigma
    else:
        raise ValueError(f"The prediction type {kind!r} is unknown; use epsilon, v_prediction or sample.")
    if scheduler.config.clip_sample:
        limit = scheduler.config.clip_sample_range
        original = original.clamp(-limit, limit)
    return original, direction


def add_noise(scheduler: SchedulerMixin, latents: Tensor, noise: Tensor, i: int) -> Tensor:
    """Latents noised to the level of the scheduler's time step i: sqrt(a) z + sqrt(1 - a) e.

    Taken from the training schedule rather than from `scheduler.add_noise`, whose meaning in UniPC depends on
    how far the scheduler has stepped.
    """
    return noised(scheduler, latents, noise, float(scheduler.timesteps[i]))


def noised(scheduler: SchedulerMixin, latents: Tensor, noise: Tensor, t: float) -> Tensor:
    """Latents noised to the training time step t, or between two."""
    alpha = signal_at(scheduler, t)
    return alpha**0.5 * latents + (1 - alpha) ** 0.5 * noise


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

    Blend, predict, update, or predict, update, blend: as the chain says. Pure for DDIM; the others advance
    their own state.
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
    backbone: Backbone, scheduler: DDIMScheduler, chain: ViewDenoising, latents: Tensor, i: int
) -> tuple[Tensor, float]:
    """Mean and standard deviation of a DDIM chain's latents at step i + 1 given its latents at step i."""
    latents, prediction = predict_step(backbone, scheduler, chain, latents, i)
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
            latents,
            t,
            chain.text,
            other.control,
            other.role,
            chain.guidance_scale,
            chain.control_scale,
            inpainting=other.inpainting,
        )
    if chain.blending == "before":
        latents = blend(scheduler, chain, latents, i)
    prediction = backbone.predict(
        latents,
        t,
        chain.text,
        chain.control,
        chain.role,
        chain.guidance_scale,
        chain.control_scale,
        chain.also,
    )
    return latents, prediction


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


def first_step(steps: int, strength: float) -> int:
    """The step at which an image-to-image chain of some strength in (0, 1] begins.

    The last round(steps * strength) of them run, at least one.
    """
    return min(steps - round(steps * strength), steps - 1)

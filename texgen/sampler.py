"""Denoising one view while parts of it are pinned to a known image (masked latent blending).

All random numbers are drawn beforehand and handed in, and the DDIM step is a pure function, so a chain can be
recomputed at any step with the same result: that is what gradient checkpointing needs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from diffusers import DDIMScheduler, SchedulerMixin, UniPCMultistepScheduler
from torch import Tensor

from texgen.backbone import Backbone

SCHEDULERS: dict[str, type[SchedulerMixin]] = {"ddim": DDIMScheduler, "unipc": UniPCMultistepScheduler}


@dataclass(frozen=True, eq=False)
class ViewDenoising:
    """Everything that is constant over the denoising chain of one view (batch B = 1), or of B views at once.

    text: [2, L, D] or [2B, L, D], unconditional first. control: [B, C, H, W] for the ControlNet `role`.
    known_latents: [B, 4, h, w], encoding of the image that pinned regions return to.
    pin_early, pin_late: [B, 1, h, w] in [0, 1], 1 = pinned; early holds at the steps i < switch_step.
    blend_noise, variance_noise: [S, B, 4, h, w], one standard normal draw per step, for re-noising the known
    latents and for the sampler itself (used when eta > 0). eta: 0 = deterministic DDIM, 1 = ancestral.
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


def make_scheduler(config: Mapping[str, object], name: str, steps: int) -> SchedulerMixin:
    """A scheduler with `steps` time steps set, from the contents of a model's scheduler file.

    name: "ddim" or "unipc". Both read the noise schedule, the prediction type and the spacing from the file.
    UniPC carries state from step to step: make a new one for every chain. Latents are never clipped, as the
    image-space default of DDIM would do where the file does not mention it.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"There is no scheduler {name!r}; choose one of {', '.join(SCHEDULERS)}.")
    if steps < 1:
        raise ValueError(f"The number of denoising steps is {steps}; it must be at least 1.")
    config = dict(config)
    if name == "ddim":
        config.setdefault("clip_sample", False)
    scheduler = SCHEDULERS[name].from_config(config)
    if config.get("rescale_betas_zero_snr") and scheduler.config.prediction_type == "epsilon":
        raise ValueError(
            "The scheduler file has zero terminal signal together with noise prediction, which "
            'cannot be inverted at the first step; its prediction_type should be "v_prediction".'
        )
    scheduler.set_timesteps(steps)
    return scheduler


def is_pure(scheduler: SchedulerMixin) -> bool:
    """Whether a step depends on its arguments only, so that it may be recomputed and differentiated."""
    return isinstance(scheduler, DDIMScheduler)


def ddim_step(
    scheduler: DDIMScheduler, prediction: Tensor, i: int, latents: Tensor, eta: float, noise: Tensor
) -> Tensor:
    """One DDIM update from time step i to i + 1 of the scheduler's list (Song et al. 2021, eq. 12 and 16).

    Written out rather than left to `scheduler.step` for two reasons. With zero terminal signal and eta = 1
    the variance left for the direction is 0 in exact arithmetic, and the library's float32 difference falls
    below 0 at some step counts (10 and 20 among them), which gives NaN. And with trailing spacing the library
    steps back by the rounded mean stride, not to the next time step of the list. Elsewhere both agree.
    """
    times = scheduler.timesteps.tolist()
    alpha = float(scheduler.alphas_cumprod[times[i]])
    last = i + 1 == len(times)
    alpha_next = float(scheduler.final_alpha_cumprod if last else scheduler.alphas_cumprod[times[i + 1]])
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
    spread = eta * (max((1 - alpha_next) / (1 - alpha) * (1 - alpha / alpha_next), 0.0)) ** 0.5
    straight = max(1 - alpha_next - spread**2, 0.0) ** 0.5
    return alpha_next**0.5 * original + straight * direction + spread * noise


def add_noise(scheduler: SchedulerMixin, latents: Tensor, noise: Tensor, i: int) -> Tensor:
    """Latents noised to the level of the scheduler's time step i: sqrt(a) z + sqrt(1 - a) e.

    Taken from the training schedule rather than from `scheduler.add_noise`, whose meaning in UniPC depends on
    how far the scheduler has stepped.
    """
    alpha = float(scheduler.alphas_cumprod[int(scheduler.timesteps[i])])
    return alpha**0.5 * latents + (1 - alpha) ** 0.5 * noise


def blend(scheduler: SchedulerMixin, chain: ViewDenoising, latents: Tensor, i: int) -> Tensor:
    """Replace pinned regions by the known latents, freshly noised to the level of step i (InTeX)."""
    pin = chain.pin_early if i < chain.switch_step else chain.pin_late
    known = add_noise(scheduler, chain.known_latents, chain.blend_noise[i], i)
    return latents * (1 - pin) + known * pin


def denoise_step(
    backbone: Backbone, scheduler: SchedulerMixin, chain: ViewDenoising, latents: Tensor, i: int
) -> Tensor:
    """Latents [B, 4, h, w] at time step i of the scheduler -> at step i + 1.

    Blend, predict, update. Pure for DDIM; UniPC advances its own state.
    """
    t = scheduler.timesteps[i]
    latents = blend(scheduler, chain, latents, i)
    prediction = backbone.predict(
        latents, t, chain.text, chain.control, chain.role, chain.guidance_scale, chain.control_scale
    )
    if is_pure(scheduler):
        return ddim_step(scheduler, prediction, i, latents, chain.eta, chain.variance_noise[i])
    return scheduler.step(prediction, t, latents).prev_sample


Step = Callable[[Backbone, SchedulerMixin, ViewDenoising, Tensor, int], Tensor]


def denoise(
    backbone: Backbone,
    scheduler: SchedulerMixin,
    chain: ViewDenoising,
    latents: Tensor,
    step: Step = denoise_step,
) -> Tensor:
    """Run all steps from pure noise [B, 4, h, w]; `step` has the signature of `denoise_step`.

    The result is not blended once more: pinned regions are as the last step left them, near the known
    latents.
    """
    for i in range(len(scheduler.timesteps)):
        latents = step(backbone, scheduler, chain, latents, i)
    return latents

"""Schedulers and their arithmetic: time steps, signal levels, transitions, what a prediction means."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from diffusers import (
    DDIMScheduler,
    LCMScheduler,
    PNDMScheduler,
    SchedulerMixin,
    UniPCMultistepScheduler,
)
from torch import Tensor

SCHEDULER_CLASSES: dict[str, type[SchedulerMixin]] = {
    "ddim": DDIMScheduler,
    "unipc": UniPCMultistepScheduler,
    "pndm": PNDMScheduler,
    "lcm": LCMScheduler,
}

SIGMA_DATA = 0.5
"""Spread of the data that consistency functions are parametrised for."""


def make_scheduler(
    config: Mapping[str, object], name: str, steps: int, spacing: str = "model", last_signal: str = "model"
) -> SchedulerMixin:
    """A scheduler with `steps` time steps set, from the contents of a model's scheduler file.

    name: "ddim", "unipc", "pndm" (linear multistep without Runge-Kutta steps, as TEXTure uses it; its list
    holds one time step twice and is one longer than `steps`) or "lcm" (of latent consistency models and
    their adapters: few of the time steps of 50, fresh noise after each, no other spacing). All read the
    noise schedule, the prediction type and, for "model", spacing and last signal from the file. spacing:
    "leading", "trailing" or "linspace" as in diffusers; with DDIM "linspace" is that of Euler's schedulers,
    whose time steps between 999 and 0 are not rounded. last_signal: "one" ends chains at alpha-bar 1, i.e.
    at the last estimate of the clean latents, as Euler's and DDPM's schedulers do; for DDIM. UniPC and PNDM
    carry state from step to step: make new ones for every chain. Latents are never clipped, as the
    image-space default of DDIM would do where the file does not mention it.
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
    if name == "lcm":
        if spacing != "model":
            raise ValueError(
                f'The scheduler "lcm" has time steps of its own; leave spacing {spacing!r} at "model".'
            )
        config.setdefault("clip_sample", False)
    scheduler = SCHEDULER_CLASSES[name].from_config(config)
    if name == "lcm" and steps > scheduler.config.original_inference_steps:
        raise ValueError(
            f'The scheduler "lcm" takes at most {scheduler.config.original_inference_steps} denoising steps, '
            f"not {steps}; 4 to 8 are usual."
        )
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
    return isinstance(scheduler, DDIMScheduler | LCMScheduler)


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


def lcm_transition(
    scheduler: LCMScheduler, prediction: Tensor, i: int, latents: Tensor
) -> tuple[Tensor, float]:
    """Mean and standard deviation of the latents at step i + 1 of a latent consistency chain.

    Luo et al. 2023, algorithm 3: the consistency function's clean latents, noised to the level of the next
    step; after the last step they stand alone.
    """
    config = scheduler.config
    original, _ = split_prediction(scheduler, prediction, i, latents)
    scaled, data = float(scheduler.timesteps[i]) * config.timestep_scaling, SIGMA_DATA**2
    share = data / (scaled**2 + data)
    clean = share * latents + (1 - share) ** 0.5 * original
    if i + 1 == len(scheduler.timesteps):
        return clean, 0.0
    alpha = signal_level(scheduler, i + 1)
    return alpha**0.5 * clean, (1 - alpha) ** 0.5


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


def first_step(steps: int, strength: float) -> int:
    """The step at which an image-to-image chain of some strength in (0, 1] begins.

    The last round(steps * strength) of them run, at least one.
    """
    return min(steps - round(steps * strength), steps - 1)

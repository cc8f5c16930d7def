"""The sampler against the library's schedulers and against plain formulas."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from diffusers import LCMScheduler
from reference import tiny_models
from torch.utils.checkpoint import checkpoint

from texgen.diffusion.guidance import Control
from texgen.diffusion.sampler import ViewDenoising, blend, denoise, denoise_step
from texgen.diffusion.schedules import (
    SCHEDULER_CLASSES,
    add_noise,
    ddim_step,
    is_pure,
    lcm_transition,
    make_scheduler,
)
from texgen.painting.presets import Preset
from texgen.render.setting_types import given_types

SD15 = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "set_alpha_to_one": False,
    "prediction_type": "epsilon",
    "timestep_spacing": "leading",
}
ZERO_SNR = {
    **SD15,
    "steps_offset": 0,
    "set_alpha_to_one": True,
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "rescale_betas_zero_snr": True,
}


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_models.load_miniature(tmp_path_factory.mktemp("models"), torch.float64)


def make_chain(backbone, steps=3, batch=1, pin=0.0, **changes):
    image = torch.rand(batch, 6, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    chain = ViewDenoising(
        text=backbone.encode_prompts(["", "a cat"]),
        controls=(Control(tiny_models.ROLE, image),),
        known_latents=normal(batch, 4, 8, 8, seed=2),
        pin_early=torch.full((batch, 1, 8, 8), pin, dtype=torch.float64),
        pin_late=torch.full((batch, 1, 8, 8), pin, dtype=torch.float64),
        switch_step=0,
        blend_noise=normal(steps, batch, 4, 8, 8, seed=3),
        variance_noise=normal(steps, batch, 4, 8, 8, seed=4),
        guidance_scale=3.0,
        eta=1.0,
    )
    return replace(chain, **changes)


def test_published_time_steps():
    # Paper 2506.18331's released settings: ten steps.
    assert make_scheduler(SD15, "ddim", 10).timesteps.tolist() == list(range(901, 0, -100))
    assert make_scheduler(ZERO_SNR, "ddim", 4).timesteps.tolist() == [999, 749, 499, 249]


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize(("config", "steps"), [(SD15, 10), (ZERO_SNR, 8)])
def test_ddim_step_equals_the_library(config, steps, eta):
    scheduler = make_scheduler(config, "ddim", steps)
    noise, weights = normal(1, 4, 8, 8, seed=9), normal(1, 4, 8, 8, seed=8)
    for i, t in enumerate(scheduler.timesteps.tolist()):
        inputs = [normal(1, 4, 8, 8, seed=s).requires_grad_() for s in (10 * i, 10 * i + 1)]
        ours = ddim_step(scheduler, inputs[0], i, inputs[1], eta, noise)
        plain = scheduler.step(inputs[0], t, inputs[1], eta=eta, variance_noise=noise).prev_sample
        if not plain.isfinite().all():
            continue  # the library's own rounding at the first step of zero terminal SNR, tested below
        torch.testing.assert_close(ours, plain, rtol=2e-4, atol=2e-4)
        gradients = [torch.autograd.grad((out * weights).sum(), inputs) for out in (ours, plain)]
        for a, b in zip(*gradients, strict=True):
            torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("steps", [6, 10, 13, 20, 25])
def test_zero_terminal_snr_with_full_noise_stays_finite(steps):
    scheduler = make_scheduler(ZERO_SNR, "ddim", steps)
    latents = normal(1, 4, 8, 8)
    for i in range(steps):
        latents = ddim_step(scheduler, normal(1, 4, 8, 8, seed=i), i, latents, 1.0, normal(1, 4, 8, 8))
        assert bool(latents.isfinite().all())


@pytest.mark.parametrize(("config", "steps"), [(SD15, 10), (ZERO_SNR, 12)])
def test_ddim_step_with_the_true_prediction_follows_the_marginals(config, steps):
    # With the exact noise (or velocity) and eta 0, a noised latent stays on its own path down to the data.
    scheduler = make_scheduler(config, "ddim", steps)
    data, noise = normal(1, 4, 8, 8, seed=1), normal(1, 4, 8, 8, seed=2)
    for i in range(steps - 1):
        latents = add_noise(scheduler, data, noise, i)
        alpha = float(scheduler.alphas_cumprod[scheduler.timesteps[i]])
        velocity = alpha**0.5 * noise - (1 - alpha) ** 0.5 * data
        prediction = noise if config["prediction_type"] == "epsilon" else velocity
        stepped = ddim_step(scheduler, prediction, i, latents, 0.0, noise)
        torch.testing.assert_close(stepped, add_noise(scheduler, data, noise, i + 1))


def test_blending_is_a_mixture_at_the_same_level(backbone):
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", 3)
    early, late = torch.zeros(1, 1, 8, 8).double(), torch.zeros(1, 1, 8, 8).double()
    early[..., :4], late[..., :2] = 1.0, 0.5
    chain = make_chain(backbone, pin_early=early, pin_late=late, switch_step=2)
    latents = normal(1, 4, 8, 8, seed=7)
    for i in range(3):
        pin = early if i < 2 else late
        alpha = float(scheduler.alphas_cumprod[scheduler.timesteps[i]])
        noised = alpha**0.5 * chain.known_latents + (1 - alpha) ** 0.5 * chain.blend_noise[i]
        expected = (1 - pin) * latents + pin * noised
        torch.testing.assert_close(blend(scheduler, chain, latents, i), expected)
    blended = blend(scheduler, chain, latents, 0)
    assert torch.equal(blended[..., 4:], latents[..., 4:])
    noised = add_noise(scheduler, chain.known_latents, chain.blend_noise[0], 0)
    assert torch.equal(blended[..., :4], noised[..., :4])


def test_a_fully_pinned_chain_ends_at_the_known_latents(tmp_path):
    backbone = tiny_models.load_sd15(tmp_path, torch.float64)
    steps = 3
    chain = replace(
        make_chain(backbone, steps, pin=1.0),
        controls=(Control(tiny_models.ROLE, torch.rand(1, 6, 64, 64, dtype=torch.float64)),),
    )
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", steps)
    ends = [denoise(backbone, scheduler, chain, normal(1, 4, 8, 8, seed=seed)) for seed in (1, 2)]
    assert torch.equal(*ends)  # nothing of the start noise is left
    # The last time step is 1, where a noised latent still is the latent but for a few percent.
    assert (ends[0] - chain.known_latents).abs().max() < 0.3
    free = denoise(backbone, scheduler, replace(chain, pin_late=chain.pin_late * 0), normal(1, 4, 8, 8))
    assert (free - chain.known_latents).abs().mean() > 0.5


def test_a_step_is_pure(backbone):
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", 3)
    chain, latents = make_chain(backbone, pin=0.5), normal(1, 4, 8, 8, seed=7)
    before, state = latents.clone(), torch.get_rng_state()
    first = denoise_step(backbone, scheduler, chain, latents, 1)
    denoise_step(backbone, scheduler, chain, first, 2)
    again = denoise_step(backbone, scheduler, chain, latents, 1)
    assert torch.equal(first, again) and torch.equal(latents, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_batched_chains_equal_single_ones(backbone):
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", 2)
    chain, start = make_chain(backbone, 2, batch=2, pin=0.3), normal(2, 4, 8, 8)
    both = denoise(backbone, scheduler, chain, start)
    for k in range(2):
        part = slice(k, k + 1)
        one = replace(
            chain,
            controls=tuple(replace(each, image=each.image[part]) for each in chain.controls),
            known_latents=chain.known_latents[part],
            pin_early=chain.pin_early[part],
            pin_late=chain.pin_late[part],
            blend_noise=chain.blend_noise[:, part],
            variance_noise=chain.variance_noise[:, part],
        )
        torch.testing.assert_close(denoise(backbone, scheduler, one, start[part]), both[part])


def test_checkpointed_steps_give_the_same_gradient(backbone):
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", 2)
    gradients = []
    for rebuilt in (False, True):
        start = normal(1, 4, 8, 8).requires_grad_()
        known = normal(1, 4, 8, 8, seed=2).requires_grad_()
        chain = make_chain(backbone, 2, pin=0.4, known_latents=known)

        def step(*args, rebuilt=rebuilt):
            return checkpoint(denoise_step, *args, use_reentrant=False) if rebuilt else denoise_step(*args)

        end = denoise(backbone, scheduler, chain, start, step)
        gradients.append(torch.autograd.grad(end.square().sum(), (start, known)))
    for plain, again in zip(*gradients, strict=True):
        assert plain.abs().max() > 0
        torch.testing.assert_close(plain, again)


def test_unipc_runs_and_needs_a_fresh_scheduler_per_chain(backbone):
    chain, start = make_chain(backbone, 4, pin=0.2), normal(1, 4, 8, 8)
    with torch.no_grad():
        ends = [
            denoise(backbone, make_scheduler(backbone.scheduler_config, "unipc", 4), chain, start)
            for _ in range(2)
        ]
    assert bool(ends[0].isfinite().all()) and torch.equal(*ends)


def test_unipc_and_ddim_agree_on_the_level_of_the_noise():
    data, noise = normal(1, 4, 8, 8, seed=1), normal(1, 4, 8, 8, seed=2)
    scheduler = make_scheduler(SD15, "unipc", 20)
    t = scheduler.timesteps[5:6]
    torch.testing.assert_close(
        add_noise(scheduler, data, noise, 5), scheduler.add_noise(data, noise, t), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("config", [SD15, ZERO_SNR])
@pytest.mark.parametrize("steps", [1, 4, 7])
def test_a_latent_consistency_chain_equals_the_library(config, steps, monkeypatch):
    """Every step, with the library's own scheduler as the twin, which draws the noise that we hand in."""
    ours, twin = (
        make_scheduler(config, "lcm", steps),
        LCMScheduler.from_config({**config, "clip_sample": False}),
    )
    twin.set_timesteps(steps)
    assert ours.timesteps.tolist() == twin.timesteps.tolist() and is_pure(ours)
    noise = normal(steps, 1, 4, 8, 8, seed=5)
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_lcm.randn_tensor", lambda *_, **__: noise[twin._step_index]
    )
    latents = plain = normal(1, 4, 8, 8, seed=6)
    for i, t in enumerate(twin.timesteps):
        prediction = normal(1, 4, 8, 8, seed=20 + i)
        mean, spread = lcm_transition(ours, prediction, i, latents)
        latents = mean + spread * noise[i]
        plain = twin.step(prediction, t, plain).prev_sample
        torch.testing.assert_close(latents, plain, rtol=2e-4, atol=2e-4)
    assert spread == 0  # the last step adds nothing


def test_a_latent_consistency_chain_paints_and_is_pure(backbone):
    chain, start = make_chain(backbone, 4, pin=0.2), normal(1, 4, 8, 8)
    scheduler = make_scheduler(backbone.scheduler_config, "lcm", 4)
    with torch.no_grad():
        first, again = (denoise(backbone, scheduler, chain, start) for _ in range(2))
        other = denoise(backbone, scheduler, replace(chain, variance_noise=-chain.variance_noise), start)
    assert bool(first.isfinite().all()) and torch.equal(first, again) and not torch.equal(first, other)


def test_presets_name_exactly_the_schedulers_that_exist():
    assert set(get_args(given_types(Preset)["scheduler"].__origin__)) == set(SCHEDULER_CLASSES)


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="no scheduler 'euler'"):
        make_scheduler(SD15, "euler", 4)
    with pytest.raises(ValueError, match="at least 1"):
        make_scheduler(SD15, "ddim", 0)
    with pytest.raises(ValueError, match="zero terminal signal"):
        make_scheduler({**ZERO_SNR, "prediction_type": "epsilon"}, "ddim", 4)
    with pytest.raises(ValueError, match="leave spacing 'trailing' at \"model\""):
        make_scheduler(SD15, "lcm", 4, spacing="trailing")
    with pytest.raises(ValueError, match="at most 50 denoising steps, not 60"):
        make_scheduler(SD15, "lcm", 60)
    assert make_scheduler(SD15, "ddim", 4).config.clip_sample is False

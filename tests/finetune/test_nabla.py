"""Residual gradient detailed balance: a toy whose answer is known, and the painter's flows by plain means."""

import pytest
import torch
from reference.tiny_painter import ITEMS, PRESET, redness, tiny_painter

from texgen.diffusion.schedules import ddim_transition, signal_level, split_prediction
from texgen.finetune.algorithms import Sample
from texgen.finetune.differentiation import Recording
from texgen.finetune.nabla import Nabla, chosen_steps, residual_balance_loss
from texgen.finetune.settings import TrainSettings
from texgen.finetune.trainer import Trainer, TrainingError
from texgen.painting.pipeline import TexGen


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    return tiny_painter(tmp_path_factory.mktemp("models"), torch.float64)


def test_the_toy_learns_the_tilted_posterior():
    """x1 -> x0 with reference N(x1 / 2, 0.6^2) and reward -(x0 - 1.5)^2 / 2 at beta 2.

    The posterior's mean is linear in x1, with slope and intercept from the precisions 1 / 0.36 + 2.
    """
    spread, beta = 0.6, 2.0
    precision = 1 / spread**2 + beta
    slope, intercept = 0.5 / spread**2 / precision, beta * 1.5 / precision
    assert (slope, intercept) == (pytest.approx(0.2907, abs=1e-4), pytest.approx(0.6279, abs=1e-4))
    weights = torch.tensor([0.5, 0.0], dtype=torch.float64, requires_grad=True)
    random = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam([weights], lr=0.02)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.993)
    for _ in range(700):
        x1, noise = torch.randn(2, 256, generator=random, dtype=torch.float64)
        mean = weights[0] * x1 + weights[1]
        x0 = (mean + spread * noise).detach().requires_grad_()
        (gradient,) = torch.autograd.grad((-0.5 * (x0 - 1.5) ** 2).sum(), x0)
        loss = residual_balance_loss(mean, 0.5 * x1, spread, beta * gradient)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    assert weights.tolist() == pytest.approx([slope, intercept], abs=0.01)


def recorded(painter, sample, algorithm):
    recording = Recording(algorithm.evaluations)
    with torch.no_grad():
        sample.paint(painter, recording)
    return recording.views


class Handed:
    """Plain autograd through a painting whose latents are handed in."""

    def __init__(self, latents):
        self.latents = latents

    def frozen(self):
        return False

    def view(self, run, inputs, parameters, fixed_geometry):
        return run(*inputs)

    def denoise(self, backbone, scheduler, chain, latents, step, index):
        return self.latents[index]


def test_flows_are_the_gradient_of_the_reward_of_all_views_clean_latents(painter):
    sample, algorithm, i = Sample(ITEMS[0], 3), Nabla(redness, beta=7.0), 0
    views = recorded(painter, sample, algorithm)
    flows = algorithm.flows(painter, sample, views, i)
    backbone = painter.backbone
    ends = {index: record.latents[i + 1].detach().requires_grad_() for index, record in views.items()}
    guesses = {}
    for index, record in views.items():
        chain, scheduler = record.chain, record.scheduler
        known = signal_level(scheduler, i + 1) ** 0.5 * chain.known_latents
        known = known + (1 - signal_level(scheduler, i + 1)) ** 0.5 * chain.blend_noise[i + 1]
        seen = ends[index] * (1 - chain.pin_late) + known * chain.pin_late
        output = backbone.predict(
            seen, scheduler.timesteps[i + 1], chain.text, chain.controls, chain.guidance_scale
        )
        guesses[index] = split_prediction(scheduler, output, i + 1, seen)[0]
    texture, painted = sample.paint(painter, Handed(guesses))
    gradients = torch.autograd.grad(redness(texture, painted, ITEMS[0]), list(ends.values()))
    alpha = signal_level(views[0].scheduler, i + 1)
    for (_, flow), gradient in zip(flows.items(), gradients, strict=True):
        assert flow.abs().max() > 0
        torch.testing.assert_close(flow, 7.0 * alpha * gradient, rtol=1e-8, atol=1e-14)


def test_its_gradient_is_that_of_the_written_out_loss(painter):
    sample, algorithm = Sample(ITEMS[0], 3, share=0.5), Nabla(redness, beta=3.0, transitions=1)
    parameters = painter.backbone.lora_parameters()
    views = recorded(painter, sample, algorithm)
    (i,) = chosen_steps(views[0], 1, 3)
    flows = algorithm.flows(painter, sample, views, i)
    losses = []
    for index, record in views.items():
        means = []
        for tuned in (True, False):
            chain, scheduler = record.chain, record.scheduler
            alpha = signal_level(scheduler, i)
            known = alpha**0.5 * chain.known_latents + (1 - alpha) ** 0.5 * chain.blend_noise[i]
            pin = chain.pin_early if i < chain.switch_step else chain.pin_late
            seen = record.latents[i] * (1 - pin) + known * pin
            arguments = (chain.text, chain.controls, chain.guidance_scale)
            if tuned:
                output = painter.backbone.predict(seen, scheduler.timesteps[i], *arguments)
            else:
                with painter.backbone.lora_disabled(), torch.no_grad():
                    output = painter.backbone.predict(seen, scheduler.timesteps[i], *arguments)
            mean, spread = ddim_transition(scheduler, output, i, seen, chain.eta)
            means.append(mean)
        score = -(record.latents[i + 1] - means[0]) / spread**2
        reference = -(record.latents[i + 1] - means[1]) / spread**2
        losses.append((score - reference - flows[index]).square().mean())
    expected = torch.autograd.grad(torch.stack(losses).mean() * 0.5, parameters)
    for parameter in parameters:
        parameter.grad = None
    outcome = algorithm.accumulate(painter, sample)
    assert outcome.loss == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-8)
    assert outcome.details["tilt"] > 0
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-12)


def test_the_last_noisy_transition_is_always_trained(painter):
    sample, algorithm = Sample(ITEMS[0], 3), Nabla(redness)
    record = recorded(painter, sample, algorithm)[0]
    assert len(record.scheduler.timesteps) == 3  # the last of the three steps ends clean: two have noise
    assert chosen_steps(record, 1, 0) == [1]
    assert chosen_steps(record, 5, 0) == [0, 1]


def test_settings_are_checked(painter):
    with pytest.raises(ValueError, match="beta must be positive"):
        Nabla(redness, beta=0.0)
    still = TexGen(painter.backbone, PRESET.replace(eta=0.0))
    with pytest.raises(TrainingError, match="eta is 0"):
        Trainer(still, Nabla(redness), ITEMS, TrainSettings())

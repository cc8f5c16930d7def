"""D3PO: ties, clipping, the direction of its gradient, and its gradient through the painter."""

import math

import pytest
import torch
from reference.tiny_painter import ITEMS, redness, tiny_painter

from texgen.diffusion.sampler import transition
from texgen.finetune.algorithms import Sample
from texgen.finetune.d3po import D3PO, log_ratio, preference, preference_loss
from texgen.finetune.differentiation import Recording
from texgen.finetune.nabla import chosen_steps


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    return tiny_painter(tmp_path_factory.mktemp("models"), torch.float64)


def test_preferences_and_ties():
    assert (preference(2.0, 1.0), preference(1.0, 2.0), preference(1.0, 1.0)) == (1, -1, 0)
    assert preference(1.0, 1.05, margin=0.1) == 0 and preference(1.0, 1.2, margin=0.1) == -1


def test_log_ratio_is_that_of_the_densities():
    random = torch.Generator().manual_seed(0)
    mean, reference, drawn = torch.randn(3, 5, generator=random, dtype=torch.float64)
    normal = torch.distributions.Normal
    expected = (normal(mean, 0.7).log_prob(drawn) - normal(reference, 0.7).log_prob(drawn)).mean()
    torch.testing.assert_close(log_ratio(mean, reference, 0.7, drawn), expected)


def scalar(value):
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def test_the_loss_pulls_towards_the_better_sample():
    a, b = scalar(0.02), scalar(-0.01)
    loss = preference_loss(a, b, 1, beta=0.5, clip=0.1)
    assert float(loss.detach()) == pytest.approx(-math.log(1 / (1 + math.exp(-0.5 * 0.03))))
    loss.backward()
    assert a.grad < 0 < b.grad
    a, b = scalar(0.02), scalar(-0.01)
    preference_loss(a, b, -1, beta=0.5, clip=0.1).backward()
    assert b.grad < 0 < a.grad


def test_a_tie_has_no_gradient():
    a, b = scalar(0.02), scalar(-0.01)
    loss = preference_loss(a, b, 0, beta=0.5, clip=0.1)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(2)) and a.grad == 0 and b.grad == 0


def test_a_clipped_ratio_has_no_gradient():
    a, b = scalar(math.log(1.3)), scalar(0.0)
    loss = preference_loss(a, b, 1, beta=1.0, clip=0.1)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(math.log(1 + math.exp(-math.log(1.1))))
    assert a.grad == 0 and b.grad > 0


def test_its_gradient_is_that_of_the_written_out_loss(painter):
    sample, algorithm = Sample(ITEMS[0], 3, share=0.5), D3PO(redness, beta=2.0, clip=0.9, transitions=2)
    backbone, parameters = painter.backbone, painter.backbone.lora_parameters()
    branches, rewards = [], []
    for name in ("a", "b"):
        recording = Recording(algorithm.evaluations, (3, name))
        with torch.no_grad():
            rewards.append(float(redness(*sample.paint(painter, recording), ITEMS[0])))
        branches.append(recording.views)
    sign = 1 if rewards[0] > rewards[1] else -1
    losses = []
    for i in chosen_steps(branches[0][0], 2, 3):
        for index in branches[0]:
            logs = []
            for views in branches:
                record = views[index]
                arguments = (backbone, record.scheduler, record.chain, record.latents[i], i)
                mean, spread = transition(*arguments)
                with torch.no_grad(), backbone.lora_disabled():
                    reference, _ = transition(*arguments)
                tuned, fixed = (torch.distributions.Normal(m, spread) for m in (mean, reference))
                drawn = record.latents[i + 1]
                logs.append((tuned.log_prob(drawn) - fixed.log_prob(drawn)).mean())
            ratios = [value.exp().clamp(0.1, 1.9).log() for value in logs]
            losses.append(-torch.log(torch.sigmoid(2.0 * sign * (ratios[0] - ratios[1]))))
    expected = torch.autograd.grad(torch.stack(losses).mean() * 0.5, parameters)
    for parameter in parameters:
        parameter.grad = None
    outcome = algorithm.accumulate(painter, sample)
    assert outcome.loss == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-8)
    assert outcome.reward == pytest.approx(sum(rewards) / 2) and outcome.details == {"tie": 0.0}
    assert sum(float(gradient.abs().max()) for gradient in expected) > 0
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-12)


def test_a_tied_pair_trains_nothing(painter):
    algorithm = D3PO(lambda texture, painted, item: torch.tensor(1.0))
    parameters = painter.backbone.lora_parameters()
    for parameter in parameters:
        parameter.grad = None
    outcome = algorithm.accumulate(painter, Sample(ITEMS[0], 3))
    assert outcome.details == {"tie": 1.0} and all(parameter.grad is None for parameter in parameters)


def test_settings_are_checked():
    with pytest.raises(ValueError, match="clip between 0 and 1"):
        D3PO(redness, clip=1.0)

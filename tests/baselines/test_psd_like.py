"""psd-like: both directions against plain formulas, the bound of the embedding, and that scores decide."""

import pytest
import torch

from baselines.psd_like import Negative, compose, dreamdpo_direction, psd_like, psd_like_direction

SMALL = {"image_size": 64, "render_size": 64, "texture_size": 32, "levels": 3, "rig": "tilted_2view"}


def pair(seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 4, 3, 3, generator=random) for _ in range(3)]


@pytest.mark.parametrize("winner", [0, 1])
def test_dreamdpo_takes_the_winner_and_leaves_the_loser(winner):
    guided, conditional, noise = pair()
    scores = torch.tensor([0.3, 0.1] if winner == 0 else [0.1, 0.3])
    loser = 1 - winner
    expected = (guided[winner] - noise[winner]) - (conditional[loser] - noise[loser])
    assert torch.equal(dreamdpo_direction(guided, conditional, noise, scores)[0], expected)
    alone = dreamdpo_direction(guided, conditional, noise, scores, threshold=0.5)[0]
    assert torch.equal(alone, guided[winner] - noise[winner])


def test_the_reconstruction_weighs_the_pair_by_doubt():
    guided, conditional, noise = pair()
    for gap in (0.0, 0.2, 9.0):
        omega = 2.0 * (1 - 1 / (1 + 2.718281828459045 ** (-gap / 0.1)))
        direction = psd_like_direction(guided, conditional, noise, torch.tensor([gap, 0.0]), 2.0, 0.1)[0]
        expected = guided[0] - noise[0] + omega * (conditional[0] - noise[0] - conditional[1] + noise[1])
        torch.testing.assert_close(direction, expected)


def test_the_negative_embedding_stays_within_its_bound():
    negative = Negative(torch.zeros(1, 7, 16))
    random = torch.Generator().manual_seed(0)
    gradient = torch.randn(1, 7, 16, generator=random)
    negative.step(gradient, 0.01, 0.1)
    assert float((negative.offset * gradient).sum()) < 0  # downhill
    assert float(negative.offset.pow(2).mean().sqrt()) == pytest.approx(0.01, rel=1e-4)
    for _ in range(50):
        negative.step(gradient, 0.01, 0.1)
    assert float(negative.offset.pow(2).mean().sqrt()) == pytest.approx(0.1, rel=1e-4)


def test_an_empty_pyramid_is_grey():
    assert torch.equal(
        compose([torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 4, 4)]), torch.full((3, 8, 8), 0.5)
    )


def brightness(images, prompts):
    assert len(images) == len(prompts) == 2
    return images.mean((1, 2, 3))


@pytest.mark.parametrize("objective", ["psd-like", "dreamdpo"])
def test_optimises_counts_and_repeats(full_backbone, ball, objective):
    method = psd_like(full_backbone, brightness, **SMALL, steps=4, objective=objective, negative_every=2)
    result = method(ball, "a cat", 0)
    tuned = 2 if objective == "psd-like" else 0
    # Two noises with text and two without; two more where the embedding is tuned.
    assert result.calls == {"unet": 4 * 4 + 2 * tuned, "controlnet": 4 * 4 + 2 * tuned}
    assert bool(result.texture.isfinite().all()) and float((result.texture - 0.5).abs().max()) > 0.01
    assert torch.equal(method(ball, "a cat", 0).texture, result.texture)
    other = psd_like(full_backbone, lambda i, p: -brightness(i, p), **SMALL, steps=4, objective=objective)
    assert not torch.equal(other(ball, "a cat", 0).texture, result.texture)


def test_the_learning_rate_falls_linearly_to_a_share_of_the_first(full_backbone, ball, monkeypatch):
    rates, step = [], torch.optim.Adam.step

    def noted(self, *arguments):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    for share in (1.0, 0.25):
        falling = psd_like(full_backbone, brightness, **SMALL, steps=4, learning_rate=0.08, last_rate=share)
        falling(ball, "a cat", 0)
    assert rates == pytest.approx([0.08] * 4 + [0.08, 0.06, 0.04, 0.02])


def test_unknown_fields_and_objectives_are_named(full_backbone):
    with pytest.raises(ValueError, match="no field 'rounds'"):
        psd_like(full_backbone, brightness, rounds=3)
    with pytest.raises(ValueError, match="'psd-like' or 'dreamdpo'"):
        psd_like(full_backbone, brightness, objective="psd")

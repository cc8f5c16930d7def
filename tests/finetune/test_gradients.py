"""Gradient strategies against plain autograd of what they claim to differentiate.

Two views of a tetrahedron, painted by a tiny random model in float64 with all the real parts: rendering,
trimap, conditioning, denoising, decoding, projection, filling.
"""

import dataclasses
import functools

import pytest
import torch
from reference.tiny_painter import PRESET, tetrahedron, tiny_painter

from texgen.diffusion.schedules import signal_level
from texgen.finetune.differentiation import Recording
from texgen.finetune.gradients import Exact, LastK, LowVariance, RandomK, make_strategy
from texgen.painting.chains import draw
from texgen.painting.scene import Viewpoints
from texgen.painting.views import Derivative
from texgen.render.cameras import Cameras

STEPS = PRESET.steps
SEED = 5
TOLERANCE = 1e-9  # relative; the requirement is 1e-6


MESH = tetrahedron().to(dtype=torch.float64)


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    return tiny_painter(tmp_path_factory.mktemp("models"), torch.float64)


def objective(texture):
    """Some smooth number of a texture whose gradient is nowhere zero."""
    weights = torch.linspace(-1, 1, texture.numel(), dtype=texture.dtype).view_as(texture)
    return (texture.sin() * weights).sum() + texture.square().mean()


def paint(method, gradient, detach=True, cameras=None):
    derivative = Derivative(gradient, soft=True, detach_conditioning=detach)
    return method.paint(MESH, "a red cow", SEED, derivative, Viewpoints(cameras))


def by_strategy(method, strategy, detach=True):
    paintings = strategy.paintings(lambda gradient: paint(method, gradient, detach), SEED)
    values = torch.stack([objective(texture) for texture, _ in paintings])
    return values.detach(), torch.autograd.grad(values.mean(), method.backbone.lora_parameters())


class Plain:
    """Every graph kept; what a view's chain does before step `first` is a constant."""

    def __init__(self, first=0, start=None):
        self.first, self.start, self.finals = first, start, []

    def frozen(self):
        return False

    def view(self, run, inputs, parameters, fixed_geometry):
        return run(*inputs)

    def denoise(self, backbone, scheduler, chain, latents, step, index):
        for i in range(STEPS):
            if i == self.first:
                latents = latents.detach()
                if self.start is not None:
                    latents = self.start[len(self.finals)]
            latents = step(backbone, scheduler, chain, latents, i)
        self.finals.append(latents.detach())
        self.scheduler = scheduler
        return latents


@pytest.fixture(scope="module")
def by_autograd(method):
    @functools.cache
    def plain(first=0, detach=True):
        value = objective(paint(method, Plain(first), detach)[0])
        return value.detach(), torch.autograd.grad(value, method.backbone.lora_parameters())

    return plain


def norm(tensors):
    return torch.stack([tensor.norm() for tensor in tensors]).norm()


def assert_same(ours, plain):
    torch.testing.assert_close(ours[0].mean(), plain[0].mean(), rtol=1e-12, atol=0)
    difference = [a - b for a, b in zip(ours[1], plain[1], strict=True)]
    assert norm(plain[1]) > 0 and norm(difference) / norm(plain[1]) < TOLERANCE


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("replay", [True, False])
def test_exact_is_the_gradient_through_everything(method, by_autograd, replay, detach):
    assert_same(by_strategy(method, Exact(replay), detach), by_autograd(detach=detach))


def test_the_path_through_the_conditioning_is_a_part_of_the_gradient(by_autograd):
    whole, cut = by_autograd(detach=False)[1], by_autograd(detach=True)[1]
    assert norm([a - b for a, b in zip(whole, cut, strict=True)]) > 1e-6 * norm(whole)


@pytest.mark.parametrize("replay", [True, False])
@pytest.mark.parametrize("k", [1, 2])
def test_last_k_is_the_gradient_of_the_truncated_chains(method, by_autograd, k, replay):
    ours = by_strategy(method, LastK(k, replay), detach=False)
    assert_same(ours, by_autograd(STEPS - k, detach=False))
    whole = by_autograd(detach=False)[1]
    assert norm([a - b for a, b in zip(ours[1], whole, strict=True)]) > 1e-6 * norm(whole)


def test_last_k_with_all_steps_is_exact(method, by_autograd):
    assert_same(by_strategy(method, LastK(STEPS)), by_autograd())
    assert_same(by_strategy(method, LastK(STEPS + 3)), by_autograd())


def test_random_k_is_last_k_with_the_drawn_k(method, by_autograd):
    strategy = RandomK(STEPS)
    assert_same(by_strategy(method, strategy), by_autograd(STEPS - strategy.drawn(SEED)))
    drawn = [strategy.drawn(seed) for seed in range(60)]
    assert set(drawn) == {1, 2, 3} and min(drawn.count(k) for k in (1, 2, 3)) > 10


@pytest.mark.parametrize("replay", [True, False])
def test_low_variance_is_the_mean_gradient_of_renoised_last_steps(method, replay):
    ours = by_strategy(method, LowVariance(2, replay), detach=False)
    first = Plain()
    with torch.no_grad():
        paint(method, first, detach=False)
    alpha = signal_level(first.scheduler, STEPS - 1)
    values = []
    for copy in (0, 1):
        starts = [
            alpha**0.5 * final + (1 - alpha) ** 0.5 * draw(final.shape, final, SEED, "copy", copy, index)
            for index, final in enumerate(first.finals)
        ]
        values.append(objective(paint(method, Plain(STEPS - 1, starts), detach=False)[0]))
    values = torch.stack(values)
    torch.testing.assert_close(ours[0], values.detach(), rtol=1e-12, atol=0)
    assert values[0] != values[1]
    assert_same(ours, (values, torch.autograd.grad(values.mean(), method.backbone.lora_parameters())))


@pytest.mark.parametrize("replay", [True, False])
def test_exact_reaches_the_cameras(method, replay):
    results = []
    for strategy in (None, Exact(replay)):
        azimuth = torch.tensor([20.0, 70.0], dtype=torch.float64, requires_grad=True)
        elevation = torch.tensor([0.0, 10.0], dtype=torch.float64, requires_grad=True)
        cameras = Cameras.orbit(azimuth, elevation, dtype=torch.float64)
        if strategy is None:
            texture, _ = paint(method, None, False, cameras)
        else:
            ((texture, _),) = strategy.paintings(lambda g, c=cameras: paint(method, g, False, c), SEED)
        value = objective(texture)
        sources = [azimuth, elevation, *method.backbone.lora_parameters()]
        results.append((value.detach(), torch.autograd.grad(value, sources)))
    assert all(bool((part != 0).all()) for part in results[0][1][:2])
    for part in (slice(0, 1), slice(1, 2), slice(2, None)):
        assert_same((results[1][0], results[1][1][part]), (results[0][0], results[0][1][part]))


@pytest.mark.parametrize(
    ("strategy", "forward", "recompute", "backward"),
    [
        (Exact(), 2 * STEPS, 2 * STEPS, 2 * STEPS),
        (Exact(replay=False), 2 * STEPS, 0, 2 * STEPS),
        (LastK(1), 2 * STEPS, 2, 2),
        (LastK(1, replay=False), 2 * STEPS, 0, 2),
        (LowVariance(3), 2 * STEPS + 6, 6, 6),
    ],
)
def test_evaluations_are_counted_apart(method, strategy, forward, recompute, backward):
    method.backbone.calls.reset()
    by_strategy(method, strategy)
    counts = strategy.evaluations.as_dict()
    assert counts == {"forward": forward, "recompute": recompute, "backward": backward}
    assert method.backbone.calls.as_dict() == {"unet": forward, "controlnet": forward}
    strategy.evaluations.reset()
    assert strategy.evaluations.total == 0


def kept_bytes(method, strategy):
    """Bytes that painting keeps for the backward pass, weights and geometry left out."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    backbone = method.backbone
    modules = [backbone.unet, backbone.vae, *backbone.controlnets.values()]
    weights = {p.untyped_storage().data_ptr() for module in modules for p in module.parameters()}
    for view in method._scene(MESH).views:
        for part in (view.buffer, view.visibility):
            weights |= {
                getattr(part, entry.name).untyped_storage().data_ptr() for entry in dataclasses.fields(part)
            }
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        paintings = list(strategy.paintings(lambda gradient: paint(method, gradient), SEED))
    assert len(paintings) == 1
    return sum(size for place, size in kept.items() if place not in weights)


def test_replay_keeps_states_and_latents_only(method):
    plain = kept_bytes(method, Exact(replay=False))
    replayed = kept_bytes(method, Exact())
    assert replayed < plain / 20
    assert kept_bytes(method, LastK(1)) < replayed * 1.01


def test_without_gradient_nothing_is_recorded(method):
    expected, _ = paint(method, None)
    with torch.no_grad():
        for strategy in (Exact(), LastK(1)):
            ((texture, _),) = strategy.paintings(lambda gradient: paint(method, gradient), SEED)
            assert not texture.requires_grad
            torch.testing.assert_close(texture, expected.detach())


def test_a_recording_holds_the_chain_of_every_view(method):
    with torch.no_grad():
        first = Recording(Exact().evaluations)
        texture, _ = paint(method, first)
        other = Recording(Exact().evaluations, noise=("other",))
        changed, _ = paint(method, other)
    torch.testing.assert_close(texture, paint(method, None)[0].detach())
    assert sorted(first.views) == [0, 1] and len(first.views[0].latents) == STEPS + 1
    assert torch.equal(first.views[0].latents[0], other.views[0].latents[0])
    assert not torch.equal(first.views[0].latents[1], other.views[0].latents[1])
    assert not torch.equal(texture, changed)


def test_strategies_by_name():
    assert make_strategy("exact") == Exact()
    assert make_strategy("last_k", 2, replay=False) == LastK(2, False)
    assert make_strategy("random_k", 2) == RandomK(2)
    assert make_strategy("low_variance", copies=4) == LowVariance(4)
    names = [strategy.name for strategy in (Exact(), LastK(3), RandomK(2), LowVariance(4))]
    assert names == ["exact", "last_3", "random_2", "low_variance_4"]
    with pytest.raises(ValueError, match="exact, last_k, random_k, low_variance"):
        make_strategy("all")
    for bad in (LastK, RandomK, LowVariance):
        with pytest.raises(ValueError, match="got 0"):
            bad(0)

"""Gradient strategies against plain autograd through a real (tiny, random, float64) denoising chain."""

import functools

import pytest
import torch
from reference.tiny_models import load_miniature

from texgen.finetune.gradients import Exact, LastK, make_strategy
from texgen.sampler import ViewDenoising, denoise, denoise_step, make_scheduler

STEPS = 3


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    backbone = load_miniature(tmp_path_factory.mktemp("models"), torch.float64)
    backbone.add_lora(rank=2)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.normal_(std=0.3, generator=random)
    return backbone


def setting(backbone):
    random = torch.Generator().manual_seed(1)

    def noise(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    chain = ViewDenoising(
        text=backbone.encode_prompts(["", "a red cow"]),
        control=torch.rand(1, 6, 32, 32, generator=random, dtype=torch.float64),
        role="depth_inpaint",
        known_latents=noise(1, 4, 8, 8),
        pin_early=(noise(1, 1, 8, 8) > 0.5).double(),
        pin_late=(noise(1, 1, 8, 8) > 0.5).double(),
        switch_step=1,
        blend_noise=noise(STEPS, 1, 4, 8, 8),
        variance_noise=noise(STEPS, 1, 4, 8, 8),
        guidance_scale=3.0,
        eta=1.0,
    )
    return make_scheduler(backbone.scheduler_config, "ddim", STEPS), chain, noise(1, 4, 8, 8)


def objective(images):
    """Some smooth number of an image whose gradient is nowhere zero."""
    return (images.sin() * torch.linspace(-1, 1, images.numel(), dtype=images.dtype).view_as(images)).sum()


def by_strategy(backbone, strategy):
    scheduler, chain, start = setting(backbone)

    def step(backbone, scheduler, chain, latents, i):
        return strategy.wrap(denoise_step, i, STEPS)(backbone, scheduler, chain, latents, i)

    latents = denoise(backbone, scheduler, chain, start, step=step)
    value = objective(strategy.checkpoint(backbone.decode_latents, latents))
    return value.detach(), torch.autograd.grad(value, backbone.lora_parameters())


@pytest.fixture(scope="module")
def by_autograd(backbone):
    return functools.cache(functools.partial(plain_chain, backbone))


def plain_chain(backbone, first=0):
    """The plain chain; what happens before step `first` is made a constant by hand."""
    scheduler, chain, latents = setting(backbone)
    for i in range(STEPS):
        if i == first:
            latents = latents.detach()
        latents = denoise_step(backbone, scheduler, chain, latents, i)
    value = objective(backbone.decode_latents(latents))
    return value.detach(), torch.autograd.grad(value, backbone.lora_parameters())


def assert_same(ours, plain, tolerance=1e-9):
    torch.testing.assert_close(ours[0], plain[0], rtol=1e-12, atol=0)
    difference = sum((a - b).square().sum() for a, b in zip(ours[1], plain[1], strict=True)).sqrt()
    size = sum(b.square().sum() for b in plain[1]).sqrt()
    assert size > 0 and difference / size < tolerance


@pytest.mark.parametrize("checkpointed", [True, False])
def test_exact_is_the_gradient_through_the_whole_chain(backbone, by_autograd, checkpointed):
    assert_same(by_strategy(backbone, Exact(checkpointed)), by_autograd())


@pytest.mark.parametrize("checkpointed", [True, False])
@pytest.mark.parametrize("k", [1, 2])
def test_last_k_is_the_gradient_of_the_truncated_chain(backbone, by_autograd, k, checkpointed):
    ours = by_strategy(backbone, LastK(k, checkpointed))
    assert_same(ours, by_autograd(STEPS - k))
    whole = by_autograd()
    distance = sum((a - b).abs().sum() for a, b in zip(ours[1], whole[1], strict=True))
    assert distance > 1e-6  # truncation is not a no-op here


def test_last_k_with_all_steps_is_exact(backbone, by_autograd):
    assert_same(by_strategy(backbone, LastK(STEPS)), by_autograd())
    assert_same(by_strategy(backbone, LastK(STEPS + 3)), by_autograd())


@pytest.mark.parametrize(
    ("strategy", "forward", "recompute", "backward"),
    [
        (Exact(), STEPS, STEPS, STEPS),
        (Exact(checkpointed=False), STEPS, 0, STEPS),
        (LastK(1), STEPS, 0, 1),
        (LastK(2, checkpointed=True), STEPS, 2, 2),
    ],
)
def test_evaluations_are_counted_apart(backbone, strategy, forward, recompute, backward):
    backbone.calls.reset()
    by_strategy(backbone, strategy)
    counts = strategy.evaluations.as_dict()
    assert counts == {"forward": forward, "recompute": recompute, "backward": backward}
    assert backbone.calls.as_dict() == {"unet": forward, "controlnet": forward}
    strategy.evaluations.reset()
    assert sum(strategy.evaluations.as_dict().values()) == 0


def kept_bytes(backbone, strategy):
    """Bytes that the forward pass keeps for the backward pass."""
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = {p.untyped_storage().data_ptr() for p in backbone.unet.parameters()}
    weights |= {p.untyped_storage().data_ptr() for p in backbone.vae.parameters()}
    weights |= {p.untyped_storage().data_ptr() for p in backbone.controlnets["depth_inpaint"].parameters()}
    scheduler, chain, latents = setting(backbone)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        for i in range(STEPS):
            latents = strategy.wrap(denoise_step, i, STEPS)(backbone, scheduler, chain, latents, i)
    return sum(size for place, size in kept.items() if place not in weights)


def test_checkpointed_steps_keep_only_their_inputs(backbone):
    plain = kept_bytes(backbone, Exact(checkpointed=False))
    checkpointed = kept_bytes(backbone, Exact())
    last = kept_bytes(backbone, LastK(1))
    assert checkpointed < plain / 20
    assert last < plain / 2


def test_without_gradient_nothing_is_recorded(backbone):
    for strategy in (Exact(), LastK(1)):
        scheduler, chain, start = setting(backbone)
        with torch.no_grad():
            latents = strategy.wrap(denoise_step, 0, STEPS)(backbone, scheduler, chain, start, 0)
            image = strategy.checkpoint(backbone.decode_latents, latents)
        assert not latents.requires_grad and not image.requires_grad
        torch.testing.assert_close(latents, denoise_step(backbone, scheduler, chain, start, 0))


def test_strategies_by_name():
    assert make_strategy("exact") == Exact()
    assert make_strategy("last_k", 2, True) == LastK(2, True)
    assert (Exact().name, LastK(3).name) == ("exact", "last_3")
    with pytest.raises(ValueError, match="'exact' or 'last_k'"):
        make_strategy("all")
    with pytest.raises(ValueError, match="k >= 1"):
        LastK(0)

"""The methods at their full schedules, really run on small pictures; every evaluation is noted.

The networks answer at once, with zeros, so that all of the 510, 980, 220, 60 + 35 and 300 evaluations happen
in seconds: what is checked is who is asked, when, how often and with what, not what comes out.
"""

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import baselines.syncmvd
from baselines.intex import intex
from baselines.paint3d import paint3d
from baselines.syncmvd import SyncMVD, syncmvd
from baselines.text2tex import text2tex
from baselines.text2tex_views import Classes
from baselines.texture import texture
from texgen.diffusion.view_attention import ViewAttention
from texgen.painting import repaint as repainting
from texgen.painting import views as painting
from texgen.painting.state import TextureState

SMALL = {"image_size": 64, "render_size": 64, "texture_size": 32}


@dataclass
class Asked:
    """One evaluation. who: the first ControlNet's role, or "unet" for the inpainting UNet; scale: that
    ControlNet's strength; also: the further ones. attention: across views, in every self-attention layer;
    reference: whether it also sees the front view."""

    who: str
    t: int
    shape: torch.Size
    guidance: float
    scale: float | None
    also: tuple[tuple[str, float], ...]
    attention: ViewAttention | None
    reference: bool


@pytest.fixture
def asked(full_backbone, monkeypatch):
    """Every evaluation of the shared backbone from now on, in order; its networks answer zeros."""
    noted: list[Asked] = []
    backbone = full_backbone

    def predict(latents, t, text, controls, guidance_scale, inpainting=None) -> Tensor:
        own = [p for name, p in backbone.unet.attn_processors.items() if ".attn1." in name]
        attention = own[0] if all(isinstance(p, ViewAttention) for p in own) else None
        reference = attention is not None and attention.with_reference
        (role, scale), *others = [(each.role, each.scale) for each in controls] or [(None, None)]
        who = "unet" if inpainting is not None else role
        one = Asked(who, int(t), latents.shape, guidance_scale, scale, tuple(others), attention, reference)
        noted.append(one)
        backbone.calls.unet += len(latents)
        backbone.calls.controlnet += len(latents) * len(controls)
        return torch.zeros_like(latents)

    def encode_images(images, generator=None) -> Tensor:
        small = F.avg_pool2d(images, backbone.latent_scale)
        return torch.cat([small, small[:, :1]], dim=1)

    def decode_latents(latents) -> Tensor:
        return F.interpolate(latents[:, :3], scale_factor=backbone.latent_scale)

    monkeypatch.setattr(backbone, "predict", predict)
    monkeypatch.setattr(backbone, "encode_images", encode_images)
    monkeypatch.setattr(backbone, "decode_latents", decode_latents)
    return noted


def in_passes(asked: list[Asked]) -> list[list[Asked]]:
    """Evaluations grouped: a new pass begins where the time rises."""
    groups: list[list[Asked]] = []
    for one in asked:
        if not groups or one.t > groups[-1][-1].t:
            groups.append([])
        groups[-1].append(one)
    return groups


def test_texture_asks_510_times_and_the_inpainting_unet_in_iterations_11_to_19(full_backbone, ball, asked):
    result = texture(full_backbone, **SMALL, adam_steps=1)(ball, "a cat", 0)
    assert result.calls == {"unet": 510, "controlnet": 510 - 9 * 9}
    views = in_passes(asked)
    assert [len(view) for view in views] == [51] * 10
    assert {one.who for one in views[0]} == {"depth"}
    for view in views[1:]:
        assert [i for i, one in enumerate(view) if one.who == "unet"] == list(range(11, 20))
    assert {one.guidance for one in asked} == {7.5} and {one.also for one in asked} == {()}


def test_text2tex_asks_980_times_at_most_and_50_for_the_atlas(full_backbone, ball, asked):
    method = text2tex(full_backbone, **SMALL, candidate_size=32, atlas_size=64)
    result = method(ball, "a cat", 0)
    generated = [v for v in result.views if v["stage"] == "generate" and not v["skipped"]]
    updated = [v for v in result.views if v["updated"]]
    assert len(result.views) == 10 + 20 and generated and updated
    asks = 50 * len(generated) + 16 * len(updated)
    assert result.calls == {"unet": asks + 50, "controlnet": asks} and asks <= 980
    *views, atlas = in_passes(asked)
    assert {(len(view), view[0].t) for view in views} == {(50, 981), (16, 301)}
    assert {(one.who, one.guidance) for view in views for one in view} == {("depth", 10.0)}
    assert [(one.who, one.guidance) for one in atlas] == [("unet", 7.5)] * 50
    chosen = [v["index"] - 10 for v in result.views if v["stage"] == "refine"]
    assert len(set(chosen)) == 20 and set(chosen) <= set(range(36))  # none of the 36 twice


def test_intex_asks_220_times_at_most(full_backbone, ball, asked):
    result = intex(full_backbone, **SMALL)(ball, "a cat", 0)
    worked = [v for v in result.views if not v["skipped"]]
    assert len(result.views) == 11 and worked
    assert result.calls == {"unet": 20 * len(worked), "controlnet": 20 * len(worked)}
    assert [len(view) for view in in_passes(asked)] == [20] * len(worked)
    assert {(one.who, one.guidance) for one in asked} == {("depth_inpaint", 7.5)}


def test_paint3d_asks_60_times_for_pairs_and_35_for_the_atlas(full_backbone, ball, asked):
    result = paint3d(full_backbone, **SMALL, uv_size=64)(ball, "a cat", 0)
    assert result.calls["unet"] == 60 + 35
    passes = in_passes(asked)
    assert [len(one) for one in passes] == [20, 20, 20, 20, 15]
    settings = [{(one.who, one.guidance, one.also) for one in each} for each in passes]
    later = ("depth", 3.0, (("inpaint", 0.5),))
    assert settings == [
        {("depth", 7.0, ())},
        {later},
        {later},
        {("uv_position", 3.0, (("inpaint", 0.5),))},
        {("uv_position", 7.0, (("tile", 1.0),))},
    ]
    assert {one.shape[-2:] for each in passes[:3] for one in each} == {(8, 16)}  # two views, one picture
    assert {one.shape[-2:] for each in passes[3:] for one in each} == {(8, 8)}


def test_syncmvd_asks_300_times_in_30_batches(full_backbone, ball, asked, monkeypatch):
    steps, exponents = [], []
    step, blend = SyncMVD._texture_step, baselines.syncmvd.blend_views

    def texture_step(self, scheduler, clean, state, i, normal):
        steps.append(i)
        return step(self, scheduler, clean, state, i, normal)

    def blend_views(baked, visible, cosine, exponent):
        exponents.append(exponent)
        return blend(baked, visible, cosine, exponent)

    monkeypatch.setattr(SyncMVD, "_texture_step", texture_step)
    monkeypatch.setattr(baselines.syncmvd, "blend_views", blend_views)
    result = syncmvd(full_backbone, **SMALL, latent_texture_size=24)(ball, "a cat", 0)
    assert result.calls == {"unet": 300, "controlnet": 300} and len(asked) == 30
    assert {one.shape[0] for one in asked} == {10} and {one.guidance for one in asked} == {15.5}
    # On the texture while t > 200; the front view is attended to while t > 800.
    assert steps == [i for i, one in enumerate(asked) if one.t > 200] and 0 < len(steps) < 30
    assert [one.reference for one in asked] == [one.t > 800 for one in asked]
    for one in asked:  # the ring, whose fifth camera is the front, and the two raised ones
        assert one.attention.neighbours[:2] == [[7, 0, 1], [0, 1, 2]]
        assert one.attention.neighbours[7:] == [[6, 7, 0], [4, 8], [0, 9]]
        assert list(one.attention.reference) == [4] * 10
    assert exponents == pytest.approx([6 * i / 30 for i in steps] + [6.0])
    scales = [one.scale for one in asked]
    assert scales[0] == 0.7 and 0.85 < scales[1] < 0.9 and scales[1:] == sorted(scales[1:], reverse=True)
    assert scales[-1] == 0.0  # t = 1 lies in the last hundredth
    # Afterwards the UNet attends as before.
    assert not any(isinstance(p, ViewAttention) for p in full_backbone.unet.attn_processors.values())


@pytest.fixture
def chains(monkeypatch):
    """What each pass hands to the sampler: scheduler, chain, latents, first step; nothing is denoised."""
    noted = []

    def denoise(backbone, scheduler, chain, latents, step, first=0):
        noted.append((scheduler, chain, latents, first))
        return latents

    for module in (repainting, painting):
        monkeypatch.setattr(module, "denoise", denoise)
    return noted


def test_text2tex_begins_at_the_noised_render_and_pins_all_but_mask_and_background(
    full_backbone, ball, asked, chains
):
    method = text2tex(full_backbone, **SMALL, atlas_role="none", rounds=0, rig="front_4view")
    scene = method._geometry(ball).scene
    view = scene.views[0]
    half = view.buffer.mask.clone()
    half[..., 32:] = 0
    text = full_backbone.encode_prompts(["", "a cat"])
    empty = TextureState.empty(32)
    for preset in (method.preset, method.update_preset):
        method._pass(preset, view, empty, half, text, (0,), lambda i, n: None)
    (scheduler, whole, start, first), (_, part, again, later) = chains
    assert (first, later) == (0, 34) and scheduler.timesteps[34] == 301
    noises = []
    for chain, latents, i in ((whole, start, first), (part, again, later)):
        alpha = scheduler.alphas_cumprod[scheduler.timesteps[i]]
        noises.append((latents - alpha.sqrt() * chain.known_latents) / (1 - alpha).sqrt())
    assert float(noises[0].std()) == pytest.approx(1.0, abs=0.15)
    torch.testing.assert_close(noises[0], noises[1], atol=1e-4, rtol=0)  # one seed for every call
    assert not torch.equal(part.blend_noise[34], part.blend_noise[35])  # but fresh in every step
    pins = part.pin_late[0, 0]
    assert part.switch_step == 0 and part.blending == "after"
    assert float(pins[3:5, 4:6].min()) > 0.8  # the other half of the ball
    assert float(pins[3:5, 2:4].max()) < 0.2  # the mask
    assert float(pins[0].max()) == float(pins[-1].max()) == 0  # the background


def test_text2tex_leaves_updates_of_a_twentieth_of_the_object_out(full_backbone, ball, asked, chains):
    method = text2tex(full_backbone, **SMALL, atlas_role="none", rounds=0, rig="front_4view")
    view = method._geometry(ball).scene.views[0]
    surface = view.buffer.mask
    places = surface.flatten().nonzero()[:, 0]
    text, state = full_backbone.encode_prompts(["", "a cat"]), TextureState.empty(32)
    for share, expected in ((0.04, False), (0.06, True)):
        update = torch.zeros_like(surface)
        update.view(-1)[places[: int(share * len(places))]] = 1
        classes = Classes(0 * update, update, surface - update)
        _, updated = method._update(view, state, classes, text, (0,), lambda i, n: None)
        assert updated == expected
    assert len(chains) == 1 and chains[0][3] == 34


def test_intex_pins_refine_regions_for_twelve_of_twenty_steps(full_backbone, ball, asked, chains):
    intex(full_backbone, **SMALL)(ball, "a cat", 0)
    first, *later = [chain for _, chain, _, _ in chains]
    for chain in (first, *later):
        assert chain.switch_step == 12 and chain.blending == "before"
        assert [control.role for control in chain.controls] == ["depth_inpaint"]
        assert bool((chain.pin_early >= chain.pin_late - 1e-6).all())
        assert not torch.equal(chain.blend_noise[0], chain.blend_noise[1])
    # As released: the background is refined in the first view, so it is pinned early only; then it is kept.
    corner = (slice(None), slice(None), 0, 0)
    assert float(first.pin_early[corner]) == 1 and float(first.pin_late[corner]) == 0
    assert later and all(float(chain.pin_late[corner]) == 1 for chain in later)
    assert any(float((chain.pin_early - chain.pin_late).max()) > 0.5 for chain in later)  # surface, too
    for _, _, latents, start in chains:
        assert start == 0 and float(latents.std()) == pytest.approx(1.0, abs=0.2)


def test_paint3d_frees_all_of_the_first_pair_and_then_what_is_uncoloured(full_backbone, ball, asked, chains):
    paint3d(full_backbone, **SMALL, uv_size=64)(ball, "a cat", 0)
    free = [float(1 - chain.pin_late.mean()) for _, chain, _, _ in chains]
    firsts = [first for *_, first in chains]
    assert firsts == [0, 0, 0, 0, 5]  # the tile pass begins after a quarter of its steps
    assert free[0] == 1.0 and free[4] == 1.0 and all(0 < share < 1 for share in free[1:4])
    assert all(chain.blending == "after_next" for _, chain, _, _ in chains)
    for _, chain, latents, first in chains[:4]:
        assert torch.equal(chain.blend_noise[0], chain.blend_noise[-1]) and first == 0
        assert float(latents.std()) == pytest.approx(1.0, abs=0.2)  # from noise alone

"""Policies of the shared sampler and backbone that the published baselines differ in."""

import pytest
import torch
from reference import tiny_models

from texgen.diffusion.guidance import Control
from texgen.diffusion.sampler import Alternation, ViewDenoising, blend, denoise, predict_step
from texgen.diffusion.schedules import first_step, make_scheduler
from texgen.painting.presets import PRESETS
from texgen.painting.repaint import atlas_look, atlas_view, repaint
from texgen.painting.running import Remembered
from texgen.render.cameras import RIGS, Cameras, rig_cameras
from texgen.render.view_words import WORD_RULES

STEPS = 4


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_models.load_sd15_with(tmp_path_factory.mktemp("models"), ("depth", "inpaint"))


def chain(backbone, **changes):
    random = torch.Generator().manual_seed(0)
    settings = {
        "text": backbone.encode_prompts(["", "a cat"]),
        "controls": (Control("depth", torch.rand(1, 3, 64, 64, generator=random)),),
        "known_latents": torch.randn(1, 4, 8, 8, generator=random),
        "pin_early": torch.ones(1, 1, 8, 8),
        "pin_late": torch.zeros(1, 1, 8, 8),
        "switch_step": STEPS,
        "blend_noise": torch.randn(STEPS, 1, 4, 8, 8, generator=random),
        "variance_noise": torch.randn(STEPS, 1, 4, 8, 8, generator=random),
        "guidance_scale": 2.0,
        "eta": 0.0,
    }
    return ViewDenoising(**{**settings, **changes})


def test_known_latents_return_at_the_noise_level_of_each_blending(backbone):
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", STEPS)
    times = scheduler.timesteps.tolist()
    levels = {
        "before": lambda i: scheduler.alphas_cumprod[times[i]],
        "after": lambda i: scheduler.alphas_cumprod[times[i] - 1],
        "after_next": lambda i: (
            scheduler.alphas_cumprod[times[i + 1]] if i + 1 < STEPS else torch.tensor(1.0)
        ),
    }
    for name, level in levels.items():
        pinned = chain(backbone, blending=name)
        for i in range(STEPS):
            a = level(i)
            expected = a.sqrt() * pinned.known_latents + (1 - a).sqrt() * pinned.blend_noise[i]
            result = blend(scheduler, pinned, torch.zeros(1, 4, 8, 8), i)
            torch.testing.assert_close(result, expected)


def test_blending_after_the_step_ends_on_the_clean_known_latents(backbone):
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", STEPS)
    start = torch.zeros(1, 4, 8, 8)
    with torch.no_grad():
        after = chain(backbone, blending="after_next")
        assert torch.equal(denoise(backbone, scheduler, after, start), after.known_latents)
        before = chain(backbone)
        assert not torch.equal(denoise(backbone, scheduler, before, start), before.known_latents)


def test_other_models_predict_without_blending_in_their_steps_only(backbone):
    scheduler = make_scheduler(backbone.scheduler_config, "ddim", STEPS)
    extra = torch.rand(1, 5, 8, 8, generator=torch.Generator().manual_seed(1))
    mixed = chain(backbone, alternation=Alternation(1, 2, inpainting=extra))
    latents = torch.zeros(1, 4, 8, 8)
    with torch.no_grad():
        for i in range(STEPS):
            seen, prediction = predict_step(backbone, scheduler, mixed, latents, i)
            plain_seen, plain = predict_step(backbone, scheduler, chain(backbone), latents, i)
            inside = i in (1, 2)
            assert torch.equal(seen, latents) == inside and torch.equal(prediction, plain) != inside
            if not inside:
                assert torch.equal(seen, plain_seen)


def test_residuals_of_several_control_nets_add_up(backbone):
    text = backbone.encode_prompts(["", "a cat"])
    random = torch.Generator().manual_seed(0)
    latents, image, other = (
        torch.randn(shape, generator=random) for shape in ((2, 4, 8, 8), (2, 3, 64, 64), (1, 3, 64, 64))
    )

    def predict(*controls):
        with torch.no_grad():
            return backbone.predict(latents, 500, text, controls, 1.0)

    alone = predict(Control("depth", image))
    both = predict(Control("depth", image), Control("inpaint", other, 0.5))
    assert torch.equal(predict(Control("depth", image), Control("inpaint", other, 0.0)), alone)
    assert not torch.allclose(both, alone)
    turned = predict(Control("inpaint", other, 0.5), Control("depth", image))
    torch.testing.assert_close(turned, both)
    before = backbone.calls.as_dict()
    predict(Control("depth", image), Control("inpaint", other, 0.5))
    after = backbone.calls.as_dict()
    assert (after["unet"] - before["unet"], after["controlnet"] - before["controlnet"]) == (2, 4)


def test_a_missing_inpainting_unet_is_named(tmp_path):
    bare = tiny_models.load_sd15(tmp_path)
    with pytest.raises(ValueError, match="no inpainting UNet"):
        bare.predict(
            torch.zeros(1, 4, 8, 8), 5, bare.encode_prompts(["", ""]), [], 1.0, torch.zeros(1, 5, 8, 8)
        )


def test_pndm_refuses_a_schedule_without_signal():
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    assert len(make_scheduler(config, "pndm", 50).timesteps) == 51
    with pytest.raises(ValueError, match="divides by the signal"):
        make_scheduler({**config, "rescale_betas_zero_snr": True}, "pndm", 10)


def test_strength_is_the_share_of_steps_that_run():
    assert [first_step(20, s) for s in (1.0, 0.75, 0.3, 0.01)] == [0, 5, 14, 19]


def test_the_atlas_is_a_view_that_keeps_what_is_known(backbone):
    preset = PRESETS["texgen"].replace(
        image_size=64, texture_size=64, steps=2, control_role="", hard_pins=True, blending="after_next",
        guidance_scale=1.0, fill_before_encoding=False, sample_posterior=False,
    )  # fmt: skip
    random = torch.Generator().manual_seed(0)
    texture, nothing = torch.rand(3, 64, 64, generator=random), torch.zeros(1, 64, 64)
    text = backbone.encode_prompts(["", ""])
    view = atlas_view(torch.zeros_like(texture))
    with torch.no_grad():
        (kept,) = repaint(backbone, preset, [view], [atlas_look(texture, nothing)], text, (0,))
        latents = backbone.encode_images(texture.flip(1)[None])
        expected = backbone.decode_latents(latents).clamp(0, 1)
        (changed,) = repaint(backbone, preset, [view], [atlas_look(texture, nothing + 1)], text, (0,))
    torch.testing.assert_close(kept, expected, atol=1e-4, rtol=0)
    assert not torch.allclose(changed, expected, atol=1e-3)


def test_every_rule_has_a_word_for_every_view():
    for rule in WORD_RULES.values():
        assert all(isinstance(rule(*pose), str) for rig in RIGS.values() for pose in rig)


def test_rigs_with_several_distances_scale_them():
    near, far = (rig_cameras("texture", distance=d).distance for d in (1.0, 2.0))
    torch.testing.assert_close(far, 2 * near)
    assert isinstance(rig_cameras("default"), Cameras) and float(rig_cameras("default").distance.std()) == 0


def test_values_are_remembered_by_mesh_and_forgotten_in_turn():
    made = []
    remembered = Remembered(lambda thing: made.append(thing) or len(made), limit=2)
    a, b, c = [1], [2], [3]
    assert [remembered(x) for x in (a, b, a, c, a, b)] == [1, 2, 1, 3, 1, 4]

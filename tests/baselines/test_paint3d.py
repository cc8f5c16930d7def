"""Paint3D: pairs, first paint wins, the second stage, number of evaluations, the sampler's equivalence."""

import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler
from reference import tiny_models

from baselines.paint3d import (
    first_paint_wins,
    outlined,
    paint3d,
    pasted,
    position_map,
    uncoloured,
)
from baselines.presets.paint3d import PRESET, Paint3DSettings
from texgen.diffusion.schedules import ddim_posterior, first_step, make_scheduler, noised
from texgen.painting.running import preset_cameras
from texgen.painting.state import TextureState
from texgen.render.atlas import build_atlas
from texgen.render.cameras import RIGS
from texgen.render.images import render

SMALL = {"image_size": 64, "render_size": 64, "texture_size": 32}


def test_full_size_cost_is_60_and_35_evaluations():
    pairs = len(RIGS[PRESET.rig]) // 2
    tile = PRESET.steps - first_step(PRESET.steps, Paint3DSettings().tile_strength)
    assert (pairs * PRESET.steps, PRESET.steps + tile) == (60, 35)
    assert [pose[0] for pose in RIGS["paint3d"]] == [0, 180, 45, 315, 180, 180]
    assert PRESET.min_cosine == pytest.approx(0.3746, abs=1e-4)


def test_euler_ancestral_is_ddim_with_eta_one_up_to_scaling():
    """Every step of diffusers' sampler from Stable Diffusion 1.5's scheduler file, in its scaled latents."""
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    config |= {"num_train_timesteps": 1000, "steps_offset": 1}
    file = config | {"set_alpha_to_one": False, "skip_prk_steps": True}  # the file's, which names no spacing
    ours = make_scheduler(file, "ddim", PRESET.steps, PRESET.spacing, PRESET.last_signal)
    euler = EulerAncestralDiscreteScheduler.from_config(file)
    euler.set_timesteps(20)
    torch.testing.assert_close(euler.timesteps, ours.timesteps)
    assert ours.timesteps[:2].tolist() == pytest.approx([999, 946.42], abs=0.01) and ours.timesteps[-1] == 0
    assert float(euler.sigmas[0]) == pytest.approx(14.6146, abs=1e-3)
    assert ours.timesteps[first_step(20, 0.75)] == pytest.approx(736.1, abs=0.1)
    random = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=random)
    for i in range(20):
        sigma = float(euler.sigmas[i])
        latents = noised(ours, clean, noise, float(ours.timesteps[i]))
        scaled = latents * (1 + sigma**2) ** 0.5
        torch.testing.assert_close(scaled, clean + sigma * noise, atol=2e-4, rtol=1e-4)
        mean, spread = ddim_posterior(ours, clean, noise, i, 1.0)
        after = 1 / (1 + float(euler.sigmas[i + 1]) ** 2)
        stepped = euler.step(
            noise,
            euler.timesteps[i],
            scaled,
            generator=torch.Generator().manual_seed(5),
        ).prev_sample
        drawn = torch.randn(noise.shape, generator=torch.Generator().manual_seed(5))
        torch.testing.assert_close(stepped * after**0.5, mean + spread * drawn, atol=2e-3, rtol=1e-3)


@pytest.fixture(scope="module")
def scene_and_preset(full_backbone, ball):
    method = paint3d(full_backbone, **SMALL, steps=1, uv_stage="none")
    return method._prepare(ball), method.preset


def test_first_paint_wins_and_grazing_faces_wait(scene_and_preset):
    scene, preset = scene_and_preset
    state = TextureState.empty(32)
    first, second = scene.views[0], scene.views[2]
    red, blue = (torch.zeros(1, 3, 64, 64) for _ in range(2))
    red[:, 0], blue[:, 2] = 1, 1
    one = first_paint_wins(preset, first, state, red, uncoloured(first, state))
    painted = one.weight > 0
    assert 0.08 < float(painted.float().mean()) < 0.5
    assert float(first.visibility.cosine[painted].min()) >= preset.min_cosine
    two = first_paint_wins(preset, second, one, blue, uncoloured(second, one))
    assert torch.equal(two.colour()[:, painted[0]], one.colour()[:, painted[0]])
    fresh = (two.weight > 0) & ~painted
    assert fresh.any() and bool((two.colour()[2][fresh[0]] > 0.999).all())
    assert not (uncoloured(first, two) > uncoloured(first, one)).any()


def test_gathering_by_face_shows_the_image_again(scene_and_preset, ball):
    scene, preset = scene_and_preset
    view, state = scene.views[0], TextureState.empty(32)
    image = view.buffer.position.permute(0, 3, 1, 2) * 0.5 + 0.5
    state = first_paint_wins(preset, view, state, image, uncoloured(view, state))
    again, _ = render(ball, state.colour(), preset_cameras(preset, ball)[0], 64)
    inner = (view.buffer.cosine > 0.7).expand_as(image)
    assert float((again - image)[inner].abs().mean()) < 0.03


def test_outline_grows_into_the_background_only(scene_and_preset):
    view = scene_and_preset[0].views[0]
    grown = outlined(view).depth
    inside = view.depth > 0
    assert torch.equal(grown[inside], view.depth[inside])
    assert int((grown > 0).sum()) > int(inside.sum()) and float(grown.max()) <= 1


def test_position_map_is_in_the_frame_of_its_control_net(scene_and_preset):
    scene, _ = scene_and_preset
    values = position_map(scene)
    on = scene.atlas.mask[0] > 0
    centre = torch.tensor([0.5, 0.625, 0.5])
    radius = ((values.permute(1, 2, 0)[on] - centre) * 2).norm(dim=-1)
    assert float((radius - 0.6).abs().max()) < 0.02 and float(values[:, ~on].abs().sum()) == 0


def test_both_stages_run_and_repeat(full_backbone, ball):
    method = paint3d(full_backbone, **SMALL, steps=2, uv_size=64)
    result = method(ball, "a cat", 0)
    # Two later pairs with two ControlNets, the atlas with two each; the tile pass runs round(2 * 0.75).
    assert result.calls == {"unet": 6 + 2 + 2, "controlnet": 2 + 2 * 4 + 2 * 2 + 2 * 2}
    assert bool(result.texture.isfinite().all()) and [view["pair"] for view in result.views] == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    assert torch.equal(method(ball, "a cat", 0).texture, result.texture)


def test_the_second_stage_is_never_left_out_silently(tmp_path):
    backbone = tiny_models.load_sd15_with(tmp_path, ("depth", "inpaint"))
    with pytest.raises(ValueError, match="role 'uv_position'.*uv_stage"):
        paint3d(backbone)


def test_painted_texels_keep_their_colours_where_stage_2_is_pasted(full_backbone, ball):
    """The same run with and without stage 2: equal where views painted, made by stage 2 where none did."""
    alike = {**SMALL, "steps": 2, "fill": "surface"}
    before = paint3d(full_backbone, **alike, uv_stage="none")(ball, "a cat", 0)
    method = paint3d(full_backbone, **alike, uv_stage="inpaint", uv_size=64, uv_paste=True)
    after = method(ball, "a cat", 0)
    painted = after.painted[0] > 0
    atlas = method._scene(ball).atlas
    missing = (atlas.mask[0] > 0) & ~painted
    assert painted.any() and missing.any()
    assert torch.equal(after.texture[:, painted], before.texture[:, painted])
    assert float((after.texture - before.texture)[:, missing].abs().mean()) > 0.01
    # Without the tile pass: its steps and its ControlNet are not there.
    assert after.calls == {"unet": 6 + 2, "controlnet": 2 + 2 * 4 + 2 * 2}
    # Gutters repeat their nearest chart texel, so no texel there has a colour that no chart has.
    colours = {tuple(c) for c in after.texture[:, atlas.mask[0] > 0].T.tolist()}
    assert all(tuple(c) in colours for c in after.texture[:, atlas.mask[0] == 0].T.tolist())


def test_small_holes_keep_the_fill_where_stage_2_is_pasted(full_backbone, ball):
    atlas = build_atlas(ball, 256)
    inside = atlas.mask[0, 100:140, 60:140]
    assert bool((inside > 0).all())
    painted = torch.ones(1, 256, 256)
    painted[0, 110:130, 100:120] = 0  # a part that no view saw
    painted[0, 120, 70] = painted[0, 121, 80:90] = 0  # a hole, and a crack of one texel
    texture, made = torch.zeros(3, 256, 256), torch.ones(3, 256, 256)
    result = pasted(texture, made, painted, atlas)
    expected = torch.zeros(256, 256)
    expected[110:130, 100:120] = 1
    on = atlas.mask[0] > 0
    assert torch.equal(result[0][on], expected[on])
    with pytest.raises(ValueError, match="set fill"):
        paint3d(full_backbone, uv_paste=True)

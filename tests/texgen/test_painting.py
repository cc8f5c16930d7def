"""The texture state: what a view shows of it, and what a view does to it."""

import pytest
import torch
from reference import tiny_models
from reference.tiny_meshes import sphere_mesh, square_mesh

from texgen.painting.accumulate import accumulate
from texgen.painting.chains import pin_mask
from texgen.painting.pipeline import prepare_scene
from texgen.painting.presets import PRESETS
from texgen.painting.state import TextureState, render_state
from texgen.painting.views import Brief, paint_view
from texgen.render.cameras import Cameras

SIZE = 64


def make(mesh=None, azimuths=(0.0,), **changes):
    preset = PRESETS["texgen"].replace(
        image_size=SIZE, render_size=SIZE, texture_size=SIZE, crop=False, **changes
    )
    mesh = (mesh or sphere_mesh(12)).to(dtype=torch.float64)
    return preset, prepare_scene(mesh, preset, Cameras.orbit(list(azimuths), 0.0))


def empty():
    return TextureState.empty(SIZE, dtype=torch.float64)


def constant(value):
    return torch.full((1, 3, SIZE, SIZE), value, dtype=torch.float64)


NOTHING_KEPT = torch.zeros(1, 1, SIZE, SIZE, dtype=torch.float64)
ALL_KEPT = torch.ones(1, 1, SIZE, SIZE, dtype=torch.float64)


@pytest.mark.parametrize(("projection", "tolerance"), [("gather", 0.02), ("scatter_mip", 0.04)])
def test_projected_image_is_seen_again_in_the_same_view(projection, tolerance):
    preset, scene = make(projection=projection)
    view = scene.views[0]
    image = view.buffer.position.permute(0, 3, 1, 2) * 0.5 + 0.5  # smooth, and different in every direction
    state = accumulate(preset, view, empty(), image, NOTHING_KEPT)
    rgb, count, best = render_state(view, state, preset.background, False)
    facing = (view.buffer.cosine > 0.5).expand_as(rgb)
    assert facing.float().mean() > 0.2
    assert (rgb - image)[facing].abs().mean() < tolerance
    torch.testing.assert_close(best[facing[:, :1]], view.buffer.cosine[facing[:, :1]], atol=0.1, rtol=0)
    assert count[facing[:, :1]].min() > 0.1


def test_empty_state_shows_background_and_nothing_painted():
    preset, scene = make()
    view = scene.views[0]
    inside = view.buffer.mask > 0
    for pinned, behind in ((False, -1.0), (True, 1.0)):
        rgb, count, best = render_state(view, empty(), (0.2, 0.4, 0.6), pinned)
        assert bool((rgb[inside.expand_as(rgb)] == 0).all()) and bool((count[inside] == 0).all())
        assert bool((best[inside] == -1).all()) and bool((best[~inside] == behind).all())
        assert bool((count[~inside] == 1).all())
        torch.testing.assert_close(rgb[0, :, 0, 0], torch.tensor([0.2, 0.4, 0.6], dtype=torch.float64))


def test_mip_mapping_does_not_darken_the_border_of_what_is_painted():
    preset, scene = make(square_mesh())
    state = empty()
    painted = torch.zeros_like(state.weight)
    painted[..., : SIZE // 3] = 1
    state = TextureState(painted * torch.ones(3, 1, 1) * 0.8, painted, state.best_cosine)
    rgb, count, _ = render_state(scene.views[0], state, preset.background, False)
    touched = (count > 0) & (scene.views[0].buffer.mask > 0)
    torch.testing.assert_close(
        rgb[touched.expand_as(rgb)], torch.full((3 * int(touched.sum()),), 0.8).double()
    )


@pytest.mark.parametrize("projection", ["gather", "scatter_mip"])
def test_accumulation_rules(projection):
    def after(rule, second_keep):
        preset, scene = make(projection=projection, accumulate=rule)
        view = scene.views[0]
        state = accumulate(preset, view, empty(), constant(0.2), NOTHING_KEPT)
        state = accumulate(preset, view, state, constant(0.8), second_keep)
        return state, state.weight > 0

    for rule, expected in (("mean", 0.5), ("mean_new", 0.5), ("cosine", 0.5)):
        state, painted = after(rule, NOTHING_KEPT)
        assert painted.float().mean() > 0.1
        colour = state.colour()[painted.expand(3, -1, -1)]
        torch.testing.assert_close(colour, torch.full_like(colour, expected))
    state, painted = after("mean", ALL_KEPT)  # as released: kept pixels are averaged in again
    colour = state.colour()[painted.expand(3, -1, -1)]
    torch.testing.assert_close(colour, torch.full_like(colour, 0.5))
    for rule in ("mean_new", "cosine", "replace"):
        state, painted = after(rule, ALL_KEPT)
        colour = state.colour()[painted.expand(3, -1, -1)]
        torch.testing.assert_close(colour, torch.full_like(colour, 0.2))
    if projection == "gather":  # splat weights below 1 replace by their share only
        state, painted = after("replace", NOTHING_KEPT)
        colour = state.colour()[painted.expand(3, -1, -1)]
        torch.testing.assert_close(colour, torch.full_like(colour, 0.8))


def test_cosine_weights_equal_the_plain_formula():
    preset, scene = make(azimuths=(0.0, 60.0), accumulate="cosine", cosine_power=3.0)
    state = empty()
    for view, value in zip(scene.views, (0.2, 0.8), strict=True):
        state = accumulate(preset, view, state, constant(value), NOTHING_KEPT)
    inner = (scene.views[0].visibility.cosine > 0.4) & (scene.views[1].visibility.cosine > 0.4)
    inner &= (scene.views[0].visibility.visible > 0) & (scene.views[1].visibility.visible > 0)
    assert inner.any()
    cosines = torch.stack([view.visibility.cosine for view in scene.views])
    expected = (0.2 * cosines[0] ** 3 + 0.8 * cosines[1] ** 3) / (cosines**3).sum(0)
    torch.testing.assert_close(state.colour()[0][inner[0]], expected[inner])
    best = cosines.amax(0)
    torch.testing.assert_close(state.best_cosine[inner], best[inner])


def test_grazing_surface_is_left_out():
    preset, scene = make(min_cosine=0.5)
    state = accumulate(preset, scene.views[0], empty(), constant(0.5), NOTHING_KEPT)
    assert scene.views[0].visibility.cosine[state.weight > 0].min() > 0.5


def test_an_unpainted_texel_under_a_kept_pixel_is_painted():
    preset, scene = make(accumulate="mean_new")
    state = accumulate(preset, scene.views[0], empty(), constant(0.5), ALL_KEPT)
    assert (state.weight > 0).any()


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_models.load_sd15(tmp_path_factory.mktemp("models"), torch.float64)


def view_arguments(backbone, view, state, seed=(3, "a")):
    preset = PRESETS["texgen"].replace(
        image_size=SIZE, render_size=SIZE, texture_size=SIZE, crop=False, steps=1
    )
    return backbone, preset, view, state, Brief(backbone.encode_prompts(["", "a cat"]).double(), seed)


def test_a_view_without_work_passes_its_state_through(backbone):
    _, scene = make()
    full = TextureState(constant(0.5)[0], torch.ones_like(empty().weight), torch.ones_like(empty().weight))
    backbone.calls.reset()
    state, report = paint_view(*view_arguments(backbone, scene.views[0], full))
    assert state is full and report["skipped"] and report["keep"] == 1.0
    assert backbone.calls.unet == 0


def test_painting_a_view_is_pure(backbone):
    _, scene = make()
    start = empty()
    before = [start.colour_sum.clone(), start.weight.clone(), start.best_cosine.clone()]
    with torch.no_grad():
        first, report = paint_view(*view_arguments(backbone, scene.views[0], start))
        again, _ = paint_view(*view_arguments(backbone, scene.views[0], start))
        other, _ = paint_view(*view_arguments(backbone, scene.views[0], start, seed=(4, "a")))
    assert torch.equal(first.colour_sum, again.colour_sum) and report["generate"] == 1.0
    assert not torch.equal(first.colour_sum, other.colour_sum)
    for now, then in zip((start.colour_sum, start.weight, start.best_cosine), before, strict=True):
        assert torch.equal(now, then)
    assert bool((start.best_cosine == -1).all())


def test_hard_pins_hold_latents_under_wholly_known_pixels_only():
    generator = torch.Generator().manual_seed(0)
    known = (torch.rand(1, 1, 16, 16, generator=generator) > 0.2).float()
    hard, soft = pin_mask(known, 4, hard=True), pin_mask(known, 4, hard=False)
    for row in range(4):
        for column in range(4):
            cell = known[0, 0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            assert float(hard[0, 0, row, column]) == float(bool((cell == 1).all()))
    assert bool((hard <= (soft > 0).float()).all()) and 0 < float(soft.mean()) < 1
    assert float(pin_mask(torch.ones(1, 1, 16, 16), 4, hard=True).min()) == 1


@pytest.mark.parametrize("hard", [True, False])
def test_pins_of_views_side_by_side_are_those_of_each_view(hard):
    known = (torch.rand(1, 1, 16, 32, generator=torch.Generator().manual_seed(1)) > 0.2).float()
    together = pin_mask(known, (4, 8), hard)
    apart = torch.cat([pin_mask(half, 4, hard) for half in known.chunk(2, dim=-1)], dim=-1)
    assert together.shape == (1, 1, 4, 8)
    # Bilinear footprints reach across the border between the views, by one latent on each side.
    columns = slice(None) if hard else [0, 1, 2, 5, 6, 7]
    torch.testing.assert_close(together[..., columns], apart[..., columns])

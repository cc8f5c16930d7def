"""TEXTure: view table, trimap, checkerboard, alternation, fit, number of evaluations."""

import numpy as np
import pytest
import torch
from reference.tiny_meshes import sphere_mesh
from scipy import ndimage

from baselines.presets.texture import PRESET
from baselines.texture import TEXTure, texture
from texgen.backprojection.fit import fit_adam, fit_mask
from texgen.backprojection.trimap import Trimap, checkerboard, dilate, erode, kernel_side, texture_trimap
from texgen.diffusion.schedules import make_scheduler
from texgen.painting.chains import RenderedView, chain_of
from texgen.painting.repaint import repaint
from texgen.painting.running import method_scene, preset_cameras
from texgen.painting.state import TextureState
from texgen.render.cameras import Cameras, rig_cameras
from texgen.render.images import geometry_buffer, shade
from texgen.render.view_words import texture_word


def test_views_are_the_published_ones():
    cameras = rig_cameras("texture", 1.392)
    assert cameras.azimuth.tolist() == [0, 45, 315, 90, 270, 135, 225, 180, 180, 180]
    torch.testing.assert_close(cameras.elevation[7:], torch.tensor([21.05, 54.44, -64.17]))
    torch.testing.assert_close(cameras.distance[7:], torch.tensor([1.392, 1.290, 1.721]))
    words = [
        texture_word(*pose) for pose in zip(cameras.azimuth.tolist(), cameras.elevation.tolist(), strict=True)
    ]
    assert words == "front left right left right left right back overhead bottom".split()
    assert (
        texture_word(330, 0) == "front" and texture_word(34, 0) == "front" and texture_word(200, 0) == "back"
    )


def test_the_object_fills_the_frame_as_published_at_any_size(ball):
    small, large = (preset_cameras(PRESET, mesh) for mesh in (ball, sphere_mesh(8, radius=1.2)))
    torch.testing.assert_close(large.distance, small.distance * 1.5)
    assert float(small.distance[0]) == pytest.approx(1.392 * 0.8 / 0.6, rel=1e-5)


def test_full_size_cost_is_510_evaluations(full_backbone):
    times = make_scheduler(full_backbone.scheduler_config, "pndm", PRESET.steps).timesteps.tolist()
    assert times[:4] == [981, 961, 961, 941] and times[-1] == 1
    assert len(times) * len(rig_cameras(PRESET.rig)) == 510
    assert round(len(times) * PRESET.refine_strength) == 25 and PRESET.window == (11, 19)


def test_kernels_scale_with_the_render_and_are_exact_at_full_size():
    assert [kernel_side(k, 1200, 1200) for k in (19, 7, 5, 25, 21)] == [19, 7, 5, 25, 21]
    assert [kernel_side(k, 256, 1200) for k in (19, 5)] == [5, 1] and kernel_side(25, 600, 1200) == 13


def test_morphology_equals_the_plain_loops():
    mask = (torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    for operation, choose in ((dilate, max), (erode, min)):
        result = operation(mask, 3)
        for i in range(9):
            for j in range(9):
                around = [
                    float(mask[0, 0, a, b])
                    for a in range(max(i - 1, 0), min(i + 2, 9))
                    for b in range(max(j - 1, 0), min(j + 2, 9))
                ]
                assert float(result[0, 0, i, j]) == choose(around)


def test_trimap_on_a_sphere(ball):
    buffer = geometry_buffer(ball, Cameras.orbit([0.0], 0.0), 240)
    mask, cosine = buffer.mask, buffer.cosine
    nothing, everything = torch.zeros_like(mask), torch.ones_like(mask)

    fresh = texture_trimap(1 - mask, nothing - 1, cosine, mask)
    assert bool((fresh.generate >= mask).all()) and float(fresh.refine.sum()) == 0
    assert float(fresh.generate.sum()) > float(mask.sum())  # dilated over the silhouette

    # Seen before at cosine 0.5 everywhere: the cap with cosine above 0.7 is refined, a disc in the image.
    again = texture_trimap(everything, nothing + 0.5, cosine, mask)
    assert float(again.generate.sum()) == 0
    differs = (again.refine != (cosine > 0.7).float()).float()
    assert float(differs.mean()) < 0.001 and float(again.refine.sum()) > 1000
    torch.testing.assert_close(again.generate + again.refine + again.keep, everything)
    # What was never seen is no refinement, nor is the margin of 0.2.
    assert float(texture_trimap(everything, nothing, cosine, mask).refine.sum()) == 0
    assert float(texture_trimap(everything, cosine - 0.19, cosine, mask).refine.sum()) == 0


def test_checkerboard_has_squares_of_sixteen_pixels():
    board = checkerboard(512)
    assert board.shape == (1, 1, 512, 512) and float(board.mean()) == 0.5
    assert float(board[0, 0, :16, :16].min()) == 1 and float(board[0, 0, :16, 16:32].max()) == 0


def test_fit_recovers_a_known_texture(ball):
    buffer = geometry_buffer(ball, Cameras.orbit([0.0], 0.0), 96)
    v, u = torch.meshgrid(torch.linspace(0, 1, 16), torch.linspace(0, 1, 16), indexing="ij")
    known = torch.stack([u, v, 1 - u])
    image = shade(buffer, known)
    weight = buffer.mask * (buffer.cosine > 0.3)
    best = torch.zeros(1, 16, 16)
    colour, best, touched = fit_adam(torch.full((3, 16, 16), 0.5), best, buffer, image, weight, 150, 0.02)
    error = (shade(buffer, colour) - image).abs() * weight
    assert float(error.max()) < 0.03
    facing = weight[0, 0] > 0
    torch.testing.assert_close(
        shade(buffer, best, (0.0,))[0, 0][facing], buffer.cosine[0, 0][facing], atol=0.08, rtol=0
    )
    assert bool((colour[:, touched[0] == 0] == 0.5).all()) and 0.2 < float(touched.mean()) < 0.7


def test_fit_leaves_what_was_seen_better(ball):
    buffer = geometry_buffer(ball, Cameras.orbit([0.0], 0.0), 96)
    trimap = Trimap(buffer.mask, 0 * buffer.mask, 1 - buffer.mask)
    best = torch.ones_like(buffer.mask)
    weight = fit_mask(trimap, buffer.mask, buffer.cosine, best)
    assert float(weight[buffer.cosine < 0.79].max()) == 0 and float(weight.max()) == pytest.approx(
        1, abs=1e-5
    )
    assert float(weight[buffer.mask == 0].abs().max()) == 0


def test_fit_weights_equal_the_plain_morphology_and_blur(ball):
    """At 600 pixels the kernels are 3, 13 and 11 pixels wide, the blur's deviation 8."""
    buffer = geometry_buffer(ball, Cameras.orbit([0.0], 0.0), 600)
    changed = buffer.mask.clone()
    changed[..., 300:] = 0
    trimap = Trimap(changed, 0 * changed, 1 - changed)
    best = torch.where(torch.arange(600) < 200, 0.9, 0.0).expand_as(buffer.mask)
    weight = fit_mask(trimap, buffer.mask, buffer.cosine, best)[0, 0].double().numpy()
    inside = ndimage.binary_erosion(buffer.mask[0, 0] > 0, np.ones((3, 3)), border_value=1)
    grown = ndimage.binary_dilation(inside & (changed[0, 0].numpy() > 0), np.ones((13, 13)))
    line = np.exp(-0.5 * (np.arange(-5, 6) / 8.0) ** 2)
    kernel = np.outer(line, line) / line.sum() ** 2
    plain = ndimage.convolve(grown.astype(float), kernel, mode="nearest") * inside
    seen_better = buffer.cosine[0, 0].numpy() + 0.2 < best[0, 0].numpy()
    expected = np.where((plain < 0.5) | seen_better, 0, plain)
    decided = np.abs(plain - 0.5) > 1e-4  # elsewhere rounding may decide
    assert np.abs(weight - expected)[decided].max() < 1e-5
    assert (
        0 < (expected > 0).mean() < 0.5 and seen_better.any() and ((expected > 0.5) & (expected < 0.9)).any()
    )


class Recorder:
    """Stands between a method and its backbone and notes which networks predict."""

    def __init__(self, backbone, monkeypatch):
        self.steps, real = [], backbone.predict

        def predict(latents, t, text, controls, guidance_scale, inpainting=None):
            self.steps.append(controls[0].role if inpainting is None else "unet")
            return real(latents, t, text, controls, guidance_scale, inpainting)

        monkeypatch.setattr(backbone, "predict", predict)


def test_the_inpainting_unet_predicts_in_its_window_of_later_views(full_backbone, ball, monkeypatch):
    small = {"image_size": 64, "render_size": 96, "texture_size": 32, "adam_steps": 2, "rig": "tilted_2view"}
    recorder = Recorder(full_backbone, monkeypatch)
    result = texture(full_backbone, steps=4, window=(1, 2), **small)(ball, "a cat", 0)
    assert recorder.steps == ["depth"] * 5 + ["depth", "unet", "unet", "depth", "depth"]
    assert result.calls == {"unet": 10, "controlnet": 8}
    assert bool(result.texture.isfinite().all())
    again = texture(full_backbone, steps=4, window=(1, 2), **small)(ball, "a cat", 0)
    assert torch.equal(again.texture, result.texture)


def test_masks_of_the_steps(full_backbone, ball):
    """Early, refine regions are pinned on every other square; late, nothing of them is."""
    preset = PRESET.replace(
        image_size=64, render_size=64, texture_size=32, scheduler="ddim", steps=4, crop=False, distance=4.0
    )
    scene = method_scene(ball, preset, torch.device("cpu"))
    view = scene.views[1]
    refine = view.buffer.mask
    trimap = Trimap(0 * refine, refine, 1 - refine)
    rgb = torch.full((1, 3, 64, 64), 0.5)
    text = full_backbone.encode_prompts(["", "a cat"])
    with torch.no_grad():
        chain = chain_of(
            full_backbone, preset, [view], [RenderedView(rgb, refine, refine, trimap)], text, (0,), 4
        )
    known = torch.nn.functional.avg_pool2d(1 - refine, 8)
    inner = known == 0
    assert float(chain.pin_late[inner].max()) < 0.2
    # 32 squares on 64 pixels are 2 pixels wide: half of every latent is pinned.
    torch.testing.assert_close(chain.pin_early[inner].mean(), torch.tensor(0.5), atol=0.05, rtol=0)
    assert float(chain.pin_early[known == 1].min()) > 0.8 and chain.switch_step == 2
    assert torch.equal(chain.blend_noise[0], chain.blend_noise[3])


def test_an_empty_trimap_changes_nothing(full_backbone, ball, monkeypatch):
    method = TEXTure(
        full_backbone, PRESET.replace(image_size=64, render_size=64, texture_size=32, rig="tilted_2view")
    )
    # Painted all over and seen as frontally as can be: the trimap keeps everything.
    start = TextureState(torch.rand(3, 32, 32), torch.ones(1, 32, 32), torch.ones(1, 32, 32))
    monkeypatch.setattr(TextureState, "empty", staticmethod(lambda *_, **__: start))
    full_backbone.calls.reset()
    result = method(ball, "a cat", 0)
    assert all(view["skipped"] for view in result.views) and result.calls == {"unet": 0, "controlnet": 0}
    assert torch.equal(result.texture, start.colour_sum)


def test_without_refine_regions_their_treatment_does_not_matter(full_backbone, ball):
    """An empty refine mask: one image, whatever is done to refine regions; with some, it matters."""
    preset = PRESET.replace(
        image_size=64, render_size=64, texture_size=32, scheduler="ddim", steps=4, crop=False, window=()
    )
    view = method_scene(ball, preset, torch.device("cpu")).views[1]
    surface, rgb = view.buffer.mask, torch.full((1, 3, 64, 64), 0.5)
    text = full_backbone.encode_prompts(["", "a cat"])

    def images(trimap):
        looks = [RenderedView(rgb, surface, surface, trimap)]
        treatments = [{"refine": "checker", "refine_strength": 0.5}]
        treatments += [{"refine": "pinned", "refine_strength": share} for share in (0.0, 1.0)]
        with torch.no_grad():
            return [
                repaint(full_backbone, preset.replace(**each), [view], looks, text, (0,))[0]
                for each in treatments
            ]

    checker, free, pinned = images(Trimap(surface, 0 * surface, 1 - surface))
    assert torch.equal(checker, free) and torch.equal(free, pinned)
    checker, free, pinned = images(Trimap(0 * surface, surface, 1 - surface))
    assert not torch.equal(checker, free) and not torch.equal(free, pinned)

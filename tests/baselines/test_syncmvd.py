"""SyncMVD: views, neighbours, attention, baking, the step on the texture, number of evaluations."""

import pytest
import torch
from reference.tiny_meshes import square_mesh

from baselines.presets.syncmvd import PRESET, SyncMVDSettings
from baselines.syncmvd import COLOURS, blend_views, control_scale, syncmvd
from texgen.backprojection.backproject import PixelMap
from texgen.diffusion.schedules import ddim_posterior, make_scheduler, signal_level
from texgen.diffusion.view_attention import ViewAttention, across_views, nearest_view, ring_neighbours
from texgen.painting.running import preset_cameras
from texgen.render.cameras import RIGS, Cameras, clip_from_world, transform
from texgen.render.images import geometry_buffer
from texgen.render.view_words import syncmvd_word

SMALL = {"image_size": 64, "render_size": 64, "texture_size": 32, "latent_texture_size": 24}


def test_views_words_and_cost_are_the_published_ones():
    rig = RIGS["syncmvd"]
    words = [syncmvd_word(*pose) for pose in rig]
    assert words == ["back", "back", "side", "side", "front", "side", "side", "back", "front", "back"]
    assert len(rig) * PRESET.steps == 300
    # Maroon, olive, green, teal, navy and purple are the halves of the bright ones.
    assert len({tuple(colour) for colour in COLOURS.tolist()}) == 14
    assert [0.5, 0.5, 0.0] in COLOURS.tolist() and set(COLOURS.unique().tolist()) == {0.0, 0.5, 1.0}


def test_far_cameras_are_nearly_orthographic(ball):
    cameras = preset_cameras(PRESET, ball)
    corners = torch.tensor([[0.8, 0.8, 0.8], [0.8, 0.8, -0.8]])
    clip = transform(corners, clip_from_world(cameras[4]))[0]
    ndc = clip[:, :2] / clip[:, 3:]
    torch.testing.assert_close(ndc, torch.ones(2, 2), atol=0.021, rtol=0)


def test_neighbours_are_a_ring_and_the_raised_cameras_see_front_or_back():
    azimuths, elevations = zip(*RIGS["syncmvd"], strict=True)
    neighbours = ring_neighbours(azimuths, elevations)
    assert neighbours[0] == [7, 0, 1] and neighbours[4] == [3, 4, 5] and neighbours[7] == [6, 7, 0]
    assert neighbours[8] == [4, 8] and neighbours[9] == [0, 9]
    assert nearest_view(azimuths, range(10), 0.0) == 4


@pytest.mark.parametrize("with_reference", [False, True])
def test_attention_equals_the_plain_formula(full_backbone, with_reference):
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
    attn = full_backbone.unet.get_submodule(name)
    neighbours, reference = [[1, 0], [0, 1, 2], [2]], [1, 1, 1]
    x = torch.randn(6, 5, attn.to_q.in_features, generator=torch.Generator().manual_seed(0))
    processor = ViewAttention(neighbours, reference)
    processor.with_reference = with_reference
    with torch.no_grad():
        result = processor(attn, x)

        def plain(row, others):
            q = attn.to_q(x[row])
            k, v = (torch.cat([part(x[o]) for o in others]) for part in (attn.to_k, attn.to_v))
            heads = []
            for part in range(attn.heads):
                width = q.shape[-1] // attn.heads
                cut = slice(part * width, (part + 1) * width)
                weights = torch.softmax(q[:, cut] @ k[:, cut].T / width**0.5, dim=-1)
                heads.append(weights @ v[:, cut])
            return torch.cat(heads, dim=-1)

        for row in range(6):
            base, view = row - row % 3, row % 3
            expected = plain(row, [base + o for o in neighbours[view]])
            if with_reference:
                expected = (expected + plain(row, [base + reference[view]])) / 2
            torch.testing.assert_close(result[row], attn.to_out[0](expected), atol=1e-5, rtol=1e-4)


def test_the_unet_gets_its_own_attention_back(full_backbone):
    before = dict(full_backbone.unet.attn_processors)
    with pytest.raises(RuntimeError), across_views(full_backbone.unet, ViewAttention([[0]], [0])):
        changed = {
            name for name, p in full_backbone.unet.attn_processors.items() if isinstance(p, ViewAttention)
        }
        assert changed and all(".attn1." in name for name in changed)
        raise RuntimeError
    assert full_backbone.unet.attn_processors == before


def test_baking_is_the_mean_of_the_pixels_with_the_nearest_around():
    buffer = geometry_buffer(square_mesh(0.5), Cameras.orbit([0.0], 0.0), 20)
    pixel_map = PixelMap.of(buffer, 4)
    image = torch.rand(2, 20, 20, generator=torch.Generator().manual_seed(0))
    baked = pixel_map.bake(image)
    for row in range(4):
        for column in range(4):
            on = [
                image[:, i, j]
                for i in range(20)
                for j in range(20)
                if buffer.face[0, i, j] >= 0
                and (buffer.uv[0, i, j] * 4).floor().long().tolist() == [column, row]
            ]
            torch.testing.assert_close(baked[:, row, column], torch.stack(on).mean(0))
    # More texels than pixels: each takes the nearest that has one, and nothing is lost on the way back.
    fine = PixelMap.of(buffer, 64)
    on = (buffer.face >= 0).expand(2, -1, -1)
    torch.testing.assert_close(fine.render(fine.bake(image))[on], image[on])


def test_views_are_weighed_by_cosine_to_the_exponent():
    baked = [torch.full((1, 2, 2), 1.0), torch.full((1, 2, 2), 3.0)]
    visible = torch.tensor([[[1.0, 1.0], [0.0, 0.0]], [[1.0, 0.0], [1.0, 0.0]]])
    cosine = torch.full((2, 2, 2), 0.5)
    cosine[1] = 0.25
    mean, total = blend_views(baked, visible, cosine, 2.0)
    expected = (0.25 * 1 + 0.0625 * 3) / 0.3125
    assert float(mean[0, 0, 0]) == pytest.approx(expected)
    assert mean[0, 0, 1] == 1 and mean[0, 1, 0] == 3 and mean[0, 1, 1] in (1, 3) and total[0, 1, 1] == 0
    assert float(blend_views(baked, visible, cosine, 0.0)[0][0, 0, 0]) == pytest.approx((0.5 + 0.75) / 0.75)


def test_control_strength_falls_as_released_a_step_late():
    """Set at the end of step i from its time t_i for step i + 1; off once 99 % of the steps are over."""
    settings = SyncMVDSettings()
    times = [float(t) for t in range(958, 0, -33)]
    scales = [control_scale(settings, i, times, 1000) for i in range(30)]
    assert scales[0] == 0.7 and scales[29] == 0.0
    for i in range(1, 29):
        share = (1 - times[i - 1] / 1000) / 0.99
        assert scales[i] == pytest.approx(share * 0.7 + (1 - share) * 0.9)
    whole = SyncMVDSettings(control_start=1.0, control_end=1.0, control_until=1.0)
    assert [control_scale(whole, i, times[:8], 1000) for i in range(8)] == [1.0] * 8


def test_the_last_step_ends_at_the_clean_estimate(full_backbone):
    """DDPM's last transition goes to alpha-bar 1, not to that of the first training step."""
    scheduler = make_scheduler(full_backbone.scheduler_config, "ddim", 30, PRESET.spacing, PRESET.last_signal)
    assert signal_level(scheduler, 30) == 1.0
    clean, noise = torch.randn(2, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    mean, spread = ddim_posterior(scheduler, clean, noise, 29, 1.0)
    assert spread == 0 and torch.equal(mean, clean)


def test_denoises_all_views_together_and_repeats(full_backbone, ball):
    method = syncmvd(full_backbone, **SMALL, steps=3, rig="front_4view")
    result = method(ball, "a cat", 0)
    assert result.calls == {"unet": 12, "controlnet": 12}
    assert result.painted.mean() > 0.8 and bool(result.texture.isfinite().all())
    assert torch.equal(method(ball, "a cat", 0).texture, result.texture)
    assert not torch.equal(method(ball, "a cat", 1).texture, result.texture)


def test_the_step_on_the_texture_is_the_posterior_of_ddpm(full_backbone):
    """Written as the paper does: from the clean texture, the noisy one, and a texture of noise."""
    method = syncmvd(full_backbone, **SMALL)
    scheduler = make_scheduler(full_backbone.scheduler_config, "ddim", PRESET.steps)
    clean, texture, noise = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    for i in (0, 11, 22):
        a, before = (scheduler.alphas_cumprod[int(scheduler.timesteps[k])] for k in (i, i + 1))
        alpha, beta = a / before, 1 - a / before
        mean = before.sqrt() * beta / (1 - a) * clean + alpha.sqrt() * (1 - before) / (1 - a) * texture
        expected = mean + ((1 - before) / (1 - a) * beta).sqrt() * noise
        stepped = method._texture_step(scheduler, clean, texture, i, lambda *_: noise)
        torch.testing.assert_close(stepped, expected, atol=1e-4, rtol=1e-4)

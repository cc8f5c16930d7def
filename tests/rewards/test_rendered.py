"""An image score over fixed cameras, with the tiny real CLIP and a real render."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from reference.tiny_painter import tetrahedron

from rewards.base import Textured, TextureReward, training_reward
from rewards.preference.clip_score import CLIPScore
from rewards.rendered import GREY, REWARD_RIG, WHITE, Jitter, RenderedReward
from texgen.finetune.items import TrainingItem
from texgen.render.cameras import rig_cameras
from texgen.render.images import geometry_buffer, render


@pytest.fixture(scope="module")
def score(clip_folder):
    return CLIPScore.load(clip_folder)


def textured(mesh, seed=0):
    texture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return Textured(mesh, texture, torch.ones(1, 32, 32), "a red pyramid")


def test_value_and_gradient_are_the_mean_over_views_and_backgrounds(score):
    mesh = tetrahedron()
    reward = RenderedReward(score, size=48, backgrounds=(WHITE, GREY), supersample=2)
    ours = textured(mesh)
    ours.texture.requires_grad_()
    value = reward(ours)
    value.backward()
    plain = textured(mesh)
    plain.texture.requires_grad_()
    cameras, total = rig_cameras(REWARD_RIG), 0.0
    for i in range(len(cameras)):
        for colour in (WHITE, GREY):
            image, _ = render(mesh, plain.texture, cameras[i], 48, background=colour, supersample=2)
            total = total + score(image, [plain.prompt])[0]
    expected = total / (2 * len(cameras))
    expected.backward()
    torch.testing.assert_close(value, expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.texture.grad, plain.texture.grad, atol=1e-7, rtol=1e-3)
    assert ours.texture.grad.abs().max() > 0


def test_the_background_is_part_of_the_score(score):
    one = textured(tetrahedron())
    white = RenderedReward(score, size=48)
    both = RenderedReward(score, size=48, backgrounds=(WHITE, GREY)).per_view(one)
    assert both.shape == (6, 2)
    torch.testing.assert_close(both[:, 0].mean(), white(one))
    assert not torch.allclose(both[:, 0], both[:, 1])


def test_what_cameras_see_is_kept_per_mesh_and_bounded(score):
    reward = RenderedReward(score, size=32, cache=1)
    first, second = tetrahedron(), tetrahedron()
    value = reward(textured(first))
    kept = reward._buffer(first, torch.zeros(3, 1, 1))
    assert reward._buffer(first, torch.zeros(3, 1, 1)) is kept
    reward(textured(second))
    assert reward._buffer(first, torch.zeros(3, 1, 1)) is not kept
    assert len(reward._buffers) == 1
    assert torch.equal(reward(textured(first)), value)


def test_it_takes_over_the_description_of_the_score(score):
    reward = RenderedReward(score, size=32)
    assert isinstance(reward, TextureReward)
    assert (reward.name, reward.version) == ("rendered_clipscore", score.version)
    assert len(reward.cameras) == 6
    with pytest.raises(ValueError, match="background"):
        RenderedReward(score, backgrounds=())


def test_the_adapter_for_training_calls_the_reward_and_maximises(score):
    mesh = tetrahedron()
    one = textured(mesh)
    item = TrainingItem(mesh, one.prompt)
    reward = RenderedReward(score, size=32)
    value = training_reward(reward)(one.texture, one.painted, item)
    assert torch.equal(value, reward(one))
    reward.higher_is_better = False
    assert torch.equal(training_reward(reward)(one.texture, one.painted, item), -value)


def test_jitter_moves_views_only_where_there_is_a_draw(score):
    mesh = tetrahedron()
    jitter = Jitter(azimuth=20.0, elevation=10.0, distance=0.1, background=1.0)
    reward, still = RenderedReward(score, size=32, jitter=jitter), RenderedReward(score, size=32)
    one = textured(mesh)
    assert torch.equal(reward(one), still(one))  # measurements look from the cameras as they are
    drawn = [reward(replace(one, draw=(seed,))) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[0], still(one))
    assert torch.equal(still(replace(one, draw=(1,))), still(one))
    judge = training_reward(reward)
    item = TrainingItem(mesh, one.prompt)
    assert torch.equal(judge.drawn((1,))(one.texture, one.painted, item), drawn[0])
    assert torch.equal(judge(one.texture, one.painted, item), still(one))


def test_jitter_stays_within_its_bounds():
    cameras = rig_cameras(REWARD_RIG)
    jitter = Jitter(azimuth=15.0, elevation=80.0, distance=0.2, background=0.25)
    moves = []
    for seed in range(20):
        moved = jitter.cameras(cameras, torch.Generator().manual_seed(seed))
        moves.append((moved.azimuth - cameras.azimuth).abs())
        assert moved.elevation.abs().max() <= 89.9
        assert ((moved.distance / cameras.distance - 1).abs() <= 0.2 + 1e-6).all()
        colour = jitter.colour(WHITE, torch.Generator().manual_seed(seed))
        assert all(0.75 <= channel <= 1 for channel in colour)
    assert 10 < torch.stack(moves).max() <= 15 + 1e-4
    with pytest.raises(ValueError, match="background is 2"):
        Jitter(background=2)


def test_the_published_views_are_cropped_to_the_object_and_scaled_bilinearly(score):
    """Render at `size`, cut out the square around the object times 1.1, scale it, scale it for the scorer."""
    mesh, size = tetrahedron(), 64
    seen = []

    def noting(images, prompts):
        seen.append(images)
        return score(images, prompts)

    noting.name, noting.higher_is_better, noting.typical_range, noting.version = "x", True, (0, 1), "1"
    one = textured(mesh)
    reward = RenderedReward(noting, size=size, supersample=2, crop=True, judged_size=28)
    value = reward(one)
    assert seen[0].shape == (6, 3, 28, 28)
    cameras = rig_cameras(REWARD_RIG)
    for i in range(len(cameras)):
        image, _ = render(mesh, one.texture, cameras[i], size, background=WHITE, supersample=2)
        covered = F.max_pool2d(geometry_buffer(mesh, cameras[i], 2 * size).mask, 2)[0, 0]
        rows, columns = covered.amax(1).nonzero()[:, 0], covered.amax(0).nonzero()[:, 0]
        side = math.ceil(1.1 * max(int(rows[-1] - rows[0]), int(columns[-1] - columns[0])) + 1.1)
        top = round((int(rows[0]) + int(rows[-1]) + 1 - side) / 2)
        left = round((int(columns[0]) + int(columns[-1]) + 1 - side) / 2)
        assert min(top, left) >= 0 and side < size
        part = image[:, :, top : top + side, left : left + side]
        for target in (size, 28):
            part = F.interpolate(part, size=(target, target), mode="bilinear", align_corners=False)
        torch.testing.assert_close(seen[0][i : i + 1], part)
    assert not torch.allclose(value, RenderedReward(score, size=size, supersample=2)(one))
    moved = RenderedReward(noting, size=size, crop=True, jitter=Jitter(azimuth=20.0))
    assert moved(replace(one, draw=(1,))).isfinite()


def test_pixel_noise_is_a_part_of_the_jitter(score):
    noisy = RenderedReward(score, size=32, jitter=Jitter(noise=0.05))
    one = textured(tetrahedron())
    assert torch.equal(noisy(one), RenderedReward(score, size=32)(one))
    drawn = [noisy(replace(one, draw=(seed,))) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])

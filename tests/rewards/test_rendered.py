"""An image score over fixed cameras, with the tiny real CLIP and a real render."""

import pytest
import torch

from rewards.base import Textured, TextureReward, training_reward
from rewards.preference.clip_score import CLIPScore
from rewards.rendered import GREY, REWARD_RIG, WHITE, RenderedReward
from texgen.cameras import rig_cameras
from texgen.finetune.trainer import TrainingItem
from texgen.mesh import Mesh
from texgen.render import render


def tetrahedron():
    vertices = torch.tensor([[0.0, 0.7, 0.0], [-0.8, -0.6, 0.5], [0.8, -0.6, 0.5], [0.0, -0.6, -0.8]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    corner = torch.tensor([[0.05, 0.05], [0.45, 0.05], [0.05, 0.45]])
    offsets = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [0.5, 0.5]])
    uvs = (corner[None] + offsets[:, None]).reshape(-1, 2)
    normals = torch.nn.functional.normalize(vertices, dim=-1)
    return Mesh("tetra", vertices, faces, uvs, torch.arange(12).reshape(4, 3), normals, torch.zeros(3), 1.0)


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

"""The weighted sum of standardised rewards, over real rewards of one textured mesh."""

import pytest
import torch

from rewards.base import Textured, TextureReward
from rewards.composite import Composite, Term
from rewards.preference.aesthetic import Aesthetic
from rewards.preference.clip_score import CLIPScore
from rewards.rendered import RenderedReward
from texgen.mesh.mesh import Mesh
from texgen.render.cameras import rig_cameras


@pytest.fixture(scope="module")
def parts(clip_folder, head_folder):
    camera = rig_cameras("tilted_short")[0]
    text = RenderedReward(CLIPScore.load(clip_folder), camera, size=32)
    look = RenderedReward(Aesthetic.load(clip_folder, head_folder), camera, size=32)
    vertices = torch.tensor([[-0.8, -0.8, 0.0], [0.8, -0.8, 0.0], [0.0, 0.8, 0.0]])
    faces = torch.tensor([[0, 1, 2]])
    uvs = torch.tensor([[0.1, 0.1], [0.9, 0.1], [0.5, 0.9]])
    normals = torch.tensor([[0.0, 0.0, 1.0]]).expand(3, 3)
    mesh = Mesh("triangle", vertices, faces, uvs, faces, normals, torch.zeros(3), 1.0)
    texture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    return text, look, Textured(mesh, texture, torch.ones(1, 16, 16), "a blue triangle")


def test_value_and_gradient_are_the_standardised_sum(parts):
    text, look, textured = parts
    composite = Composite([Term(text, 2.0, mean=0.1, std=0.05), Term(look, 0.5, mean=5.0, std=0.4)])
    assert isinstance(composite, TextureReward)
    texture = textured.texture.clone().requires_grad_()
    ours = composite(Textured(textured.mesh, texture, textured.painted, textured.prompt))
    gradient = torch.autograd.grad(ours, texture)[0]
    texture = textured.texture.clone().requires_grad_()
    plain = Textured(textured.mesh, texture, textured.painted, textured.prompt)
    expected = 2.0 * (text(plain) - 0.1) / 0.05 + 0.5 * (look(plain) - 5.0) / 0.4
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, texture)[0], atol=1e-6, rtol=1e-4)
    assert set(composite.parts(textured)) == {"rendered_clipscore", "rendered_aesthetic"}


def test_lower_is_better_turns_the_sign(parts):
    text, _, textured = parts
    up = Composite([Term(text, 1.0, mean=0.2, std=0.1)])
    text.higher_is_better = False
    try:
        down = Composite([Term(text, 1.0, mean=0.2, std=0.1)])
        value = down(textured)
        assert down.typical_range == pytest.approx((-2.0, 1.0))
    finally:
        text.higher_is_better = True
    assert float(value) == pytest.approx(-float(up(textured)), abs=1e-6)


def test_range_name_and_version_describe_the_terms(parts):
    text, look, _ = parts
    composite = Composite([Term(text, 1.0, mean=0.1, std=0.1), Term(look, -1.0, mean=5.0, std=1.0)])
    assert composite.typical_range == pytest.approx((0.0 - 3.0, 3.0 + 2.0))
    assert composite.name == "rendered_clipscore+rendered_aesthetic"
    assert text.version in composite.version and look.version in composite.version


def test_bad_terms_are_reported(parts):
    with pytest.raises(ValueError, match="at least one term"):
        Composite([])
    with pytest.raises(ValueError, match="std is 0"):
        Composite([Term(parts[0], std=0)])

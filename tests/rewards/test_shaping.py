"""Hinge and target around a real reward."""

import pytest
import torch
from reference.known_shapes import torus

from rewards.base import NotApplicable, Textured, TextureReward, training_reward
from rewards.composite import Composite, Term
from rewards.geometric.alignment import GeometryTextureAlignment
from rewards.geometric.symmetry import Symmetry
from rewards.shaping import Shaped
from texgen.finetune.items import TrainingItem
from texgen.geometry.prepared import prepare_geometry


@pytest.fixture(scope="module")
def ring():
    mesh = torus()
    geometry = prepare_geometry(mesh, 32, radius=2)
    texture = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    return Textured(mesh, texture, geometry.atlas.mask, "a ring", geometry)


def slope(reward, textured):
    texture = textured.texture.clone().requires_grad_()
    value = reward(Textured(textured.mesh, texture, textured.painted, textured.prompt, textured.geometry))
    (gradient,) = torch.autograd.grad(value, texture)
    return value.detach(), gradient


def test_a_hinge_gains_nothing_beyond_its_target(ring):
    plain = GeometryTextureAlignment()
    value, gradient = slope(plain, ring)
    below, same = slope(Shaped(plain, float(value) + 0.1), ring)
    assert torch.allclose(below, value) and torch.equal(same, gradient)
    beyond, none = slope(Shaped(plain, float(value) - 0.1), ring)
    assert float(beyond) == pytest.approx(float(value) - 0.1) and not none.any()


def test_a_hinge_on_an_error_works_downwards(ring):
    plain = Symmetry()
    value, gradient = slope(plain, ring)
    shaped = Shaped(plain, float(value) - 0.1)
    assert isinstance(shaped, TextureReward) and not shaped.higher_is_better
    above, same = slope(shaped, ring)
    assert torch.allclose(above, value) and torch.equal(same, gradient)
    beyond, none = slope(Shaped(plain, float(value) + 0.1), ring)
    assert float(beyond) == pytest.approx(float(value) + 0.1) and not none.any()


def test_a_target_is_approached_from_both_sides(ring):
    plain = Symmetry()
    value, gradient = slope(plain, ring)
    for target, side in ((float(value) + 0.2, 1), (float(value) - 0.3, -1)):
        shaped = Shaped(plain, target, "target")
        assert shaped.higher_is_better
        result, direction = slope(shaped, ring)
        assert float(result) == pytest.approx(-abs(float(value) - target), abs=1e-6)
        torch.testing.assert_close(direction, side * gradient)


def test_ranges_and_versions_follow():
    plain = GeometryTextureAlignment()
    assert Shaped(plain, 0.6).typical_range == pytest.approx((0.0, 0.6))
    assert Shaped(plain, 0.6, "target").typical_range == pytest.approx((-0.6, 0.0))
    assert Shaped(plain, 2.0, "target").typical_range == pytest.approx((-2.0, -1.0))
    assert Shaped(Symmetry(), 0.2).typical_range == pytest.approx((0.2, 1.0))
    versions = {Shaped(plain, 0.6).version, Shaped(plain, 0.7).version, Shaped(plain, 0.6, "target").version}
    assert len(versions | {plain.version}) == 4
    with pytest.raises(ValueError, match="alignment.*'box'"):
        Shaped(plain, 0.6, "box")


def test_a_refusal_reaches_the_trainer(ring):
    """Of a sum one term of which cannot judge a mesh, the reason comes out."""
    aligned, symmetric = GeometryTextureAlignment(), Shaped(Symmetry(max_residual=1e-9), 0.2)
    item = TrainingItem(ring.mesh, "a ring", ring.geometry)
    assert training_reward(aligned).refusal(item) is None
    reason = training_reward(Composite([Term(aligned), Term(symmetric)])).refusal(item)
    assert "mirror plane" in reason
    with pytest.raises(NotApplicable):
        symmetric(ring)

"""What every geometric reward promises: padding is not read, gradients are right, flat coats earn nothing."""

from dataclasses import replace

import pytest
import torch
from reference.known_shapes import box, torus

from rewards.base import NotApplicable, Textured, TextureReward
from rewards.geometric.alignment import GeometryTextureAlignment
from rewards.geometric.colourisation import VARIANTS, Colourisation
from rewards.geometric.emphasis import TextureEmphasis
from rewards.geometric.symmetry import Symmetry
from texgen.geometry.prepared import prepare_geometry

SIZE = 64
MAKERS = {
    "alignment": GeometryTextureAlignment,
    "symmetry": Symmetry,
    "emphasis": lambda **options: TextureEmphasis(**{"cell": 0.25} | options),
    **{variant: lambda variant=variant, **options: Colourisation(variant, **options) for variant in VARIANTS},
}
CASES = [(name, form) for name in MAKERS for form in ("corrected", "released")]


@pytest.fixture(scope="module")
def ring():
    mesh = torus()
    return mesh, prepare_geometry(mesh, SIZE, radius=2)


def make(name, form, **options):
    return MAKERS[name](form=form, **options)


def noise(seed, dtype=torch.float32):
    return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def judge(reward, scene, texture, painted=None):
    mesh, geometry = scene
    painted = torch.ones(1, SIZE, SIZE) if painted is None else painted
    return reward(Textured(mesh, texture, painted, "a ring", geometry))


@pytest.mark.parametrize(("name", "form"), CASES)
def test_padding_changes_neither_value_nor_gradient(ring, name, form):
    reward, mask = make(name, form), ring[1].atlas.mask
    inside = noise(0)
    results = []
    for outside in (torch.zeros(3, SIZE, SIZE), noise(1)):
        texture = torch.where(mask > 0, inside, outside).requires_grad_()
        painted = torch.where(mask > 0, torch.ones_like(mask), outside[:1])
        value = judge(reward, ring, texture, painted)
        value.backward()
        results.append((value.detach(), texture.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not (results[0][1] * (1 - mask)).any() and results[0][1].abs().max() > 0


@pytest.mark.parametrize(("name", "form"), CASES)
def test_gradient_equals_finite_differences(ring, name, form):
    reward = make(name, form)
    texture = (0.2 + 0.6 * noise(2, torch.float64)).requires_grad_()
    value = judge(reward, ring, texture)
    assert value.dtype == torch.float64 and value.dim() == 0
    (gradient,) = torch.autograd.grad(value, texture)
    for seed in (3, 4):
        direction = noise(seed, torch.float64) - 0.5
        step = 1e-5
        ends = [judge(reward, ring, texture.detach() + side * step * direction) for side in (1, -1)]
        slope = float(ends[0] - ends[1]) / (2 * step)
        assert float((gradient * direction).sum()) == pytest.approx(slope, rel=2e-4, abs=1e-8)


@pytest.mark.parametrize("name", MAKERS)
def test_a_flat_texture_never_wins(ring, name):
    """One coat of any colour is worth no more than colours that have nothing to do with the mesh."""
    reward = make(name, "corrected", **({"colour_weight": 0.0} if name == "emphasis" else {}))
    sign = 1 if reward.higher_is_better else -1
    nothing = 0.0 if reward.higher_is_better else -1.0
    for colour in ([0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]):
        texture = torch.tensor(colour)[:, None, None].expand(3, SIZE, SIZE).clone().requires_grad_()
        value = judge(reward, ring, texture)
        assert sign * float(value.detach()) <= nothing + 1e-5
        value.backward()
        assert texture.grad.isfinite().all()


def test_a_flat_texture_is_perfect_for_the_released_symmetry(ring):
    assert judge(make("symmetry", "released"), ring, torch.full((3, SIZE, SIZE), 0.3)) < 1e-12


@pytest.mark.parametrize("name", ["alignment", "symmetry", "emphasis", "smooth", "sharp"])
def test_unrelated_colours_are_at_chance_level(ring, name):
    """Random waves in space, carved out by the surface. (Noise per texel would know the charts' stretch.)"""
    expected = {"alignment": 0.5, "symmetry": 1.0}.get(name, 0.0)
    values = []
    for seed in range(4):
        random = torch.Generator().manual_seed(seed)
        waves = torch.nn.functional.normalize(torch.randn(3, 40, 3, generator=random), dim=-1) * 14
        phase = 6.3 * torch.rand(3, 40, generator=random)
        angle = torch.einsum("hwx,ckx->chwk", ring[1].atlas.position, waves) + phase[:, None, None]
        values.append(float(judge(make(name, "corrected"), ring, 0.5 + 0.05 * angle.sin().sum(-1))))
    assert sum(values) / len(values) == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_not_painted_does_not_count(ring, name):
    reward, half = make(name, "corrected"), torch.zeros(1, SIZE, SIZE)
    half[:, : SIZE // 2 + 4] = 1
    texture = noise(7).requires_grad_()
    painted = half.clone().requires_grad_()
    value = judge(reward, ring, texture, painted)
    value.backward()
    assert painted.grad is None  # coverage is no way to a better reward
    assert not texture.grad[:, SIZE // 2 + 5 :].any() and texture.grad.abs().max() > 0
    spoiled = torch.where(half > 0, texture.detach(), noise(8))
    assert judge(reward, ring, spoiled, half) == value
    assert judge(reward, ring, texture.detach(), torch.zeros_like(half)).isfinite()


@pytest.mark.parametrize("name", MAKERS)
def test_where_charts_lie_does_not_matter(name):
    """A box with its six charts in two orders: the same colours on the surface, the same reward."""
    values = []
    for places in ((0, 1, 2, 3, 4, 5), (4, 2, 5, 0, 3, 1)):
        mesh = box(places=places)
        geometry = prepare_geometry(mesh, SIZE, radius=2)
        wave = torch.sin(
            geometry.atlas.position @ torch.randn(3, 3, generator=torch.Generator().manual_seed(1)) * 5
        )
        texture = (0.5 + 0.4 * wave).movedim(-1, 0) * geometry.atlas.mask
        values.append(float(judge(make(name, "corrected"), (mesh, geometry), texture)))
    assert values[0] == pytest.approx(values[1], abs=2e-3)


@pytest.mark.parametrize(("name", "form"), CASES)
def test_it_describes_itself_and_refuses_what_it_cannot_judge(ring, name, form):
    mesh, geometry = ring
    reward = make(name, form)
    assert (
        isinstance(reward, TextureReward) and reward.form == form and form in (reward.version + "corrected")
    )
    reward.check(mesh, geometry)
    with pytest.raises(ValueError, match="prepared geometry"):
        reward(Textured(mesh, noise(0), torch.ones(1, SIZE, SIZE), "x"))
    with pytest.raises(ValueError, match="32 texels"):
        reward(Textured(mesh, torch.zeros(3, 32, 32), torch.ones(1, 32, 32), "x", geometry))
    with pytest.raises(ValueError, match="form"):
        make(name, "improved")


def test_versions_tell_settings_apart():
    versions = [make(name, form).version for name, form in CASES]
    versions += [Symmetry(detail=0.3).version, Symmetry(max_residual=0.1).version]
    versions += [TextureEmphasis(cell=0.2).version, Colourisation(split=0.6).version]
    assert len(set(versions)) >= len(versions) - 3  # names tell rewards of equal settings apart


def test_meshes_without_the_property_are_named(ring):
    mesh, geometry = ring
    crooked = replace(geometry, plane=replace(geometry.plane, residual=0.05))
    with pytest.raises(NotApplicable, match="'torus'.*0.0500 of the diagonal, more than 0.01"):
        Symmetry().check(mesh, crooked)
    Symmetry(max_residual=0.06).check(mesh, crooked)
    even = replace(geometry, mean_curvature=geometry.atlas.mask * 1.3)
    for reward in (TextureEmphasis(), Colourisation()):
        with pytest.raises(NotApplicable, match="the same everywhere"):
            reward.check(mesh, even)

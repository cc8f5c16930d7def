"""Symmetry on a torus, whose chart mirrors u to 1 - u, and against plain loops."""

from dataclasses import replace

import pytest
import torch
from reference.known_shapes import torus

from rewards.base import Textured
from rewards.geometric.surface import look_up
from rewards.geometric.symmetry import Symmetry, mirror_field, texel_pairs
from texgen.geometry.prepared import prepare_geometry
from texgen.geometry.symmetry import MirrorPatches

SIZE = 64


@pytest.fixture(scope="module")
def ring():
    mesh = torus()
    return mesh, prepare_geometry(mesh, SIZE, radius=2)


def judge(scene, texture, **options):
    mesh, geometry = scene
    return Symmetry(**options)(Textured(mesh, texture, geometry.atlas.mask, "a ring", geometry))


def paint(scene, odd=0.0, even=0.4):
    """Colours that are even or odd in x; each channel other waves."""
    x, _, z = scene[1].atlas.position.unbind(-1)
    channels = [
        even * torch.cos(9 * x) * torch.sin(4 * z + k) + odd * torch.sin((6 + k) * x) * torch.cos(3 * z)
        for k in range(3)
    ]
    return 0.5 + torch.stack(channels)


def test_mirrored_colours_have_no_error_and_opposite_ones_two(ring):
    assert judge(ring, paint(ring)) < 0.04
    assert judge(ring, paint(ring, odd=0.4, even=0.0)) > 1.9
    assert judge(ring, paint(ring, odd=0.4, even=0.4)) == pytest.approx(0.9, abs=0.3)
    noise = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert judge(ring, noise) == pytest.approx(1.0, abs=0.1)
    flipped = (noise + noise.flip(2)) / 2  # the chart is its own mirror image
    assert judge(ring, flipped) < 0.05


def test_contrast_does_not_matter_until_it_is_too_faint(ring):
    texture = paint(ring, odd=0.1, even=0.3)
    value = float(judge(ring, texture))
    assert float(judge(ring, 0.5 + 0.5 * (texture - 0.5))) == pytest.approx(value, abs=0.03)
    assert judge(ring, 0.5 + 0.001 * (texture - 0.5)) > 0.95
    assert judge(ring, torch.full((3, SIZE, SIZE), 0.7)) == pytest.approx(1.0, abs=1e-5)


def test_layout_and_detail_are_told_apart(ring):
    """Broad colours mirrored, fine ones not: contrast of the broad ones does not excuse the fine ones."""
    x, _, z = ring[1].atlas.position.unbind(-1)
    broad = 0.5 + 0.3 * torch.cos(2 * z).expand(3, -1, -1)
    fine = 0.1 * torch.sin(60 * x + 1).expand(3, -1, -1)
    assert judge(ring, broad + fine, detail=0.0) < 0.1
    assert judge(ring, broad + fine, detail=1.0) > 0.3
    assert judge(ring, broad + 0.1 * torch.cos(60 * x), detail=1.0) < 0.2


def test_value_and_gradient_equal_a_plain_loop_over_patches(ring):
    mesh, geometry = ring
    few = MirrorPatches(*(getattr(geometry.patches, name)[:30] for name in ("uv", "mirror_uv", "valid")))
    geometry = replace(geometry, patches=few)
    texture = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)).double()
    painted = (
        torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(2)).double() * geometry.atlas.mask
    )
    ours, plain = texture.clone().requires_grad_(), texture.clone().requires_grad_()
    reward = Symmetry(detail=0.3)
    value = reward(Textured(mesh, ours, painted, "a ring", geometry))
    expected = plain_error(mirror_field(mesh, geometry, 0.01), plain, painted, 0.3, reward.floor)
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, plain.grad)


def plain_error(field, texture, painted, w, floor):
    here, there = look_up(texture, field.here), look_up(texture, field.there)
    means, weights = [], []
    covariance = variance = total = 0.0
    for patch in range(int(field.patch.max()) + 1):
        members = (field.patch == patch).nonzero()[:, 0].tolist()
        cover = []
        for n in members:
            taps = [(t, k) for t in (field.here, field.there) for k in range(4) if t.weight[n, k] > 0]
            cover.append(min(painted.reshape(-1)[t.index[n, k]] for t, k in taps))
        cover = torch.stack(cover)
        a, b = here[:, members], there[:, members]
        mean_a, mean_b = (a * cover).sum(1) / cover.sum(), (b * cover).sum(1) / cover.sum()
        covariance = covariance + (cover * (a - mean_a[:, None]) * (b - mean_b[:, None])).sum()
        variance = variance + (cover * ((a - mean_a[:, None]) ** 2 + (b - mean_b[:, None]) ** 2)).sum()
        total = total + cover.sum()
        means.append(torch.stack((mean_a, mean_b)))
        weights.append(cover.sum())
    detail = 2 * covariance / (variance + floor * total)
    weight = torch.stack(weights) / total
    a, b = torch.stack(means).unbind(1)  # [P, 3] each
    centre_a, centre_b = (weight[:, None] * a).sum(0), (weight[:, None] * b).sum(0)
    cov = (weight[:, None] * (a - centre_a) * (b - centre_b)).sum()
    spread = (weight[:, None] * ((a - centre_a) ** 2 + (b - centre_b) ** 2)).sum()
    layout = 2 * cov / (spread + ((centre_a - centre_b) ** 2).sum() + floor)  # Lin's concordance
    return 1 - (1 - w) * layout - w * detail


def test_the_released_form_is_the_squared_difference_of_texel_patches(ring):
    mesh, geometry = ring
    pairs = texel_pairs(mesh, geometry)
    assert pairs.here.shape == pairs.there.shape and pairs.here.shape[1] == 9 and len(pairs.here) > 100
    texture = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    total = 0.0
    for here, there in zip(pairs.here.tolist(), pairs.there.tolist(), strict=True):
        for a, b in zip(here, there, strict=True):
            total += (
                float((texture[:, a // SIZE, a % SIZE] - texture[:, b // SIZE, b % SIZE]).square().mean()) / 9
            )
    assert float(judge(ring, texture, form="released")) == pytest.approx(total / len(pairs.here), rel=1e-4)
    positions = geometry.atlas.position.reshape(-1, 3)
    distance = (positions[pairs.here[:, 4]] + positions[pairs.there[:, 4]]).norm(dim=-1)
    assert distance.isfinite().all()
    assert not Symmetry(form="released").higher_is_better


def test_settings_are_checked():
    with pytest.raises(ValueError, match="detail is 2"):
        Symmetry(detail=2)
    with pytest.raises(ValueError, match="min_contrast"):
        Symmetry(min_contrast=0.0)

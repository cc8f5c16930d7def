"""Symmetry on a torus, whose chart mirrors u to 1 - u, and against plain loops."""

from dataclasses import replace

import pytest
import torch
from reference.known_shapes import box, torus

from rewards.base import Textured
from rewards.geometric.surface import look_up
from rewards.geometric.symmetry import (
    Symmetry,
    mirror_field,
    released_field,
    released_pairs,
    released_plane,
    released_points,
)
from texgen.geometry.mirror_plane import MirrorPatches
from texgen.geometry.prepared import prepare_geometry

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


def test_the_released_form_is_the_squared_difference_of_bilinear_patches(ring):
    """3 x 3 places, a texel apart, each looked up bilinearly, around the uv of vertex and mirror image."""
    mesh, geometry = ring
    field = released_field(mesh, geometry)
    assert field.here.index.shape == field.there.index.shape and field.here.index.shape[0] % 9 == 0
    pairs = field.here.index.shape[0] // 9
    assert pairs > 100
    texture = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    centres = released_pairs(mesh)
    kept = field.kept.nonzero()[:, 0]
    assert len(kept) == pairs
    total = 0.0
    for n in kept.tolist():
        for i in (-1, 0, 1):
            for j in (-1, 0, 1):
                a, b = (bilinear(texture, uv[n] * SIZE - 0.5 + torch.tensor([j, i])) for uv in centres)
                total += float((a - b).square().mean()) / 9
    assert float(judge(ring, texture, form="released")) == pytest.approx(total / pairs, rel=1e-4)
    assert not Symmetry(form="released").higher_is_better


def bilinear(texture, place):
    (x, y), (left, low) = place.tolist(), place.floor().long().tolist()
    value = 0.0
    for row in (low, low + 1):
        for column in (left, left + 1):
            value = value + (1 - abs(x - column)) * (1 - abs(y - row)) * texture[:, row, column]
    return value


def test_the_released_plane_counts_a_vertex_once_for_each_of_its_uvs():
    """A box cut into charts: published meshes are split where uvs are, which weighs what lies at seams."""
    mesh = box(sides=(0.8, 0.6, 1.0), cells=2)
    points = set(zip(mesh.faces.flatten().tolist(), mesh.uv_faces.flatten().tolist(), strict=True))
    split = torch.stack([mesh.vertices[v] for v, _ in sorted(points)]).double()
    assert len(split) > len(mesh.vertices)
    centre = split.mean(0)
    normal = torch.linalg.eigh((split - centre).T @ (split - centre))[1][:, 0]
    found, offset = released_plane(mesh)
    assert abs(float(found @ normal)) == pytest.approx(1.0) and abs(offset) == pytest.approx(
        abs(float(normal @ centre)), abs=1e-9
    )
    # The uvs of one chart of the six are pulled apart, face by face: its vertices count more often.
    faces = mesh.uv_faces.clone()
    own = (faces < 9).all(-1)
    uvs = torch.cat([mesh.uvs, mesh.uvs[faces[own].flatten()]])
    faces[own] = torch.arange(len(mesh.uvs), len(uvs)).reshape(-1, 3)
    same = replace(mesh, uvs=uvs, uv_faces=faces)
    assert len(released_points(same)[0]) == len(split)  # one uv under several numbers is one
    shift = torch.linspace(0, 1e-3, len(uvs) - len(mesh.uvs))[:, None]
    moved = replace(same, uvs=torch.cat([mesh.uvs, uvs[len(mesh.uvs) :] + shift]))
    assert len(released_points(moved)[0]) > len(split)
    assert abs(float(released_plane(moved)[0] @ found)) < 0.9995


def test_settings_are_checked():
    with pytest.raises(ValueError, match="detail is 2"):
        Symmetry(detail=2)
    with pytest.raises(ValueError, match="min_contrast"):
        Symmetry(min_contrast=0.0)

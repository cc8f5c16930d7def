"""Emphasis on a torus: its outer side bends more than its inner side, by a known amount."""

import numpy as np
import pytest
import torch
from reference.known_shapes import outwardness, torus

from rewards.base import Textured
from rewards.geometric.emphasis import (
    TextureEmphasis,
    colourfulness,
    emphasis_field,
    min_max,
    released_field,
)
from rewards.geometric.surface import chart_labels, luma_derivative, quadratic, texel_charts
from texgen.geometry.prepared import prepare_geometry

SIZE = 64


@pytest.fixture(scope="module")
def ring():
    mesh = torus()
    return mesh, prepare_geometry(mesh, SIZE, radius=2)


def judge(scene, texture, painted=None, **options):
    mesh, geometry = scene
    painted = geometry.atlas.mask if painted is None else painted
    reward = TextureEmphasis(**{"cell": 0.2, "colour_weight": 0.0} | options)
    return reward(Textured(mesh, texture, painted, "a ring", geometry))


def ripples(scene, strength):
    """Grey waves of one length all over, times a strength [T, T]."""
    x, y, z = scene[1].atlas.position.unbind(-1)
    return (0.5 + 0.4 * strength * torch.sin(25 * x) * torch.sin(25 * z + 1) * torch.cos(20 * y)).expand(
        3, -1, -1
    )


def test_detail_on_the_bent_side_is_rewarded(ring):
    outer = (outwardness(ring[1].atlas.position) + 1) / 2
    faint = {"min_contrast": 0.02, "contrast_floor": 0.1}  # so that the weakest of these ripples count
    assert judge(ring, ripples(ring, outer**2), **faint) > 0.6
    assert judge(ring, ripples(ring, (1 - outer) ** 2), **faint) < -0.6
    outside = (outer > 0.5).float()
    assert judge(ring, ripples(ring, outside)) > 0.3
    assert judge(ring, ripples(ring, 1 - outside)) < -0.6
    assert judge(ring, torch.full((3, SIZE, SIZE), 0.4)).abs() < 1e-9


def test_the_target_follows_the_formula_of_the_torus(ring):
    mesh, geometry = ring
    field = emphasis_field(mesh, geometry, 0.2)
    t = outwardness(geometry.atlas.position).reshape(-1)[field.texel]
    mean = torch.zeros(len(field.target)).index_add(0, field.cell, t) / torch.bincount(field.cell)
    assert np.corrcoef(mean, field.target)[0, 1] > 0.97  # |H| rises from the inner to the outer side
    assert field.target.min() == 0 and field.target.max() == 1


def test_cells_are_small_and_cover_the_surface(ring):
    mesh, geometry = ring
    field = emphasis_field(mesh, geometry, 0.2)
    assert torch.equal(field.cell.unique(), torch.arange(len(field.target)))
    place = geometry.atlas.position.reshape(-1, 3)[field.texel]
    extent = [np.ptp(place[field.cell == k].numpy(), axis=0).max() for k in range(len(field.target))]
    assert max(extent) < 0.5 and np.mean(extent) < 0.3
    labels = texel_charts(chart_labels(mesh), geometry.atlas.face)
    assert (labels.reshape(-1)[field.texel] >= 0).all()


def test_faint_patterns_count_little(ring):
    outer = (outwardness(ring[1].atlas.position) + 1) / 2
    strong, faint = (judge(ring, ripples(ring, scale * outer**2)) for scale in (1.0, 0.001))
    assert 0 <= faint < 0.2 < strong


def test_value_and_gradient_equal_a_plain_loop_over_cells(ring):
    mesh, geometry = ring
    texture = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()
    painted = (geometry.atlas.mask > 0).double()
    ours, plain = texture.clone().requires_grad_(), texture.clone().requires_grad_()
    reward = TextureEmphasis(cell=0.3, colour_weight=0.1)
    value = reward(Textured(mesh, ours, painted, "a ring", geometry))
    field = emphasis_field(mesh, geometry, 0.3)
    derivative = luma_derivative(plain).flatten(1)[:, field.texel]
    slope = quadratic(field.energy, derivative)
    f, areas = [], []
    for k in range(len(field.target)):
        members = field.cell == k
        area = field.area[members]
        f.append(0.5 * torch.log(1 + (area * slope[members]).sum() / area.sum() / reward.floor))
        areas.append(area.sum())
    w = torch.stack(areas) / torch.stack(areas).sum()
    f, t = torch.stack(f), field.target
    f, t = f - (w * f).sum(), t - (w * t).sum()
    expected = (w * f * t).sum() / torch.sqrt(((w * f * f).sum() + 0.15**2) * (w * t * t).sum())
    expected = expected + 0.1 * colourfulness(plain.flatten(1)[:, field.texel], field.area)
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-8)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-5, atol=1e-9)


def test_colourfulness_is_that_of_hasler_and_suesstrunk():
    rgb = torch.rand(3, 200, generator=torch.Generator().manual_seed(1))
    r, g, b = 255 * rgb.double().numpy()
    rg, yb = r - g, (r + g) / 2 - b
    published = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert 255 * float(colourfulness(rgb.double(), torch.ones(200).double())) == pytest.approx(
        published, rel=1e-4
    )
    grey = torch.full((3, 200), 0.4, requires_grad=True)
    value = colourfulness(grey, torch.ones(200))
    value.backward()
    assert value.detach() < 2e-4 and grey.grad.isfinite().all()


def test_colour_is_a_small_part(ring):
    grey = ripples(ring, torch.ones(SIZE, SIZE))
    tinted = grey + torch.tensor([0.2, 0.0, -0.2])[:, None, None] * torch.sign(ring[1].atlas.position[..., 0])
    gain = judge(ring, tinted, colour_weight=0.02) - judge(ring, tinted)
    assert 0 < gain < 0.02 and judge(ring, grey, colour_weight=0.02) - judge(ring, grey) < gain / 10


def test_the_released_form_is_its_formula():
    mesh, size = torus(), 24
    geometry = prepare_geometry(mesh, size, radius=2)
    texture = torch.rand(3, size, size, generator=torch.Generator().manual_seed(2))
    k_min = geometry.vertex_curvature[:, 0]
    scaled = 2 * (k_min - k_min.min()) / (k_min.max() - k_min.min()) - 1
    m, target, up = [], [], []
    luma = 0.299 * texture[0] + 0.587 * texture[1] + 0.114 * texture[2]
    rows = []
    for i in range(1, size - 1):
        for j in range(1, size - 1):
            if (geometry.atlas.face[i - 1 : i + 2, j - 1 : j + 2] < 0).any():
                continue
            a = luma[i - 1 : i + 2, j - 1 : j + 2]
            across = torch.tensor([1.0, 2.0, 1.0])
            x, y = across @ (a[:, 2] - a[:, 0]) / 8, across @ (a[2] - a[0]) / 8
            m.append((x * x + y * y + 1e-6).sqrt())
            up.append(y / (m[-1] + 1e-6))  # published: top row minus bottom row, and v runs up
            corners = mesh.faces[geometry.atlas.face[i, j]]
            weights = torch.linalg.solve(
                torch.cat((mesh.uvs[mesh.uv_faces[geometry.atlas.face[i, j]]].T, torch.ones(1, 3))),
                torch.tensor([(j + 0.5) / size, (i + 0.5) / size, 1.0]),
            )
            target.append((scaled[corners] * weights).sum())
            rows.append(texture[:, i, j])
    m, up, target, rgb = torch.stack(m), torch.stack(up), torch.stack(target), torch.stack(rows).T
    bent = (target > 0.6).float()  # the mask reads [-1, 1], the magnitude is compared with [0, 1]
    target = min_max(target)
    rg, yb = rgb[0] - rgb[1], (rgb[0] + rgb[1]) / 2 - rgb[2]
    colour = -(rg.std(correction=0) + yb.std(correction=0) + 0.3 * (rg.mean().abs() + yb.mean().abs()))
    loss = (
        (min_max(m) - target).square().mean() + (min_max(up) * bent - bent).square().mean() + 0.001 * colour
    )
    assert float(judge((mesh, geometry), texture, form="released")) == pytest.approx(-float(loss), rel=1e-3)


def test_the_released_form_wants_luma_to_rise_with_v_where_the_surface_bends(ring):
    """One gradient for all signs: of two ramps the one that rises with v pleases the direction term more."""
    mesh, geometry = ring
    bent = released_field(mesh, geometry).curvature > 0.6
    calm = torch.rand(SIZE, SIZE, generator=torch.Generator().manual_seed(4)) * 0.5
    up = torch.linspace(0, 1, SIZE)[:, None].expand(SIZE, SIZE)  # row 0 is at v = 0
    values = []
    for ramp in (up, 1 - up):
        luma = torch.where(bent, 0.25 + 0.5 * ramp, calm).expand(3, -1, -1).contiguous()
        values.append(float(judge(ring, luma, form="released")))
    assert values[0] > values[1] + 1e-3


def test_the_released_form_can_be_met_by_detail_on_bent_surface_alone(ring):
    """K is in [0, 1] where it is compared, so the best magnitude is K itself, and no error is unavoidable."""
    field = released_field(*ring)
    inside = field.target[field.inside]
    assert float(inside.min()) == 0 and float(inside.max()) == pytest.approx(1)
    lowest, highest = field.curvature[field.inside].min(), field.curvature[field.inside].max()
    torch.testing.assert_close(inside, (field.curvature[field.inside] - lowest) / (highest - lowest))


def test_settings_are_checked():
    for options in ({"cell": 0.0}, {"min_contrast": -1.0}, {"contrast_floor": 0.0}):
        with pytest.raises(ValueError, match="positive"):
            TextureEmphasis(**options)

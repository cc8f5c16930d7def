"""Colourisation on a torus: red outside and blue inside is the right picture."""

from dataclasses import replace

import pytest
import torch
from reference.known_shapes import outwardness, torus

from rewards.base import Textured
from rewards.geometric.colourisation import (
    PURE_RED,
    VARIANTS,
    Colourisation,
    colour_field,
    ramp,
    released_field,
)
from texgen.geometry.prepared import prepare_geometry
from texgen.geometry.uv_frames import bake

SIZE = 64


@pytest.fixture(scope="module")
def ring():
    mesh = torus()
    return mesh, prepare_geometry(mesh, SIZE, radius=2)


def judge(scene, texture, variant="smooth", **options):
    mesh, geometry = scene
    return Colourisation(variant, **options)(Textured(mesh, texture, geometry.atlas.mask, "a ring", geometry))


def two_colours(scene, boundary=0.0):
    """Red where the torus faces outwards by more than the boundary, else blue."""
    outside = (outwardness(scene[1].atlas.position) > boundary).float()
    return torch.stack((outside, torch.zeros_like(outside), 1 - outside))


@pytest.mark.parametrize("variant", VARIANTS)
def test_red_outside_and_blue_inside_is_right(ring, variant):
    right = judge(ring, two_colours(ring), variant)
    if variant != "supervised":  # its target is paler than these colours
        assert right > 0.5
    assert judge(ring, two_colours(ring).flip(0), variant) < min(-0.5, right - 1)
    assert right > judge(ring, two_colours(ring, boundary=0.9), variant)


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_colour_earns_nothing(ring, variant):
    for colour in (PURE_RED, (0.0, 0.0, 1.0), (0.4, 0.4, 0.4)):
        value = judge(ring, torch.tensor(colour)[:, None, None].expand(3, SIZE, SIZE).contiguous(), variant)
        assert value <= 1e-6
    red = torch.tensor(PURE_RED)[:, None, None].expand(3, SIZE, SIZE).contiguous()
    if variant == "smooth":  # while the released form pays for plain colours
        k = released_field(*ring).curvature
        assert float(judge(ring, red, form="released")) == pytest.approx(float(k.mean()), rel=1e-4)
        assert abs(float(k.mean())) > 0.05


def test_the_best_possible_scores_one(ring):
    field = colour_field(*ring, 0.5, 20.0)
    centred = field.curvature - (field.weight * field.curvature).sum() / field.weight.sum()
    best = torch.zeros(3, SIZE * SIZE, dtype=torch.float64)
    best[0, field.texel], best[2, field.texel] = (centred > 0).double(), (centred < 0).double()
    assert judge(ring, best.reshape(3, SIZE, SIZE)) == pytest.approx(1.0, abs=1e-9)
    target = torch.zeros(3, SIZE * SIZE, dtype=torch.float64)
    target[:, field.texel] = field.target
    assert judge(ring, target.reshape(3, SIZE, SIZE), "supervised") == pytest.approx(1.0, abs=1e-9)
    released = torch.zeros(3, SIZE * SIZE, dtype=torch.float64)
    released[:, released_field(*ring).texel] = released_field(*ring).target
    assert judge(ring, released.reshape(3, SIZE, SIZE), "supervised", form="released") == 0


def test_one_spike_rules_the_released_scale_but_not_ours(ring):
    mesh, geometry = ring
    spiked = geometry.vertex_curvature.clone()
    spiked[0] = 100.0
    texel = geometry.mean_curvature.clone()
    spot = geometry.atlas.mask[0].nonzero()[0]
    texel[0, spot[0], spot[1]] = 100.0
    other = mesh, replace(geometry, vertex_curvature=spiked, mean_curvature=texel)
    texture = two_colours(ring)
    for form, least, most in (("corrected", 0.0, 0.02), ("released", 0.3, 2.0)):
        change = abs(float(judge(ring, texture, form=form)) - float(judge(other, texture, form=form)))
        assert least <= change <= most


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("form", ["corrected", "released"])
def test_values_equal_a_plain_loop(ring, variant, form):
    mesh, geometry = ring
    texture = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)).double()
    field = released_field(mesh, geometry) if form == "released" else colour_field(mesh, geometry, 0.4, 15.0)
    options = {} if form == "released" else {"split": 0.4, "sharpness": 15.0}
    w = (field.weight / field.weight.sum()).tolist()
    rgb = [texture[:, t // SIZE, t % SIZE] for t in field.texel.tolist()]
    warm = [float(c[0] - c[2]) for c in rgb]
    if variant == "smooth":
        k = field.curvature.tolist()
        mean = 0.0 if form == "released" else sum(a * b for a, b in zip(w, k, strict=True))
        top = sum(a * (b - mean) * c for a, b, c in zip(w, k, warm, strict=True))
        scale = 1.0 if form == "released" else sum(a * abs(b - mean) for a, b in zip(w, k, strict=True))
        expected = top / scale
    elif variant == "sharp":
        h = field.high.tolist()
        high = sum(a * b * c for a, b, c in zip(w, h, warm, strict=True)) / sum(
            a * b for a, b in zip(w, h, strict=True)
        )
        low = sum(a * (1 - b) * c for a, b, c in zip(w, h, warm, strict=True)) / sum(
            a * (1 - b) for a, b in zip(w, h, strict=True)
        )
        expected = (high - low) / 2
    else:
        target = field.target.T
        error = sum(a * float((b - c).square().sum()) for a, b, c in zip(w, rgb, target, strict=True))
        mean = sum(a * b for a, b in zip(w, target, strict=True))
        spread = sum(a * float((b - mean).square().sum()) for a, b in zip(w, target, strict=True))
        expected = -error / 3 if form == "released" else 1 - error / spread
    assert float(judge(ring, texture, variant, form=form, **options)) == pytest.approx(expected, rel=1e-6)


def test_the_ramp_changes_colour_at_the_split():
    colours = ramp(torch.tensor([-1.0, -0.01, 0.0, 1.0]), -1.0, 0.0, 1.0).T
    assert colours[0].tolist() == pytest.approx([0, 0, 0.4]) and colours[3].tolist() == pytest.approx(
        [1, 0, 0]
    )
    assert colours[1][2] > colours[1][0] and colours[2][0] > colours[2][2]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="variant is 'loud'"):
        Colourisation("loud")
    with pytest.raises(ValueError, match="split is 1"):
        Colourisation(split=1.0)


def test_the_released_target_has_the_published_stops_between_the_extremes_of_the_vertices(ring):
    """Colours of the vertices, (0, 0, 1) to (0.4, 0.4, 1) below 1.9 and (1, 0.4, 0.4) to (1, 0, 0) above it,
    interpolated over the faces."""
    mesh, geometry = ring
    field = released_field(mesh, geometry)
    mean = geometry.vertex_curvature.double().mean(dim=-1)
    assert float(mean.min()) < 1.9 < float(mean.max())
    colours = []
    for h in mean.tolist():
        if h < 1.9:
            t = (h - float(mean.min())) / (1.9 - float(mean.min()))
            colours.append([0.4 * t, 0.4 * t, 1.0])
        else:
            t = (h - 1.9) / (float(mean.max()) - 1.9)
            colours.append([1.0, 0.4 * (1 - t), 0.4 * (1 - t)])
    expected = bake(mesh, geometry.atlas, torch.tensor(colours, dtype=torch.float64))
    expected = expected.flatten(1)[:, field.texel]
    torch.testing.assert_close(field.target, expected, rtol=0, atol=1e-5)


def test_the_released_target_of_a_mesh_on_one_side_of_the_split_is_of_one_hue(ring):
    mesh, geometry = ring
    for factor, channel in ((0.01, 2), (100.0, 0)):
        curvature = geometry.vertex_curvature.abs() * factor
        target = released_field(mesh, replace(geometry, vertex_curvature=curvature)).target
        assert target.isfinite().all() and float(target[channel].min()) == pytest.approx(1.0, abs=1e-5)

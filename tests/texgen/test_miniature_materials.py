"""Materials, defects and known masks of the miniature's world."""

import itertools

import pytest
import torch

from texgen.miniature.caption_words import MATERIALS as CAPTIONED
from texgen.miniature.captions import caption
from texgen.miniature.defects import DEFECTS, rolled, smoothed
from texgen.miniature.diffusion_batches import draw_known_masks
from texgen.miniature.materials import (
    BACKGROUND,
    COLOURS,
    MATERIALS,
    TWO_COLOURS,
    Paint,
    draw_paint,
    paint,
)
from texgen.miniature.materials_fields import cell_distances, lattice_hash, value_noise

POINTS = torch.rand(600, 3, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


def plain_cell_distances(point, seed):
    """The two smallest distances to the seed points of the 27 cells around a point, one at a time."""
    found = []
    for offset in itertools.product((-1, 0, 1), repeat=3):
        cell = point.floor() + torch.tensor(offset)
        random = lattice_hash(cell[None], seed, 4)[0]
        found.append((float((point - cell - 0.15 - 0.7 * random[:3]).norm()), float(random[3])))
    found.sort()
    return found[0][0], found[1][0], found[0][1]


@pytest.mark.parametrize("material", MATERIALS)
def test_paint_depends_on_its_spec_alone_and_stays_in_range(material):
    spec = draw_paint(torch.Generator().manual_seed(3), material)
    albedo = paint(POINTS, spec)
    assert albedo.shape == POINTS.shape
    assert float(albedo.min()) >= 0 and float(albedo.max()) <= 1
    assert torch.equal(albedo[100:200], paint(POINTS[100:200], spec))


def test_materials_are_those_that_captions_know():
    assert set(MATERIALS) == set(CAPTIONED)
    assert len(MATERIALS) >= 22


@pytest.mark.parametrize("material", TWO_COLOURS)
def test_both_colours_of_a_pattern_show(material):
    albedo = paint(POINTS, Paint(material, ("red", "blue"), 5))
    for name in ("red", "blue"):
        near = (albedo - torch.tensor(COLOURS[name])).norm(dim=1) < 0.1
        assert 0.05 < float(near.float().mean()) < 0.95


def test_plain_colours_are_told_apart_from_each_other_and_from_the_background():
    colours = {**COLOURS, "background": BACKGROUND}
    for (_, a), (_, b) in itertools.combinations(colours.items(), 2):
        assert torch.tensor(a).sub(torch.tensor(b)).norm() > 0.2


def test_cells_equal_a_plain_search():
    points = POINTS[:20] * 4
    nearest, second, random = cell_distances(points, 7)
    for i, point in enumerate(points):
        assert (float(nearest[i]), float(second[i]), float(random[i])) == pytest.approx(
            plain_cell_distances(point, 7), abs=1e-5
        )


def test_noise_is_continuous_and_spread():
    values = value_noise(POINTS * 4, 1)
    moved = value_noise(POINTS * 4 + 1e-4, 1)
    assert float((values - moved).abs().max()) < 2e-3
    assert float(values.min()) < 0.3 and float(values.max()) > 0.7


def test_every_material_and_colour_has_a_caption():
    import numpy as np

    for index in range(200):
        spec = draw_paint(torch.Generator().manual_seed(index))
        text = caption(spec.material, spec.colours, "chair", np.random.default_rng(index))
        for colour in spec.colours:
            assert colour in text or (colour == "grey" and "gray" in text)


@pytest.mark.parametrize("kind", list(DEFECTS))
def test_defects_change_the_object_and_leave_the_background(kind):
    size = 64
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size), indexing="ij")
    alpha = ((x**2 + y**2) < 0.5).float()[None]
    stripes = (x * 6).floor().remainder(2)[None].expand(3, -1, -1) * torch.tensor([0.8, 0.3, 0.1])[
        :, None, None
    ]
    image = stripes * alpha + torch.tensor(BACKGROUND)[:, None, None] * (1 - alpha)
    torch.manual_seed(2)
    images = image.expand(3, -1, -1, -1)
    spoiled = DEFECTS[kind](images, alpha.expand(3, -1, -1, -1))
    assert spoiled.shape == images.shape
    assert torch.allclose(spoiled * (1 - alpha), images * (1 - alpha), atol=1e-6)
    changes = ((spoiled - images).abs() * alpha).sum((1, 2, 3)) / alpha.sum()
    assert float(changes.min()) > 0.02 and len(changes.unique()) == 3  # each row draws numbers of its own


def test_rows_are_rolled_and_smoothed_each_by_its_own_amount():
    images = torch.rand(3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    down, right = torch.tensor([4, -9, 0]), torch.tensor([-5, 7, 1])
    sigma = torch.tensor([2.0, 2.7, 3.9])
    moved, blurred = rolled(images, down, right), smoothed(images, sigma)
    for i in range(3):
        assert torch.equal(moved[i], torch.roll(images[i], (int(down[i]), int(right[i])), (1, 2)))
        radius = int(3 * sigma[i])
        taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1) / sigma[i]) ** 2)
        taps = taps / taps.sum()
        plain = torch.nn.functional.conv2d(images[i][:, None], taps[None, None, :, None], padding=(radius, 0))
        plain = torch.nn.functional.conv2d(plain, taps[None, None, None], padding=(0, radius))[:, 0]
        assert torch.allclose(blurred[i], plain, atol=1e-5)


def test_known_masks_never_show_a_part_of_the_silhouette():
    alpha = torch.zeros(64, 32, 32)
    alpha[:, 8:24, 8:24] = 1.0
    alpha[:, 8, 8:24] = 0.5
    positions = torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    known = draw_known_masks(alpha, positions, torch.Generator().manual_seed(0))
    assert set(known.unique().tolist()) == {0.0, 1.0}
    assert float(known[:, 0, 8, 8:24].sum()) == 0
    shown = known.flatten(1).mean(1)
    assert float((shown == 0).float().mean()) > 0.1 and float((shown > 0.8).float().mean()) > 0.05

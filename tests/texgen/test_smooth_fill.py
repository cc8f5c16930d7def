"""The smooth fill: against a plain twin in space, its gradient, and what it leaves alone."""

import math

import pytest
import torch
from reference.tiny_meshes import sphere_mesh

from texgen.backprojection.fill import fill_index, padding_index
from texgen.backprojection.smooth_fill import REACH, SurfaceFill, numbered
from texgen.render.atlas import build_atlas

SIZE = 24


@pytest.fixture(scope="module")
def atlas():
    return build_atlas(sphere_mesh(), SIZE)


def cap(atlas, height=0.2):
    """Painted above a height of the ball, as by cameras that never look from below."""
    return (atlas.position[..., 1] > height).to(torch.float32)[None] * atlas.mask


def random_texture(dtype=torch.float64):
    return torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0), dtype=dtype)


def plain_fill(texture, painted, atlas, i, j):
    """One texel, in loops: the mean of the border's colours, each by how well both share grid points."""
    nearest = fill_index(painted, atlas)
    missing = [at for at in torch.nonzero((atlas.mask[0] > 0) & (painted[0] == 0)).tolist()]
    place = {at: atlas.position.double()[at] for at in map(tuple, missing)}
    border = sorted({int(nearest[at]) for at in place})
    there = {b: atlas.position.double().reshape(-1, 3)[b] for b in border}
    distance = {at: float((place[at] - there[int(nearest[at])]).norm()) for at in place}
    finest = min(value for value in distance.values() if value > 0)

    def corners(point, cell):
        position = (point / cell + 0.371).tolist()
        found = {}
        for offset in range(8):
            steps = [offset >> 2 & 1, offset >> 1 & 1, offset & 1]
            key = tuple(math.floor(p) + step for p, step in zip(position, steps, strict=True))
            parts = [p - math.floor(p) for p in position]
            found[key] = math.prod(q if step else 1 - q for q, step in zip(parts, steps, strict=True))
        return found

    place_of = math.log2(max(distance[i, j], finest) / finest)
    total = torch.zeros(3, dtype=torch.float64)
    for level, share in ((math.floor(place_of), 1 - place_of % 1), (math.floor(place_of) + 1, place_of % 1)):
        cell = 2 * REACH * finest * 2**level
        own = corners(place[i, j], cell)
        weights = {b: sum(own.get(k, 0) * w for k, w in corners(there[b], cell).items()) for b in border}
        colours = texture.flatten(1)
        mean = sum(w * colours[:, b] for b, w in weights.items()) / sum(weights.values())
        total += share * mean
    return total


def test_it_equals_the_mean_in_loops(atlas):
    texture, painted = random_texture(), cap(atlas)
    filled = SurfaceFill.of(painted, atlas)(texture)
    missing = torch.nonzero((atlas.mask[0] > 0) & (painted[0] == 0)).tolist()
    for i, j in missing[:: len(missing) // 12]:
        assert torch.allclose(filled[:, i, j], plain_fill(texture, painted, atlas, i, j), atol=1e-5)


def test_painted_texels_stay_and_the_charts_are_padded(atlas):
    texture, painted = random_texture(), cap(atlas)
    filled = SurfaceFill.of(painted, atlas)(texture)
    known = painted[0] > 0
    assert torch.equal(filled[:, known], texture[:, known])
    assert torch.equal(
        filled, filled.flatten(1)[:, padding_index(atlas.mask).reshape(-1)].reshape(filled.shape)
    )
    assert torch.equal(SurfaceFill.of(atlas.mask, atlas)(texture)[:, known], texture[:, known])


def test_one_colour_continues_as_itself_and_streaks_fade(atlas):
    painted = cap(atlas)
    fill = SurfaceFill.of(painted, atlas)
    assert torch.allclose(fill(torch.full((3, SIZE, SIZE), 0.3))[:, atlas.mask[0] > 0], torch.tensor(0.3))
    stripes = (torch.arange(SIZE) % 2).float().expand(3, SIZE, SIZE)
    far = (atlas.position[..., 1] < -0.3) & (atlas.mask[0] > 0)
    assert float(fill(stripes)[:, far].std()) < 0.1


def test_its_gradient_is_that_of_a_linear_map(atlas):
    painted = cap(atlas)
    fill = SurfaceFill.of(painted, atlas)
    a, b = random_texture(), random_texture().flip(-1)
    assert torch.allclose(fill(a + 2 * b), fill(a) + 2 * fill(b))
    a = a.requires_grad_()
    (gradient,) = torch.autograd.grad((fill(a) * b).sum(), a)
    assert (gradient * a).sum().item() == pytest.approx((fill(a) * b).sum().item(), rel=1e-9)
    assert not gradient[:, (painted[0] == 0)].any()


def test_nothing_painted_is_said(atlas):
    with pytest.raises(ValueError, match="no colour to fill from"):
        SurfaceFill.of(torch.zeros(1, SIZE, SIZE), atlas)


def test_grid_points_are_numbered_as_sorted_rows():
    generator = torch.Generator().manual_seed(3)
    points = torch.randint(-40, 9, (500, 8, 3), generator=generator)
    for shifted in (points, points * torch.tensor([1, 1, 2**30])):  # the second leaves no room for one number
        count, number = numbered(shifted)
        found, plain = torch.unique(shifted.reshape(-1, 3), dim=0, return_inverse=True)
        assert count == len(found)
        assert torch.equal(number, plain.reshape(500, 8))

import pytest
import torch

from texgen.backprojection import fill
from texgen.backprojection.fill import dilate_nearest, fill_index, fill_uncovered, padding_index
from texgen.backprojection.nearest import inside_of, nearest_point, nearest_texel
from texgen.render.atlas import Atlas


def random_texture(channels=3, size=12, seed=0):
    return torch.rand(channels, size, size, generator=torch.Generator().manual_seed(seed))


def random_mask(share, size=12, seed=1):
    return (torch.rand(1, size, size, generator=torch.Generator().manual_seed(seed)) < share).float()


def folded_atlas(size=12) -> Atlas:
    """Two charts, left and right, with an empty column strip between: the surface is a plane z = 0 cut at x
    = 0, but the right chart is laid down mirrored, so that its far texture edge is next to the left chart
    in space."""
    face = torch.full((size, size), -1)
    position = torch.zeros(size, size, 3)
    half = size // 2 - 1
    rows = torch.arange(size).float() / size
    for j in range(half):
        position[:, j] = torch.stack([torch.full((size,), (j - half + 0.5) / size), rows, rows * 0], dim=-1)
        right = size - 1 - j  # x grows from the texture's right border inwards
        position[:, right] = torch.stack([torch.full((size,), (j + 0.5) / size), rows, rows * 0], dim=-1)
        face[:, j], face[:, right] = 0, 1
    mask = (face >= 0)[None].float()
    normal = torch.tensor([0.0, 0.0, 1.0]).expand(size, size, 3) * mask[0, ..., None]
    return Atlas(face=face, position=position, normal=normal, mask=mask)


def test_dilation_copies_a_nearest_texel():
    texture, mask = random_texture(), random_mask(0.1)
    filled = dilate_nearest(texture, mask)
    inside = torch.nonzero(mask[0]).tolist()
    for i in range(12):
        for j in range(12):
            distance = {(r, c): (r - i) ** 2 + (c - j) ** 2 for r, c in inside}
            nearest = [at for at, d in distance.items() if d == min(distance.values())]
            assert any(torch.equal(filled[:, i, j], texture[:, r, c]) for r, c in nearest)


def test_padding_index_matches_a_plain_search():
    generator = torch.Generator().manual_seed(4)
    mask = (torch.rand(1, 12, 12, generator=generator) > 0.9).float()
    index = padding_index(mask)
    row, column = index // 12, index % 12
    places = mask[0].nonzero()
    for i in range(12):
        for j in range(12):
            squared = ((places - torch.tensor([i, j])) ** 2).sum(-1)
            assert mask[0, row[i, j], column[i, j]] == 1
            assert (row[i, j] - i) ** 2 + (column[i, j] - j) ** 2 == squared.min()
    with pytest.raises(ValueError, match="no texel"):
        padding_index(torch.zeros(1, 3, 3))


def test_dilation_stops_at_the_distance():
    texture, mask = random_texture(), torch.zeros(1, 12, 12)
    mask[0, 4, 5] = 1
    filled = dilate_nearest(texture, mask, max_distance=3.0)
    for i in range(12):
        for j in range(12):
            source = (4, 5) if (i - 4) ** 2 + (j - 5) ** 2 <= 9 else (i, j)
            assert torch.equal(filled[:, i, j], texture[:, source[0], source[1]])


def test_painted_texels_never_change():
    texture, atlas = random_texture(), folded_atlas()
    painted = random_mask(0.3) * atlas.mask
    filled = fill_uncovered(texture, painted, atlas)
    assert torch.equal(filled[:, painted[0] > 0], texture[:, painted[0] > 0])


def amid_painted(painted, i, j) -> bool:
    """Whether all eight neighbours exist and are painted."""
    size = painted.shape[-1]
    around = [(i + a, j + b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return all(0 <= r < size and 0 <= c < size and painted[0, r, c] > 0 for r, c in around)


def test_unpainted_chart_texels_copy_the_nearest_surface_point():
    texture, atlas = random_texture(), folded_atlas()
    painted = random_mask(0.15) * atlas.mask
    painted[0, 3:7, 0:4] = 1
    index = fill_index(painted, atlas)
    filled = fill_uncovered(texture, painted, atlas)
    known = [at for at in torch.nonzero(painted[0]).tolist() if not amid_painted(painted, *at)]
    assert len(known) > 5
    for i, j in torch.nonzero(atlas.mask[0] - painted[0]).tolist():
        distance = {(r, c): float((atlas.position[r, c] - atlas.position[i, j]).norm()) for r, c in known}
        r, c = divmod(int(index[i, j]), 12)
        assert distance[r, c] == pytest.approx(min(distance.values()), abs=1e-6)
        assert torch.equal(filled[:, i, j], texture[:, r, c])


def test_colour_crosses_a_seam_rather_than_the_texture():
    """The left chart is unpainted; its texels next to the cut take the colour from the right chart's texels
    beyond the cut, which lie at the other border of the texture."""
    atlas = folded_atlas()
    painted = atlas.mask.clone()
    painted[..., :6] = 0
    texture = torch.zeros(1, 12, 12)
    texture[..., -1] = 1.0  # the painted column that touches the cut in space
    filled = fill_uncovered(texture, painted, atlas)
    assert (filled[0, :, :5] == 1).all()


def test_padding_takes_its_colour_from_the_filled_chart():
    texture, atlas = random_texture(), folded_atlas()
    painted = random_mask(0.2) * atlas.mask
    painted[0, :, 5] = 1  # paint off the charts is not trusted
    filled = fill_uncovered(texture, painted, atlas)
    nearest = padding_index(atlas.mask)
    off = torch.nonzero(atlas.mask[0] == 0).tolist()
    assert len(off) == 24
    for i, j in off:
        r, c = divmod(int(nearest[i, j]), 12)
        assert atlas.mask[0, r, c] == 1
        assert torch.equal(filled[:, i, j], filled[:, r, c])


def test_gradients_go_to_the_copied_texels():
    texture, atlas = random_texture().requires_grad_(), folded_atlas()
    painted = random_mask(0.2) * atlas.mask
    factor = random_texture(seed=5)
    (gradient,) = torch.autograd.grad((fill_uncovered(texture, painted, atlas) * factor).sum(), texture)
    expected = torch.zeros(3, 144)
    for target, source in enumerate(fill_index(painted, atlas).reshape(-1).tolist()):
        expected[:, source] += factor.reshape(3, -1)[:, target]
    torch.testing.assert_close(gradient.reshape(3, -1), expected)
    assert (gradient[:, (painted[0] == 0)] == 0).all()
    assert torch.autograd.gradcheck(
        lambda t: dilate_nearest(t, random_mask(0.1)), random_texture(1).double().requires_grad_()
    )


def test_nothing_to_copy_is_an_error():
    texture, atlas = random_texture(), folded_atlas()
    with pytest.raises(ValueError, match="mask has no texel above 0.5"):
        dilate_nearest(texture, torch.zeros(1, 12, 12))
    with pytest.raises(ValueError, match="No texel on the mesh's charts is painted"):
        fill_uncovered(texture, 1 - atlas.mask, atlas)
    with pytest.raises(ValueError, match="build the atlas at the texture's size"):
        fill_uncovered(random_texture(size=8), torch.ones(1, 8, 8), atlas)


def test_a_thin_wall_is_not_filled_through():
    """Two sheets 0.01 apart, one chart each; the first is painted, of the second only one corner texel is.
    The second takes its colour from its own corner or from the first sheet's border, never from the first's
    middle."""
    size = 12
    rows, columns = torch.meshgrid(torch.arange(size).float(), torch.arange(6).float(), indexing="ij")
    sheet = torch.stack([columns / 6, rows / 6, torch.zeros_like(rows)], dim=-1)
    position = torch.cat([sheet, sheet + torch.tensor([0.0, 0.0, 0.01])], dim=1)
    atlas = Atlas(
        face=torch.zeros(size, size, dtype=torch.int64),
        position=position,
        normal=torch.zeros(size, size, 3),
        mask=torch.ones(1, size, size),
    )
    painted = torch.zeros(1, size, size)
    painted[0, :, :6] = 1
    painted[0, 0, 11] = 1
    source = fill_index(painted, atlas)[:, 6:]
    row, column = source // size, source % size
    middle = (row > 0) & (row < size - 1) & (column > 0) & (column < 5)
    assert not middle.any()


@pytest.mark.parametrize("share", [0.002, 0.1, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(40, 40), (25, 60)])
def test_the_nearest_texel_on_a_device_is_as_near_as_scipys(share, shape, monkeypatch):
    monkeypatch.setattr("texgen.backprojection.nearest.CHUNK", 10_000)  # several chunks
    inside = torch.rand(shape, generator=torch.Generator().manual_seed(7)) < share
    inside[3, 4] = True
    index, squared = nearest_texel(inside)
    rows, columns = torch.meshgrid(*(torch.arange(side) for side in shape), indexing="ij")
    assert inside.reshape(-1)[index].all()
    assert torch.equal((index // shape[1] - rows) ** 2 + (index % shape[1] - columns) ** 2, squared)
    known = padding_index(inside[None].float())
    assert torch.equal((known // shape[1] - rows) ** 2 + (known % shape[1] - columns) ** 2, squared)


def test_the_nearest_point_is_that_of_a_plain_search():
    generator = torch.Generator().manual_seed(0)
    points, targets = torch.rand(50, 3, generator=generator), torch.rand(200, 3, generator=generator)
    assert torch.equal(nearest_point(points, targets), torch.cdist(targets, points).argmin(1))
    assert nearest_point(points, targets[:0]).shape == (0,)


def test_filling_on_a_device_equals_filling_on_a_cpu():
    """Wherever no two painted points are equally near; there either may be copied."""
    atlas = folded_atlas()
    atlas.position.add_(0.01 * torch.rand(atlas.position.shape, generator=torch.Generator().manual_seed(2)))
    chart = atlas.mask[0] > 0.5
    for seed in range(4):
        painted = random_mask(0.2, seed=seed) * atlas.mask
        painted[0, 3:7, 0:4] = 1
        known = chart & (painted[0] > 0)
        ours = fill._fill_index_on_device(chart, known, atlas.position)
        assert torch.equal(ours[chart], fill_index(painted, atlas)[chart])
        off = ours[~chart]
        assert known.reshape(-1)[off].all(), "the padding copies what was filled"
        inner = torch.zeros(12, 12, dtype=torch.bool)
        for i, j in torch.nonzero(known).tolist():
            inner[i, j] = amid_painted(known[None].float(), i, j)
        assert torch.equal(inside_of(known) & known, inner)
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[4, 5] = True
    assert torch.equal(fill._padding_index_on_device(mask, 3.0), padding_index(mask[None].float(), 3.0))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_filling_on_a_gpu():
    atlas, painted = folded_atlas(), random_mask(0.2)
    painted *= atlas.mask
    chart, points = atlas.mask[0] > 0.5, atlas.position.reshape(-1, 3)
    indices = fill_index(painted.cuda(), atlas).cpu(), fill_index(painted, atlas)
    own = points.reshape(12, 12, 3)[chart]
    torch.testing.assert_close(*((points[index[chart]] - own).norm(dim=-1) for index in indices))

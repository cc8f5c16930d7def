"""The miniature's world on disk: made by any number of workers, stopped and gone on with, without Warp."""

import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from texgen.mesh.mesh import area_weighted_normals
from texgen.miniature import world, world_makers
from texgen.miniature.dataset import view_shape
from texgen.miniature.lighting import soft_light
from texgen.miniature.materials import MATERIALS
from texgen.miniature.scale import Sizes
from texgen.miniature.shapes import make_shape
from texgen.miniature.world_arrays import COLOUR_NAMES, INDEX, World, WorldSamples, open_atlases, open_world
from texgen.miniature.world_makers import make_world, paint_sample
from texgen.render.cameras import Cameras, direction_word, pixel_rays
from texgen.render.rasterize import first_hits

SIZES = Sizes(views=8, samples=20, others=4, atlases=2, paints=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folder of a world."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, SIZES, seed=3)
    return folder


def same(first, second):
    """Whether two worlds hold the same."""
    a, b = (World(SIZES, folder) for folder in (first, second))
    return all(
        np.array_equal(value, getattr(b, name))
        for name, value in vars(a).items()
        if "ndarray" in str(type(value)) or isinstance(value, np.memmap)
    )


def test_the_world_depends_on_its_seed_alone_and_not_on_the_workers(made, tmp_path):
    without = replace(SIZES, atlases=0)
    make_world(tmp_path / "two", without, seed=3, workers=2)
    make_world(tmp_path / "other", without, seed=4)
    one, two, other = (open_world(folder) for folder in (made, tmp_path / "two", tmp_path / "other"))
    for name in ("images", "alpha", "depth", "positions", "marks"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert one.captions == two.captions and not torch.equal(one.images, other.images)


def test_painting_that_was_cut_short_leaves_whole_samples_and_is_gone_on_with(
    made, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(world_makers, "CHUNK", 6)
    make_world(tmp_path, SIZES, seed=3, seconds=0.0)
    assert len(open_world(tmp_path)) == 6
    assert "painted 6 of 20" in capsys.readouterr().out
    few, all_of_them = open_world(tmp_path), open_world(made)
    assert torch.equal(few.images, all_of_them.images[:6]) and few.captions == all_of_them.captions[:6]


def test_a_world_can_be_stopped_and_painted_without_warp(made, tmp_path, monkeypatch):
    make_world(tmp_path, SIZES, seed=3, until="atlases")
    assert not (tmp_path / INDEX).exists()
    for name in ("images", "others", "atlas_images"):
        (tmp_path / name).unlink()  # what need not be copied to the machine that paints
    monkeypatch.setitem(sys.modules, "warp", None)
    make_world(tmp_path, SIZES, seed=3)
    assert same(made, tmp_path)
    with pytest.raises(SystemExit, match="NVIDIA Warp, .* cannot be imported .*`pip install warp-lang`"):
        make_world(tmp_path / "new", SIZES, seed=3)


def test_a_world_of_other_sizes_is_begun_anew(made, tmp_path, capsys):
    make_world(tmp_path, Sizes(views=2, samples=2), until="atlases")
    make_world(tmp_path, SIZES, seed=3)
    assert same(made, tmp_path)
    assert "of other sizes or another seed; it is made anew" in capsys.readouterr().out


def test_the_command_line_sets_sizes(tmp_path):
    small = ["--views", "2", "--samples", "3", "--others", "1", "--atlases", "0"]
    world.main(["--out", str(tmp_path), "--scale", "test", "--device", "cuda", *small])
    index = json.loads((tmp_path / INDEX).read_text())
    assert index["sizes"] == {"views": 2, "samples": 3, "others": 1, "atlases": 0, "paints": 1}
    assert len(open_atlases(tmp_path)) == 0 and index["painted"] == 3
    with pytest.raises(SystemExit):
        world.main(["--out", str(tmp_path), "--workers", "0"])


def test_images_agree_with_their_masks(made):
    painted = open_world(made)
    alpha, depth = painted.alpha_of()[:, 0], painted.depth_of()[:, 0]
    background = alpha == 0
    assert float(background.float().mean()) > 0.2
    assert bool((depth[alpha == 1] > 0).any()) and bool((depth[background] == 0).all())
    colours = painted.pictures().permute(0, 2, 3, 1)[background]
    assert float(colours.std(0).max()) < 1e-6
    assert painted.captions[9] != painted.captions[1]  # the same view, painted anew
    assert torch.equal(painted.alpha_of(torch.tensor([9])), painted.alpha_of(torch.tensor([1])))


def test_a_sample_tells_its_paint(made):
    painted, arrays = open_world(made), World(SIZES, made)
    for i in range(len(painted)):
        names = {COLOUR_NAMES[k] for k in arrays.colours[i] if k >= 0}
        assert {COLOUR_NAMES[k] for k in painted.marks[i].nonzero()[:, 0]} == names
        assert MATERIALS[painted.material[i]] == MATERIALS[arrays.material[i]]
    keys = [(int(m), *map(int, c)) for m, c in zip(arrays.material, arrays.colours, strict=True)]
    for i, first in enumerate(keys):
        for j, second in enumerate(keys):
            assert bool(painted.paint[i] == painted.paint[j]) == (first == second)


def test_wrong_paintings_show_the_same_view_in_another_paint(made):
    painted = open_world(made, others=True)
    others, alpha = painted.others.float() / 255, painted.alpha_of(torch.arange(4))
    for place in range(2):
        change = (others[:, place] - painted.pictures(torch.arange(4))).abs()
        assert float((change * (alpha == 0)).max()) == 0
        assert bool(((change * alpha).sum((1, 2, 3)) > 20).all())


def test_views_know_their_normals_direction_and_word(made):
    arrays = World(SIZES, made)
    for row in range(SIZES.views):
        view = arrays.view(row)
        normals = view.normals.float() / 127
        assert float((normals.norm(dim=1) - 1).abs().max()) < 0.02
        # the camera sees outward faces only, but for smoothed normals at the silhouette
        assert float(((normals @ view.eye) > -0.2).float().mean()) > 0.9
        x, y, z = normalize(view.eye, dim=0).tolist()
        azimuth, elevation = math.degrees(math.atan2(x, z)), math.degrees(math.asin(y))
        assert view.word == direction_word(azimuth, elevation)


def test_a_view_comes_back_as_it_was_written():
    vertices, faces = (torch.from_numpy(a) for a in make_shape("mug", np.random.default_rng(0)))
    normals = area_weighted_normals(vertices, faces)
    view = view_shape("mug", vertices, faces, normals, Cameras.orbit(40.0, 20.0, 2.5), 128)
    arrays = World(Sizes(views=1, samples=1))
    arrays.write_view(0, view)
    for name, value in vars(arrays.view(0)).items():
        other = getattr(view, name)
        assert torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other, name


def test_a_caption_that_does_not_fit_is_an_error(made):
    arrays = World(Sizes(views=1, samples=1))
    view = World(SIZES, made).view(0)
    view.shape = "x" * 99
    with pytest.raises(ValueError, match="99 bytes"):
        arrays.write_view(0, view)


def test_soft_light_shades_and_flat_samples_keep_the_bare_colour(made):
    arrays, few = World(Sizes(views=2, samples=40)), World(SIZES, made)
    for row in range(2):
        arrays.write_view(row, few.view(row))
    for row in range(40):
        paint_sample(arrays, row, 1)
    painted = WorldSamples(arrays, CPU)
    assert 0 < sum(painted.soft) < 20
    for i in range(40):
        if MATERIALS[painted.material[i]] != "plain":
            continue
        inside = painted.images[i].permute(1, 2, 0)[painted.alpha_of(torch.tensor([i]))[0, 0] == 1].float()
        assert (float(inside.std(0).max()) > 0.5) == painted.soft[i], painted.captions[i]


def test_a_view_equals_its_whole_frame():
    """Rays are cast in the window of the object only; casting all of them gives the same view."""
    vertices, faces = (torch.from_numpy(a) for a in make_shape("mug", np.random.default_rng(0)))
    normals = area_weighted_normals(vertices, faces)
    camera = Cameras.orbit(40.0, 20.0, 2.5)
    view = view_shape("mug", vertices, faces, normals, camera, 48)
    origin, rays = pixel_rays(camera, 96)
    face, distance, _ = first_hits(vertices, faces, origin.expand(96 * 96, 3).contiguous(), rays.view(-1, 3))
    hits = (face >= 0).view(48, 2, 48, 2).permute(0, 2, 1, 3).reshape(48 * 48, 4)
    points = (
        (origin + rays.view(-1, 3) * distance[:, None])
        .view(48, 2, 48, 2, 3)
        .transpose(1, 2)
        .reshape(-1, 4, 3)
    )
    seen = hits.any(1)
    assert torch.equal(view.pixels.long(), seen.nonzero()[:, 0])
    assert torch.equal(view.coverage.long(), (hits[seen].float().mean(1) * 255).round().long())
    mean = (points * hits[..., None]).sum(1)[seen] / hits[seen].sum(1, keepdim=True)
    assert torch.allclose(view.positions.float(), mean, atol=2e-3)


def test_light_falls_off_with_the_angle_to_the_lamp():
    eye = torch.tensor([0.0, 0.0, 1.0])
    angles = torch.linspace(0, math.pi, 50)
    normals = torch.stack([0 * angles, 0 * angles, angles.cos()], 1)
    normals[:, 0] = angles.sin()
    for seed in range(5):
        light = soft_light(normals, eye, torch.Generator().manual_seed(seed))
        assert float(light.min()) >= 0.2 and float(light.max()) <= 1
        assert float(light[:15].mean()) > float(light[-15:].mean()) + 0.2

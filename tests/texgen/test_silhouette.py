"""The band beside silhouettes: which pixels are projected, and that no background reaches the texture."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.tiny_meshes import sphere_mesh

from texgen.painting.accumulate import accumulate
from texgen.painting.presets import get_preset
from texgen.painting.scene import complete, prepare_scene
from texgen.painting.state import TextureState
from texgen.render.cameras import rig_cameras
from texgen.render.silhouette import clear_of_silhouette, widest


def square(size, low, high):
    mask = torch.zeros(1, 1, size, size)
    mask[..., low:high, low:high] = 1
    return mask


def test_a_thick_part_loses_a_band_and_nothing_else():
    clear = clear_of_silhouette(square(32, 4, 28), 3.0)
    assert torch.equal(clear, square(32, 7, 25))
    assert torch.equal(clear_of_silhouette(square(32, 4, 28), 0.0), square(32, 4, 28))
    everything = torch.ones(1, 1, 8, 8)
    assert torch.equal(clear_of_silhouette(everything, 3.0), everything)
    assert not clear_of_silhouette(torch.zeros(1, 1, 8, 8), 3.0).any()


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_a_thin_part_keeps_its_middle(width):
    mask = torch.zeros(1, 1, 40, 40)
    mask[..., 5:35, 20 : 20 + width] = 1
    clear = clear_of_silhouette(mask, 6.0)
    assert bool((clear <= mask).all())
    rows = clear[0, 0, 12:28, 20 : 20 + width]
    assert bool(rows.any(dim=1).all()) and bool((rows[:, (width - 1) // 2] == 1).all())
    if width >= 5:
        assert not rows[:, 0].any() and not rows[:, -1].any()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**31), st.floats(0.5, 6), st.integers(6, 24))
def test_every_part_keeps_a_pixel_and_no_pixel_is_added(seed, width, size):
    mask = (torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(seed)) < 0.7).float()
    clear = clear_of_silhouette(mask, width)
    assert bool((clear <= mask).all()) and bool(clear.any()) == bool(mask.any())


def painted_over(preset, colour, behind):
    """A texture painted from views whose objects are drawn 2 pixels smaller than they are."""
    mesh = sphere_mesh()
    scene = prepare_scene(mesh, preset, rig_cameras(preset.rig))
    state = TextureState.empty(preset.texture_size)
    for view in scene.views:
        drawn = clear_of_silhouette(view.buffer.mask, 3.0)
        image = drawn * colour + (1 - drawn) * behind.expand(1, 3, *drawn.shape[-2:])
        state = accumulate(preset, view, state, image, torch.zeros_like(drawn))
    return complete(preset, scene, state), scene


@pytest.mark.parametrize("projection", ["gather", "scatter_mip"])
def test_what_shows_beside_the_silhouette_stays_off_the_object(projection):
    behind, colour = torch.tensor([0.0, 1.0, 0.0]).view(1, 3, 1, 1), torch.tensor([1.0, 0.0, 0.0])
    colour = colour.view(1, 3, 1, 1)
    small = {
        "render_size": 96,
        "image_size": 96,
        "texture_size": 48,
        "accumulate": "cosine",
        "rig": "front_short",
    }
    small |= {"crop": False, "projection": projection}
    (released, _), scene = painted_over(get_preset("texgen", **small), colour, behind)
    (texture, painted), _ = painted_over(get_preset("texgen", **small, rim=0.06), colour, behind)
    chart = scene.atlas.mask[0] > 0
    assert float(released[1][chart].max()) > 0.5
    assert float(texture[1][chart].max()) < 1e-4 and float(texture[0][chart].min()) > 1 - 1e-4
    assert 0.3 < float(painted.mean()) < 0.9


def test_rows_then_columns_find_the_largest_of_a_square():
    values = torch.rand(1, 1, 40, 23, generator=torch.Generator().manual_seed(0)) - 0.5
    for side in (1, 3, 9, 31):
        assert torch.equal(widest(values, side), F.max_pool2d(values, side, stride=1, padding=side // 2))

import math

import pytest
import torch
from reference.brute_force import look_at, project

from texgen.render.cameras import (
    RIGS,
    Cameras,
    clip_from_world,
    direction_word,
    eye,
    pixel_rays,
    rig_cameras,
    transform,
    view_from_world,
)


def random_cameras(count=6, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    azimuth = torch.rand(count, generator=generator) * 360 - 180
    elevation = torch.rand(count, generator=generator) * 170 - 85
    return Cameras.orbit(azimuth, elevation, 2.5, 50.0, dtype=dtype)


def test_view_matrix_equals_the_textbook_look_at():
    cameras = random_cameras()
    for i, matrix in enumerate(view_from_world(cameras)):
        expected = look_at(float(cameras.azimuth[i]), float(cameras.elevation[i]), 2.5)
        torch.testing.assert_close(matrix, torch.from_numpy(expected))


def test_projection_equals_the_textbook_one_on_a_wide_image():
    cameras = random_cameras()
    height, width = 60, 90
    points = torch.rand(20, 3, dtype=torch.float64) - 0.5
    clip = transform(points, clip_from_world(cameras, width / height))
    for i in range(len(cameras)):
        x, y, depth = project(
            points, float(cameras.azimuth[i]), float(cameras.elevation[i]), 2.5, 50.0, height, width
        )
        ndc = clip[i, :, :2] / clip[i, :, 3:]
        torch.testing.assert_close((ndc[:, 0] + 1) / 2 * width, x)
        torch.testing.assert_close((1 - ndc[:, 1]) / 2 * height, y)
        torch.testing.assert_close(clip[i, :, 3], depth)


def test_clip_z_runs_from_minus_one_at_near_to_one_at_far():
    cameras = Cameras.orbit(0.0, 0.0)
    points = torch.tensor([[0.0, 0.0, 2.5 - cameras.near], [0.0, 0.0, 2.5 - cameras.far]])
    clip = transform(points, clip_from_world(cameras))[0]
    torch.testing.assert_close(clip[:, 2] / clip[:, 3], torch.tensor([-1.0, 1.0]), atol=1e-3, rtol=0)


def test_directions_of_the_world():
    from_front, from_right, from_above = eye(Cameras.orbit([0.0, 90.0, 0.0], [0.0, 0.0, 45.0]))
    torch.testing.assert_close(from_front, torch.tensor([0.0, 0.0, 2.5]))
    torch.testing.assert_close(from_right, torch.tensor([2.5, 0.0, 0.0]), atol=1e-6, rtol=0)
    half = 2.5 * math.sqrt(0.5)
    torch.testing.assert_close(from_above, torch.tensor([0.0, half, half]))


def test_pixel_rays_pass_through_points_that_project_to_their_pixel():
    cameras = random_cameras()
    height, width = 6, 10
    origins, directions = pixel_rays(cameras, (height, width))
    assert directions.shape == (6, height, width, 3)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones_like(directions[..., 0]))
    for i in range(len(cameras)):
        points = (origins[i] + 2.0 * directions[i]).reshape(-1, 3)
        x, y, _ = project(
            points, float(cameras.azimuth[i]), float(cameras.elevation[i]), 2.5, 50.0, height, width
        )
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        torch.testing.assert_close(x, columns.reshape(-1).double() + 0.5)
        torch.testing.assert_close(y, rows.reshape(-1).double() + 0.5)


def test_gradients_in_azimuth_and_elevation():
    points = torch.rand(5, 3, dtype=torch.float64) - 0.5

    def clip(azimuth, elevation):
        return transform(points, clip_from_world(Cameras.orbit(azimuth, elevation, dtype=torch.float64), 1.5))

    def rays(azimuth, elevation):
        return pixel_rays(Cameras.orbit(azimuth, elevation, dtype=torch.float64), 3)

    azimuth = torch.tensor([20.0, -100.0], dtype=torch.float64, requires_grad=True)
    elevation = torch.tensor([10.0, 89.9], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(clip, (azimuth, elevation))
    assert torch.autograd.gradcheck(rays, (azimuth, elevation))


def test_indexing_keeps_the_batch_and_iteration_ends():
    cameras = rig_cameras("front_short")
    assert len(cameras) == 6
    assert len(cameras[-1]) == 1 and float(cameras[-1].azimuth) == -95.0
    assert len(cameras[1:4]) == 3
    assert [len(camera) for camera in cameras] == [1] * 6
    assert cameras.to(dtype=torch.float64).azimuth.dtype == torch.float64


def test_orbit_broadcasts_and_refuses_lengths_that_do_not_agree():
    cameras = Cameras.orbit([0.0, 10.0, 20.0], 5.0)
    assert cameras.elevation.tolist() == [5.0, 5.0, 5.0]
    with pytest.raises(ValueError, match="3, 2, 1, 1"):
        Cameras.orbit([0.0, 10.0, 20.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("azimuth", "elevation", "word"),
    [
        (0, 0, "front"),
        (29.9, 0, "front"),
        (-29.9, 59, "front"),
        (30, 0, "side"),
        (-89, 0, "side"),
        (90, 0, "back"),
        (180, 0, "back"),
        (-180, 0, "back"),
        (350, 0, "front"),
        (300, 0, "side"),
        (740, 0, "front"),
        (0, 60, "top"),
        (180, 89.9, "top"),
        (0, -60, "bottom"),
    ],
)
def test_direction_words(azimuth, elevation, word):
    assert direction_word(azimuth, elevation) == word


def test_rigs_have_their_published_sizes_and_look_from_above_where_the_papers_do():
    sizes = {"default": 11, "front": 11, "top": 12, "side": 11, "top_back": 11, "front_rabbit": 9}
    sizes |= {"front_balloon": 9, "front_balloon_asymmetric": 8, "top_balloon": 10, "front_short": 6}
    sizes |= {"tilted_short": 6, "front_3view": 3, "front_4view": 4, "tilted_4view": 4, "tilted": 5}
    sizes |= {"tilted_2view": 2, "evaluation": 16}
    sizes |= {"texture": 10, "text2tex": 10, "text2tex_candidates": 36, "paint3d": 6, "syncmvd": 10}
    sizes |= {"text2tex_6": 6, "syncmvd_6": 6}
    assert {name: len(rig) for name, rig in RIGS.items()} == sizes
    assert RIGS["front_short"][1] == (95.0, 35.0)
    assert RIGS["default"][8] == (0.0, 89.9) and RIGS["default"][9] == (0.0, -89.9)
    assert RIGS["default"][10] == (0.0, -45.0)


def test_evaluation_cameras_are_in_no_other_rig():
    others = {pose for name, rig in RIGS.items() if name != "evaluation" for pose in rig}
    assert not others & set(RIGS["evaluation"])


def test_unknown_rig_names_the_known_ones():
    with pytest.raises(ValueError, match="front_short"):
        rig_cameras("frnt")

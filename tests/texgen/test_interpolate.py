import torch
from reference.brute_force import rasterize_by_triangles
from reference.tiny_meshes import random_soup

from texgen.render.cameras import Cameras
from texgen.render.interpolate import barycentrics, interpolate
from texgen.render.rasterize import rasterize


def scene(dtype=torch.float64, size=24):
    vertices, faces = random_soup(12, seed=3)
    vertices = vertices.to(dtype)
    cameras = Cameras.orbit([20.0, -130.0], [15.0, -40.0], dtype=dtype)
    return vertices, faces, cameras, rasterize(vertices, faces, cameras, size)


def test_barycentrics_equal_the_textbook_perspective_correction():
    vertices, faces, cameras, fragments = scene()
    for i in range(2):
        face, bary, _, _ = rasterize_by_triangles(
            vertices, faces, float(cameras.azimuth[i]), float(cameras.elevation[i]), 2.5, 50.0, 24, 24
        )
        same = (face == fragments.face[i]) & (face >= 0)
        assert same.sum() > 50
        torch.testing.assert_close(fragments.bary[i][same], bary[same], atol=1e-9, rtol=1e-9)


def test_offset_is_the_neighbouring_pixel_in_the_plane_of_the_face():
    vertices, faces, cameras, fragments = scene()
    here = barycentrics(vertices, faces, cameras, fragments.face, 24)
    torch.testing.assert_close(here, fragments.bary)
    right = barycentrics(vertices, faces, cameras, fragments.face, 24, (1.0, 0.0))
    below = barycentrics(vertices, faces, cameras, fragments.face, 24, (0.0, 1.0))
    face = fragments.face
    along = (face[:, :, 1:] == face[:, :, :-1]) & (face[:, :, 1:] >= 0)
    down = (face[:, 1:] == face[:, :-1]) & (face[:, 1:] >= 0)
    assert along.sum() > 50 and down.sum() > 50
    torch.testing.assert_close(right[:, :, :-1][along], here[:, :, 1:][along])
    torch.testing.assert_close(below[:, :-1][down], here[:, 1:][down])


def test_float32_barycentrics_stay_accurate_on_faces_smaller_than_a_pixel():
    generator = torch.Generator().manual_seed(0)
    centres = torch.rand(400, 1, 3, generator=generator) - 0.5
    corners = centres + 0.001 * (torch.rand(400, 3, 3, generator=generator) - 0.5)
    vertices, faces = corners.reshape(-1, 3), torch.arange(1200).reshape(400, 3)
    cameras, size = Cameras.orbit(30.0, 20.0), 2048
    face = rasterize(vertices, faces, cameras, size).face
    assert (face >= 0).sum() > 20
    single = barycentrics(vertices, faces, cameras, face, size)
    exact = barycentrics(vertices.double(), faces, cameras.to(dtype=torch.float64), face, size)
    position = interpolate(vertices, faces, face, single)
    expected = interpolate(vertices.double(), faces, face, exact)
    assert (position - expected).abs().max() < 2e-6


def test_gradients_in_vertices_and_cameras():
    vertices, faces, _, _ = scene()
    azimuth = torch.tensor([20.0], dtype=torch.float64, requires_grad=True)
    elevation = torch.tensor([15.0], dtype=torch.float64, requires_grad=True)
    vertices = vertices.requires_grad_(True)
    face = rasterize(vertices, faces, Cameras.orbit(20.0, 15.0, dtype=torch.float64), 9).face
    assert (face >= 0).sum() > 5

    def function(vertices, azimuth, elevation):
        cameras = Cameras.orbit(azimuth, elevation, dtype=torch.float64)
        return barycentrics(vertices, faces, cameras, face, 9)

    assert torch.autograd.gradcheck(function, (vertices, azimuth, elevation))


def test_interpolate_equals_a_loop_over_pixels_in_values_and_gradients():
    vertices, faces, _, fragments = scene(size=10)
    attribute = torch.rand(vertices.shape[0], 4, dtype=torch.float64, requires_grad=True)
    bary = fragments.bary.clone().requires_grad_(True)
    ours = interpolate(attribute, faces, fragments.face, bary)

    twin = torch.zeros_like(ours)
    for n, i, j in torch.nonzero(fragments.face >= 0).tolist():
        corners = attribute[faces[fragments.face[n, i, j]]]
        twin[n, i, j] = sum(bary[n, i, j, k] * corners[k] for k in range(3))
    torch.testing.assert_close(ours, twin)
    weight = torch.rand_like(ours)
    inputs = (attribute, bary)
    for got, expected in zip(
        torch.autograd.grad((ours * weight).sum(), inputs),
        torch.autograd.grad((twin * weight).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def test_a_view_of_nothing_is_all_zero():
    vertices, faces = random_soup(3, seed=0)
    cameras = Cameras.orbit(0.0, 0.0)
    face = torch.full((1, 4, 4), -1)
    assert barycentrics(vertices, faces, cameras, face, 4).abs().sum() == 0
    assert interpolate(vertices, faces, face, torch.ones(1, 4, 4, 3)).abs().sum() == 0


def test_an_edge_on_face_gives_finite_numbers():
    vertices = torch.tensor([[0.0, -1, -1], [0, 1, -1], [0, 0, 1]])
    face = torch.zeros(1, 3, 3, dtype=torch.int64)
    bary = barycentrics(vertices, torch.tensor([[0, 1, 2]]), Cameras.orbit(0.0, 0.0), face, 3)
    assert torch.isfinite(bary).all()

import importlib.util
import math

import pytest
import torch
from reference.brute_force import first_hit_by_solving, rasterize_by_triangles
from reference.tiny_meshes import random_closed, random_soup, sphere_mesh

from texgen.errors import PlainError
from texgen.render.cameras import Cameras, rig_cameras
from texgen.render.rasterize import first_hits, rasterize


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_equals_a_z_buffer_filled_triangle_by_triangle(seed):
    vertices, faces = random_soup(40, seed)
    cameras = Cameras.orbit([15.0 + 50 * seed, -140.0], [30.0, -55.0], distance=1.9 + 0.3 * seed)
    height, width = 40, 56
    fragments = rasterize(vertices, faces, cameras, (height, width))
    for i in range(2):
        face, bary, depth, margin = rasterize_by_triangles(
            vertices,
            faces,
            float(cameras.azimuth[i]),
            float(cameras.elevation[i]),
            float(cameras.distance[i]),
            50.0,
            height,
            width,
        )
        clear = margin > 1e-4
        assert clear.float().mean() > 0.95
        assert torch.equal(fragments.face[i][clear], face[clear])
        hit = clear & (face >= 0)
        assert hit.sum() > 500
        torch.testing.assert_close(fragments.bary[i][hit].double(), bary[hit], atol=2e-4, rtol=0)
        torch.testing.assert_close(fragments.depth[i][hit].double(), depth[hit], atol=1e-5, rtol=1e-5)


def test_nothing_is_marked_everywhere():
    vertices, faces = random_soup(5, 0)
    fragments = rasterize(vertices, faces, Cameras.orbit([0.0, 70.0], 0.0), 32)
    nothing = fragments.face < 0
    assert nothing.any() and (~nothing).any()
    assert fragments.bary[nothing].abs().sum() == 0 and fragments.depth[nothing].abs().sum() == 0
    assert fragments.face.dtype == torch.int64 and fragments.bary.dtype == torch.float32
    torch.testing.assert_close(fragments.bary[~nothing].sum(-1), torch.ones(int((~nothing).sum())))


def test_orientation():
    """A triangle to the right of the front camera is right in the image; one on top is in the upper rows."""
    small = torch.tensor([[0.0, 0.1, 0.0], [-0.1, -0.1, 0.0], [0.1, -0.1, 0.0]])
    vertices = torch.cat([small + torch.tensor([0.5, 0.0, 0.0]), small + torch.tensor([0.0, 0.5, 0.0])])
    face = rasterize(vertices, torch.arange(6).reshape(2, 3), Cameras.orbit(0.0, 0.0), 32).face[0]
    rows, columns = torch.nonzero(face == 0, as_tuple=True)
    assert columns.min() >= 16 and 13 <= rows.float().mean() <= 18
    rows, columns = torch.nonzero(face == 1, as_tuple=True)
    assert rows.max() < 16 and 13 <= columns.float().mean() <= 18


def test_each_camera_sees_the_side_it_stands_at():
    big = torch.tensor([[0.0, 0.6, 0.0], [-0.6, -0.6, 0.0], [0.6, -0.6, 0.0]])
    right = big[:, [2, 1, 0]] + torch.tensor([0.7, 0.0, 0.0])
    top = big[:, [0, 2, 1]] + torch.tensor([0.0, 0.7, 0.0])
    vertices = torch.cat([big - torch.tensor([0.0, 0, 0.7]), right, top])
    faces = torch.arange(9).reshape(3, 3)
    face = rasterize(vertices, faces, Cameras.orbit([90.0, 180.0, 0.0], [0.0, 0.0, 89.9]), 33).face
    assert face[:, 18, 16].tolist() == [1, 0, 2]


def test_near_and_far_cut_surfaces_away():
    triangle = torch.tensor([[0.0, 1.0, 0.0], [-1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
    vertices = torch.cat([triangle + torch.tensor([0.0, 0.0, z]) for z in (2.0, 0.0, -2.0)])
    faces = torch.arange(9).reshape(3, 3)
    seen = []
    for near, far in ((0.01, 100.0), (1.0, 100.0), (3.0, 100.0), (3.0, 4.0)):
        camera = Cameras.orbit(0.0, 0.0)
        camera = Cameras(camera.azimuth, camera.elevation, camera.distance, camera.fov_y, near, far)
        seen.append(int(rasterize(vertices, faces, camera, 9).face[0, 4, 4]))
    assert seen == [0, 1, 2, -1]


def test_first_hits_equals_solving_every_triangle_and_names_corners_in_order():
    vertices, faces = random_soup(25, 4)
    generator = torch.Generator().manual_seed(1)
    origins = (torch.rand(60, 3, generator=generator) * 2 - 1) * 1.5
    directions = (torch.rand(60, 3, generator=generator) - 0.5 - origins) * 3  # not of unit length
    face, distance, bary = first_hits(vertices, faces, origins, directions)
    assert (face >= 0).sum() > 15
    for i in range(60):
        expected_face, expected_distance, expected_bary = first_hit_by_solving(
            vertices, faces, origins[i], directions[i]
        )
        assert int(face[i]) == expected_face
        if expected_face >= 0:
            assert math.isclose(float(distance[i]), expected_distance, rel_tol=1e-4)
            torch.testing.assert_close(bary[i].double(), torch.from_numpy(expected_bary), atol=1e-4, rtol=0)
        else:
            assert distance[i] == 0 and bary[i].abs().sum() == 0


def test_max_distance():
    vertices = torch.tensor([[0.0, 1.0, 0.0], [-1.0, -1.0, 0.0], [1.0, -1.0, 0.0]])
    faces, origin = torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 0.0, 2.0]])
    down = torch.tensor([[0.0, 0.0, -1.0]])
    assert first_hits(vertices, faces, origin, down, 1.9)[0].tolist() == [-1]
    assert first_hits(vertices, faces, origin, down, 2.1)[0].tolist() == [0]


@pytest.mark.parametrize("seed", [0, 1])
def test_no_ray_leaks_through_shared_edges_or_vertices(seed):
    """Rays from inside a closed surface aimed at its vertices, edge points and anywhere all hit something."""
    vertices, faces = random_closed(seed, rows=16)
    generator = torch.Generator().manual_seed(seed)
    corners = vertices[faces]
    along = torch.rand(faces.shape[0], 3, 1, generator=generator)
    on_edges = (corners * along + corners.roll(1, dims=1) * (1 - along)).reshape(-1, 3)
    middles = ((corners + corners.roll(1, dims=1)) / 2).reshape(-1, 3)
    anywhere = torch.randn(20000, 3, generator=generator)
    for origin in (torch.zeros(3), torch.tensor([0.05, -0.03, 0.02])):
        targets = torch.cat([vertices, on_edges, middles, anywhere]) - origin
        face, distance, _ = first_hits(vertices, faces, origin.expand_as(targets), targets)
        assert (face >= 0).all()


def test_pixels_on_edges_do_not_leak():
    """With odd sizes the poles, and edges of the sphere's grid, lie exactly on pixel centres."""
    mesh = sphere_mesh(16)
    size = 65
    fragments = rasterize(mesh.vertices, mesh.faces, rig_cameras("front"), size)
    rows, columns = torch.meshgrid(torch.arange(size) - 32, torch.arange(size) - 32, indexing="ij")
    inside = (rows**2 + columns**2) < 20**2  # the sphere's radius is about 24 pixels
    assert (fragments.face[:, inside] >= 0).all()


def test_changing_vertices_in_place_is_seen():
    vertices, faces = random_soup(10, 0)
    cameras = Cameras.orbit(0.0, 0.0)
    before = rasterize(vertices, faces, cameras, 16).face
    vertices.numpy()[:] += 10.0
    assert (rasterize(vertices, faces, cameras, 16).face == -1).all()
    vertices.data -= 10.0
    assert torch.equal(rasterize(vertices, faces, cameras, 16).face, before)


def test_empty_inputs():
    vertices, faces = random_soup(2, 0)
    face, _, bary = first_hits(vertices, faces, torch.zeros(0, 3), torch.zeros(0, 3))
    assert face.shape == (0,) and bary.shape == (0, 3)
    assert (rasterize(vertices, faces[:0], Cameras.orbit(0.0, 0.0), 4).face == -1).all()


def test_bad_input_is_named():
    vertices, faces = random_soup(2, 0)
    with pytest.raises(ValueError, match="0 to 6, but there are 6 vertices"):
        rasterize(vertices, faces + (faces == 5), Cameras.orbit(0.0, 0.0), 4)
    with pytest.raises(ValueError, match="not finite"):
        rasterize(vertices * math.nan, faces, Cameras.orbit(0.0, 0.0), 4)
    with pytest.raises(ValueError, match="warp, nvdiffrast"):
        rasterize(vertices, faces, Cameras.orbit(0.0, 0.0), 4, backend="opengl")


@pytest.mark.skipif(torch.cuda.is_available(), reason="checks the answer on a machine without CUDA")
def test_nvdiffrast_says_what_is_missing():
    vertices, faces = random_soup(2, 0)
    with pytest.raises(PlainError, match='nvdiffrast is not installed; .*use backend "warp"'):
        rasterize(vertices, faces, Cameras.orbit(0.0, 0.0), 4, backend="nvdiffrast")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="Warp on CUDA needs a CUDA device")
def test_cuda_equals_cpu():
    vertices, faces = random_soup(40, 7)
    cameras = Cameras.orbit([15.0, -140.0], [30.0, -55.0])
    cpu = rasterize(vertices, faces, cameras, 64)
    gpu = rasterize(vertices.cuda(), faces.cuda(), cameras, 64)
    assert (cpu.face == gpu.face.cpu()).float().mean() > 0.999


@pytest.mark.skipif(
    not torch.cuda.is_available() or importlib.util.find_spec("nvdiffrast") is None,
    reason="nvdiffrast needs a CUDA device and its package",
)
def test_nvdiffrast_equals_warp():
    vertices, faces = random_soup(40, 7)
    vertices, faces = vertices.cuda(), faces.cuda()
    cameras = Cameras.orbit([15.0, -140.0], [30.0, -55.0])
    ours = rasterize(vertices, faces, cameras, 64)
    theirs = rasterize(vertices, faces, cameras, 64, backend="nvdiffrast")
    same = ours.face == theirs.face
    assert same.float().mean() > 0.99
    torch.testing.assert_close(ours.bary[same], theirs.bary[same])

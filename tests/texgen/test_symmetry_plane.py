"""Mirror planes of shapes whose planes are known, and the pairs of points that they give."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from reference.known_shapes import box, rotation, torus
from reference.tiny_meshes import make_mesh, sphere_mesh, square_mesh

from texgen.geometry.mirror_plane import (
    ClosestPoints,
    MirrorPlane,
    barycentrics,
    find_plane,
    mirror_patches,
    sample_surface,
    surface_axes,
)
from texgen.mesh.procedural import trefoil


def moved(mesh, matrix, shift=(0.0, 0.0, 0.0)):
    return replace(
        mesh,
        vertices=mesh.vertices @ matrix.T + torch.tensor(shift),
        vertex_normals=mesh.vertex_normals @ matrix.T,
    )


def ellipsoid(axes=(0.8, 0.5, 0.6), rows=12):
    mesh = sphere_mesh(rows, 1.0)
    return make_mesh(mesh.vertices * torch.tensor(axes), mesh.faces, mesh.uvs, mesh.uv_faces, "ellipsoid")


@pytest.mark.parametrize("shape", [box, torus, ellipsoid])
def test_of_equal_planes_the_one_between_left_and_right_is_taken(shape):
    plane = find_plane(shape())
    assert plane.residual < 2e-3
    assert plane.normal[0] > 0.999 and abs(plane.offset) < 1e-3


def test_the_plane_moves_with_the_mesh():
    turn, shift = rotation(25.0, 35.0), (0.1, -0.2, 0.05)
    plane = find_plane(moved(ellipsoid(), turn, shift))
    assert plane.residual < 4e-3
    along = (plane.normal.float() @ turn).abs()  # the normal in the ellipsoid's own axes
    assert along.max() > 0.999
    assert plane.offset == pytest.approx(float(plane.normal @ torch.tensor(shift).double()), abs=5e-3)
    points = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(plane.mirror(plane.mirror(points)), points)
    assert ((plane.mirror(points) - points) @ plane.normal).abs().max() > 0.1


def test_a_lump_on_one_side_does_not_turn_the_plane():
    """A chair with something on it: its axes of inertia tilt, its mirror plane does not."""
    body, lump = box((0.7, 1.2, 0.9), 8), ellipsoid((0.1, 0.1, 0.1), 6)
    lump_vertices = lump.vertices + torch.tensor([0.25, 0.65, 0.3])
    vertices = torch.cat((body.vertices, lump_vertices))
    faces = torch.cat((body.faces, lump.faces + len(body.vertices)))
    mesh = make_mesh(vertices, faces, vertices[:, :2])
    _, axes = surface_axes(mesh)
    assert np.abs(axes @ [1, 0, 0]).max() < 0.9999
    plane = find_plane(mesh)
    assert plane.normal[0] > 0.99999 and abs(plane.offset) < 2e-3
    assert 1e-4 < plane.residual < 0.02


def test_vertices_that_crowd_somewhere_do_not_matter():
    """The released code's plane follows vertices, this one the surface."""
    coarse = box((0.8, 0.6, 1.0), 4)
    a, b, c = coarse.vertices[coarse.faces[0]]
    crowd = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    crowd = (crowd / crowd.sum(-1, keepdim=True)) @ torch.stack((a, b, c))
    crowded = replace(coarse, vertices=torch.cat((coarse.vertices, crowd)))
    plane = find_plane(crowded)
    assert plane.normal[0] > 0.999 and plane.residual < 1e-3
    centre = crowded.vertices.mean(0)
    spread = crowded.vertices - centre
    normal = torch.linalg.eigh(spread.T @ spread)[1][:, 0]
    assert abs(float(normal @ centre)) > 0.05 or normal.abs().max() < 0.99


def test_shapes_without_a_mirror_have_a_large_residual():
    vertices, faces = trefoil(steps=48, sides=8)
    vertices = torch.from_numpy(vertices / np.ptp(vertices, axis=0).max() * 1.6)
    plane = find_plane(make_mesh(vertices, torch.from_numpy(faces), vertices[:, :2]))
    assert plane.residual > 0.015


def test_axes_of_the_surface_equal_those_of_many_points():
    mesh = moved(ellipsoid((0.8, 0.3, 0.5)), rotation(20.0, 50.0), (0.1, 0.2, 0.0))
    centre, axes = surface_axes(mesh)
    points, _ = sample_surface(mesh, 20000)
    np.testing.assert_allclose(points.mean(0), centre, atol=5e-3)
    expected = np.linalg.eigh(np.cov(points.T))[1].T
    assert (np.abs((axes * expected).sum(1)) > 0.999).all()


def test_points_spread_by_area():
    mesh = box((1.0, 0.5, 0.25), 2)
    points, face = sample_surface(mesh, 2000)
    corners = mesh.vertices.double()[mesh.faces]
    area = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1) / 2
    share = np.bincount(face, minlength=len(area)) / 2000
    np.testing.assert_allclose(share, (area / area.sum()).numpy(), atol=2e-3)
    distance, at, _ = ClosestPoints(mesh).closest(points)
    assert distance.max() < 1e-7
    again, _ = sample_surface(mesh, 2000)
    assert (again == points).all()


def test_barycentrics_match_a_linear_solve():
    random = np.random.default_rng(0)
    corners = random.normal(size=(20, 3, 3))
    weights = random.dirichlet((1, 1, 1), size=20)
    points = (corners * weights[..., None]).sum(1)
    np.testing.assert_allclose(barycentrics(points, corners), weights, atol=1e-9)
    lifted = points + 0.3 * np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    np.testing.assert_allclose(barycentrics(lifted, corners), weights, atol=1e-9)


def test_pairs_of_the_torus_are_mirrored_in_its_chart():
    """The chart runs around the torus from the back, so the mirror image of u is 1 - u."""
    mesh = torus()
    plane = find_plane(mesh)
    patches = mirror_patches(mesh, plane, patches=100)
    assert patches.uv.shape == patches.mirror_uv.shape == (*patches.valid.shape, 2)
    assert 90 < len(patches.valid) < 110
    assert patches.valid.float().mean() > 0.95
    here, there = patches.uv[patches.valid], patches.mirror_uv[patches.valid]
    # The positive side, and patches that reach over the plane in front (u = 0.5) or at the back (0.1, 0.9).
    assert ((here[:, 0] > 0.45) | (here[:, 0] < 0.15)).all()
    torch.testing.assert_close(1 - there[:, 0], here[:, 0], atol=2e-3, rtol=0)
    # v wraps on the inner side.
    turn = ((there[:, 1] - here[:, 1] + 0.4) % 0.8 - 0.4).abs()
    assert turn.max() < 2e-3


def test_images_behind_a_thin_wall_are_no_partners():
    """A sheet with two sides, tilted: images of points of its underside come to lie above it."""
    square = square_mesh()
    front = square.vertices + torch.tensor([0.0, 0.0, 0.02]) * square.vertices[:, :1]
    vertices = torch.cat((front, front - torch.tensor([0.0, 0.0, 0.02])))
    faces = torch.cat((square.faces, square.faces.flip(1) + 4))
    uvs = torch.cat((square.uvs * 0.4, square.uvs * 0.4 + 0.5))
    sheet = make_mesh(vertices, faces, uvs)
    plane = MirrorPlane(torch.tensor([1.0, 0.0, 0.0]).double(), 0.0, 0.0)
    patches = mirror_patches(sheet, plane, patches=60)
    behind = patches.uv[..., 0] > 0.45
    assert (behind == (patches.mirror_uv[..., 0] > 0.45))[patches.valid].all()
    assert patches.valid[~behind].float().mean() > 0.9 > 0.6 > patches.valid[behind].float().mean() > 0.1


def test_a_flat_sheet_has_a_plane_and_may_have_no_pairs():
    sheet = square_mesh()
    plane = find_plane(sheet)
    assert plane.residual < 1e-6
    own = replace(plane, normal=torch.tensor([0.0, 0.0, 1.0]).double(), offset=0.0)
    assert mirror_patches(sheet, own).uv.shape == (0, 16, 2)

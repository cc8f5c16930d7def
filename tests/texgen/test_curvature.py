"""Curvature of shapes whose curvature is known."""

import math

import numpy as np
import pytest
import torch

from texgen.geometry.curvature import principal_curvatures
from texgen.mesh.mesh import Mesh, area_weighted_normals
from texgen.mesh.procedural import cube_sphere, tube


def as_mesh(vertices, faces):
    vertices, faces = (
        torch.as_tensor(vertices, dtype=torch.float32),
        torch.as_tensor(faces, dtype=torch.int64),
    )
    normals = area_weighted_normals(vertices, faces)
    return Mesh("m", vertices, faces, vertices[:, :2], faces, normals, torch.zeros(3), 1.0)


def open_tube(radius=0.3, rings=30, sides=32):
    """An open cylinder along y, wound outwards."""
    height = np.linspace(-0.8, 0.8, rings)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    y, a = np.meshgrid(height, angle, indexing="ij")
    vertices = np.stack((radius * np.sin(a), y, radius * np.cos(a)), axis=-1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij")
    p, q = row * sides + column, row * sides + (column + 1) % sides
    faces = [np.stack((p, q, q + sides), -1), np.stack((p, q + sides, p + sides), -1)]
    return as_mesh(vertices, np.concatenate(faces).reshape(-1, 3)), torch.tensor(np.abs(y).ravel() < 0.5)


def test_cylinder():
    mesh, inside = open_tube()
    d_min, d_max, k_min, k_max = (values[inside] for values in principal_curvatures(mesh, radius=2))
    assert torch.allclose(k_max, torch.full_like(k_max, 1 / 0.3), rtol=0.05)
    assert k_min.abs().max() < 0.05
    assert d_min[:, 1].abs().min() > 0.999
    assert d_max[:, 1].abs().max() < 0.02
    assert (d_max * mesh.vertex_normals[inside]).sum(-1).abs().max() < 0.05


def test_boundary_of_the_cylinder_has_directions_too():
    mesh, _ = open_tube()
    d_min, _, k_min, k_max = principal_curvatures(mesh)
    assert torch.allclose(d_min.norm(dim=-1), torch.ones(len(d_min)), atol=1e-5)
    assert torch.isfinite(k_min).all() and (k_min <= k_max).all()


def test_sphere_is_convex_and_has_equal_curvatures():
    vertices, faces = cube_sphere(14)
    _, _, k_min, k_max = principal_curvatures(as_mesh(0.8 * vertices, faces), radius=2)
    expected = torch.full_like(k_min, 1 / 0.8)
    assert torch.allclose(k_min, expected, rtol=0.03) and torch.allclose(k_max, expected, rtol=0.03)


def test_torus_follows_its_formula():
    """Around the tube 1 / r; along it cos(angle) / (R + r cos(angle)), negative on the inner side."""
    big, small, steps, sides = 0.6, 0.2, 72, 32
    t = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    circle = np.stack((big * np.sin(t), np.zeros(steps), big * np.cos(t)), axis=1)
    vertices, faces = tube(circle, np.full(steps, small), sides, closed=True)
    d_min, d_max, k_min, k_max = principal_curvatures(as_mesh(vertices, faces), radius=2)
    distance = np.hypot(vertices[:, 0], vertices[:, 2])
    along = torch.tensor((distance - big) / small / distance, dtype=torch.float32)
    assert torch.allclose(k_max, torch.full_like(k_max, 1 / small), rtol=0.05)
    assert torch.allclose(k_min, along, atol=0.06)
    assert (k_min[torch.tensor(distance < big - 0.1)] < 0).all()
    ring = torch.tensor(np.stack((vertices[:, 2], 0 * distance, -vertices[:, 0]), 1) / distance[:, None])
    assert (d_min * ring).sum(-1).abs().min() > 0.99
    assert (d_max * ring).sum(-1).abs().max() < 0.1


def test_values_converge_with_the_mesh_at_the_default_radius():
    errors = []
    for sides in (24, 48, 96):
        mesh, inside = open_tube(rings=sides, sides=sides)
        k_max = principal_curvatures(mesh)[3][inside]
        errors.append(float((0.3 * k_max - 1).abs().max()))
    assert errors[2] < errors[1] / 3 < errors[0] / 9 and errors[2] < 0.03


def test_larger_objects_are_less_curved():
    vertices, faces = cube_sphere(8)
    one, three = (principal_curvatures(as_mesh(size * vertices, faces))[3] for size in (1, 3))
    assert torch.allclose(one, 3 * three, rtol=1e-3)


@pytest.mark.parametrize("faces", [[[0, 1, 2]], [[0, 1, 2], [0, 1, 3], [0, 1, 4]], [[0, 1, 2], [2, 3, 4]]])
def test_where_nothing_can_be_fitted_there_is_no_direction(faces):
    torch.manual_seed(0)
    for values in principal_curvatures(as_mesh(torch.rand(5, 3), faces)):
        assert torch.isfinite(values).all()
    d_min, _, k_min, _ = principal_curvatures(as_mesh(torch.rand(5, 3), [[0, 1, 2]]))
    assert (d_min == 0).all() and (k_min == 0).all()


def test_soups_give_finite_numbers():
    generator = np.random.default_rng(3)
    for _ in range(5):
        faces = generator.integers(0, 30, size=(60, 3))
        faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
        used, faces = np.unique(faces, return_inverse=True)
        mesh = as_mesh(generator.normal(size=(len(used), 3)), faces.reshape(-1, 3))
        for values in principal_curvatures(mesh):
            assert torch.isfinite(values).all()


def test_radius_is_checked():
    mesh, _ = open_tube()
    with pytest.raises(ValueError, match="at least 2"):
        principal_curvatures(mesh, radius=1)
    assert math.isfinite(float(principal_curvatures(mesh, radius=2)[2].sum()))

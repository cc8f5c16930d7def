"""Line fields in the texture against known charts and against a plain loop."""

import math

import numpy as np
import pytest
import torch

from texgen.geometry.prepared import prepare_geometry
from texgen.geometry.uv_frames import bake, push_to_uv, uv_line_field
from texgen.mesh.mesh import Mesh, area_weighted_normals
from texgen.mesh.procedural import cube_sphere
from texgen.reading.unwrap import unwrap
from texgen.render.atlas import build_atlas, texel_barycentrics


def tube_chart(turn=0.0, stretch=1.0, radius=0.3, rows=24, columns=40):
    """An open cylinder along y, unrolled to one chart: u around (stretched), v along, turned by `turn`."""
    along, around = torch.meshgrid(
        torch.linspace(-0.8, 0.8, rows + 1), torch.linspace(0, 2 * math.pi, columns + 1), indexing="ij"
    )
    vertices = torch.stack((radius * around.sin(), along, radius * around.cos()), -1).reshape(-1, 3)
    flat = torch.stack(((around - math.pi) * radius * stretch, along), -1).reshape(-1, 2)
    angle = math.radians(turn)
    rotation = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    uvs = (flat @ rotation) / 3.2 + 0.5
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    p = (i * (columns + 1) + j).reshape(-1)
    q = p + columns + 1
    uv_faces = torch.cat((torch.stack((p, p + 1, q + 1), -1), torch.stack((p, q + 1, q), -1)))
    # The seam is open in uv and welded in 3D.
    welded = torch.arange(len(vertices)).reshape(rows + 1, columns + 1).clone()
    welded[:, -1] = welded[:, 0]
    used, index = welded.reshape(-1).unique(return_inverse=True)
    faces, vertices = index[uv_faces], vertices[used]
    normals = area_weighted_normals(vertices, faces)
    return Mesh("tube", vertices, faces, uvs, uv_faces, normals, torch.zeros(3), 1.0)


def ball(cells, stretch=(1.0, 1.0, 1.0), radius=0.8):
    """An ellipsoid with charts by xatlas."""
    points, faces = cube_sphere(cells)
    points = points * np.array(stretch) * radius
    charts = unwrap(points, faces)
    vertices, faces = torch.from_numpy(points).float(), torch.from_numpy(faces)
    uvs, uv_faces = torch.from_numpy(charts.uvs), torch.from_numpy(charts.uv_faces)
    normals = area_weighted_normals(vertices, faces)
    return Mesh("ball", vertices, faces, uvs, uv_faces, normals, torch.zeros(3), 1.0)


@pytest.mark.parametrize("turn", [0.0, 30.0, 90.0])
@pytest.mark.parametrize("stretch", [1.0, 0.5])
def test_minimum_curvature_of_a_tube_runs_along_it(turn, stretch):
    mesh = tube_chart(turn, stretch)
    geometry = prepare_geometry(mesh, 64, radius=2)
    inside = geometry.atlas.mask[0] > 0
    inside &= geometry.atlas.position[..., 1].abs() < 0.5  # away from the open ends
    # v axis turned by `turn` towards -u: the direction of the tube's axis in uv.
    x, y = -math.sin(math.radians(turn)), math.cos(math.radians(turn))
    expected = torch.tensor([x * x, x * y, y * y])[:, None]
    assert (geometry.min_direction_tensor[:, inside] - expected).abs().max() < 0.02
    assert geometry.anisotropy[0, inside].min() > 0.9
    assert torch.allclose(geometry.mean_curvature[0, inside], torch.tensor(1 / 0.6), rtol=0.06)
    assert (geometry.min_direction_tensor * (1 - geometry.atlas.mask)).abs().max() == 0
    assert inside.sum() > 300


def test_trace_is_one_inside_and_zero_outside():
    mesh = tube_chart(17.0)
    atlas = build_atlas(mesh, 48)
    torch.manual_seed(0)
    field = uv_line_field(mesh, atlas, torch.randn(len(mesh.vertices), 3))
    assert torch.allclose(field[0] + field[2], atlas.mask[0], atol=1e-5)
    # A tensor of a line has no negative eigenvalue, also after interpolation.
    assert (field[0] * field[2] - field[1] ** 2).min() > -1e-5


def test_signs_and_lengths_do_not_matter():
    mesh = tube_chart(40.0)
    atlas = build_atlas(mesh, 32)
    torch.manual_seed(1)
    directions = torch.randn(len(mesh.vertices), 3)
    factors = torch.randn(len(mesh.vertices), 1)
    one, other = uv_line_field(mesh, atlas, directions), uv_line_field(mesh, atlas, directions * factors)
    assert torch.allclose(one, other, atol=1e-4)


def test_line_field_matches_a_plain_loop():
    mesh = ball(cells=6, stretch=(1.0, 0.7, 0.8))
    torch.manual_seed(2)
    directions = torch.randn(len(mesh.vertices), 3)
    directions -= (directions * mesh.vertex_normals).sum(-1, keepdim=True) * mesh.vertex_normals
    atlas = build_atlas(mesh, 24)
    field = uv_line_field(mesh, atlas, directions)
    for i, j in atlas.mask[0].nonzero().tolist():
        face = int(atlas.face[i, j])
        corners = mesh.vertices[mesh.faces[face]].double().numpy()
        uv = mesh.uvs[mesh.uv_faces[face]].double().numpy()
        edges, uv_edges = (corners[1:] - corners[0]).T, (uv[1:] - uv[0]).T
        point = np.array([(j + 0.5) / 24, (i + 0.5) / 24])
        two = np.linalg.solve(uv_edges, point - uv[0])
        weights = np.clip([1 - two.sum(), *two], 0, 1)
        expected = np.zeros(3)
        for weight, vertex in zip(weights / weights.sum(), mesh.faces[face].tolist(), strict=True):
            local, *_ = np.linalg.lstsq(edges, directions[vertex].double().numpy(), rcond=None)
            x, y = uv_edges @ local / np.linalg.norm(uv_edges @ local)
            expected += weight * np.array([x * x, x * y, y * y])
        assert np.allclose(field[:, i, j].numpy(), expected, atol=1e-3), (i, j)


def test_push_keeps_what_the_chart_keeps():
    """A direction pushed to uv is the difference of the uvs of two surface points along it."""
    mesh = tube_chart(25.0, 0.7)
    a, b, c = mesh.vertices[mesh.faces[0]]
    directions = torch.zeros_like(mesh.vertices)
    directions[mesh.faces[0]] = 0.3 * (b - a) - 0.6 * (c - a) + 2.0 * mesh.face_normals()[0]
    ua, ub, uc = mesh.uvs[mesh.uv_faces[0]]
    expected = 0.3 * (ub - ua) - 0.6 * (uc - ua)
    assert torch.allclose(push_to_uv(mesh, directions)[0], expected.double().expand(3, 2), atol=1e-6)


def test_no_direction_gives_the_isotropic_tensor():
    mesh = tube_chart()
    atlas = build_atlas(mesh, 16)
    field = uv_line_field(mesh, atlas, torch.zeros_like(mesh.vertices))
    inside = atlas.mask[0] > 0
    assert torch.allclose(field[:, inside], torch.tensor([0.5, 0.0, 0.5])[:, None])


def test_bake_matches_positions():
    mesh = tube_chart(10.0)
    atlas = build_atlas(mesh, 40)
    baked = bake(mesh, atlas, mesh.vertices, texel_barycentrics(mesh, atlas))
    assert torch.allclose(baked.permute(1, 2, 0), atlas.position, atol=1e-5)


def test_sphere_has_little_anisotropy():
    geometry = prepare_geometry(ball(cells=12), 32, radius=2)
    inside = geometry.atlas.mask > 0
    assert geometry.anisotropy[inside].mean() < 0.02
    assert geometry.mean_curvature[inside].mean() == pytest.approx(1 / 0.8, rel=0.03)

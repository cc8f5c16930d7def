"""The atlas against a plain point-in-triangle loop."""

import numpy as np
import pytest
import torch

from texgen.mesh.mesh import Mesh, area_weighted_normals
from texgen.render.atlas import build_atlas, overlapping_share, texel_barycentrics


def random_charts(seed=0, count=5):
    """Triangles strewn over 3D with disjoint uv triangles, one in each fifth of the unit square."""
    generator = torch.Generator().manual_seed(seed)
    vertices = torch.rand(3 * count, 3, generator=generator)
    faces = torch.arange(3 * count).reshape(count, 3)
    strip = torch.arange(count).repeat_interleave(3)[:, None] * torch.tensor([[0.0, 1.0]])
    uvs = (torch.rand(3 * count, 2, generator=generator) + strip) / torch.tensor([1.0, count])
    normals = area_weighted_normals(vertices, faces)
    return Mesh("strewn", vertices, faces, uvs, faces.clone(), normals, torch.zeros(3), 1.0)


def test_atlas_matches_a_plain_loop():
    mesh, size = random_charts(), 24
    atlas = build_atlas(mesh, size)
    bary = texel_barycentrics(mesh, atlas)
    covered = 0
    for i in range(size):
        for j in range(size):
            point = np.array([(j + 0.5) / size, (i + 0.5) / size])
            found, near_edge = -1, False
            for face, corners in enumerate(mesh.uvs[mesh.uv_faces].double().numpy()):
                two = np.linalg.solve((corners[1:] - corners[0]).T, point - corners[0])
                weights = np.array([1 - two.sum(), *two])
                near_edge |= abs(weights.min()) < 1e-4
                if (weights >= 0).all():
                    found, expected = face, weights
            if near_edge:
                continue
            assert int(atlas.face[i, j]) == found
            assert float(atlas.mask[0, i, j]) == float(found >= 0)
            if found < 0:
                assert (atlas.position[i, j] == 0).all() and (bary[i, j] == 0).all()
                continue
            covered += 1
            corners = mesh.vertices[mesh.faces[found]].double().numpy()
            assert np.allclose(atlas.position[i, j].numpy(), expected @ corners, atol=1e-4)
            assert np.allclose(bary[i, j].numpy(), expected, atol=1e-4)
    assert covered > 20
    normals = atlas.normal[atlas.mask[0] > 0]
    assert torch.allclose(normals.norm(dim=-1), torch.ones(len(normals)), atol=1e-5)


def test_row_zero_is_at_v_zero():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    normals = area_weighted_normals(vertices, faces)
    mesh = Mesh("square", vertices, faces, vertices[:, :2].clone(), faces, normals, torch.zeros(3), 1.0)
    atlas = build_atlas(mesh, 4)
    assert (atlas.mask == 1).all()  # also on the diagonal that the two faces share
    rows = torch.tensor([0.125, 0.375, 0.625, 0.875])
    assert torch.allclose(atlas.position[..., 1], rows[:, None].expand(4, 4), atol=1e-6)
    assert torch.allclose(atlas.position[..., 0], rows[None].expand(4, 4), atol=1e-6)
    assert atlas.to("cpu").face.dtype == torch.int64


def test_overlap_is_measured():
    mesh = random_charts(count=2)
    assert overlapping_share(mesh) == 0
    stacked = Mesh(
        "stacked", mesh.vertices, mesh.faces, mesh.uvs[:3].repeat(2, 1), mesh.uv_faces, mesh.vertex_normals,
        mesh.centre, 1.0,
    )  # fmt: skip
    assert overlapping_share(stacked) == pytest.approx(0.5)
    flat = Mesh(
        "flat", mesh.vertices, mesh.faces, torch.zeros(6, 2), mesh.uv_faces, mesh.vertex_normals,
        mesh.centre, 1.0,
    )  # fmt: skip
    assert overlapping_share(flat) == 0


def test_size_is_checked():
    with pytest.raises(ValueError, match="positive"):
        build_atlas(random_charts(), 0)

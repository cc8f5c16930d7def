"""Coverage, seam error and multi-view consistency on textures whose answer is known."""

import itertools
import math

import numpy as np
import pytest
import torch
from reference.tiny_meshes import sphere_mesh, square_mesh
from scipy.stats import wasserstein_distance

from report import quality
from texgen.render.atlas import build_atlas
from texgen.render.texture_lookup import sample

SIZE = 64


@pytest.fixture(scope="module")
def sphere():
    mesh = sphere_mesh()
    atlas = build_atlas(mesh, SIZE)
    return mesh, atlas, quality.prepare_surface(mesh, atlas, size=32)


def over_u(function) -> torch.Tensor:
    """Texture [3, T, T] whose colour depends on u alone."""
    u = (torch.arange(SIZE) + 0.5) / SIZE
    return function(u).expand(3, SIZE, SIZE).contiguous()


def test_texels_share_the_area_of_the_surface(sphere):
    mesh, _, surface = sphere
    corners = mesh.vertices[mesh.faces]
    exact = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1) / 2
    assert float(surface.texel_area.sum()) == pytest.approx(float(exact.sum()), rel=1e-4)


def test_coverage_is_a_share_of_area_not_of_texels(sphere):
    _, _, surface = sphere
    cap = torch.zeros(1, SIZE, SIZE)
    cap[:, : SIZE // 4] = 1  # a quarter of the texels, up to 45 degrees from the pole
    assert quality.coverage(cap, surface) == pytest.approx((1 - math.cos(math.pi / 4)) / 2, abs=0.02)
    assert quality.coverage(torch.ones(1, SIZE, SIZE), surface) == pytest.approx(1.0)
    assert quality.coverage(torch.zeros(1, SIZE, SIZE), surface) == 0.0


def test_seam_points_are_the_same_surface_points_on_both_charts(sphere):
    mesh, _, surface = sphere
    rows = 12
    # The one seam of the sphere is the meridian u = 0 = 1, of 10 edges between its poles' triangles.
    u = torch.stack((surface.seam_a[:, 0], surface.seam_b[:, 0]), dim=1).sort(dim=1).values
    side = ((u[:, 0] < 1e-6) & (u[:, 1] > 1 - 1e-6)).sum()
    assert side >= (rows - 2) * quality.SEAM_POINTS
    on_side = (u[:, 0] < 1e-6) & (u[:, 1] > 1 - 1e-6)
    assert torch.allclose(surface.seam_a[on_side, 1], surface.seam_b[on_side, 1])
    # Twin: edges by a plain dictionary.
    edges = {}
    for face, uv_face in zip(mesh.faces.tolist(), mesh.uv_faces.tolist(), strict=True):
        for k in range(3):
            ends = sorted([(face[k], uv_face[k]), (face[(k + 1) % 3], uv_face[(k + 1) % 3])])
            edges.setdefault(tuple(v for v, _ in ends), []).append([mesh.uvs[t].tolist() for _, t in ends])
    seams = [e for e, sides in edges.items() if len(sides) == 2 and not np.allclose(*sides)]
    length = sum(float((mesh.vertices[a] - mesh.vertices[b]).norm()) for a, b in seams)
    assert len(surface.seam_weight) == len(seams) * quality.SEAM_POINTS
    assert float(surface.seam_weight.sum()) == pytest.approx(length, rel=1e-5)


def test_seam_error_of_known_textures(sphere):
    _, _, surface = sphere
    assert quality.seam_error(torch.full((3, SIZE, SIZE), 0.3), surface) == pytest.approx(0, abs=1e-6)
    smooth = over_u(lambda u: 0.5 + 0.5 * torch.cos(2 * math.pi * u))  # meets itself at the seam
    broken = over_u(lambda u: u)  # 0 on one side, 1 on the other
    assert quality.seam_error(smooth, surface) < 0.05  # the poles are no seam, but uv splits them
    # Twin: between the outermost centres bilinear lookup of u gives u itself, beyond them it clamps.
    seen = [uv[:, 0].clamp(0.5 / SIZE, 1 - 0.5 / SIZE) for uv in (surface.seam_a, surface.seam_b)]
    expected = ((seen[0] - seen[1]).abs() * surface.seam_weight).sum() / surface.seam_weight.sum()
    assert quality.seam_error(broken, surface) == pytest.approx(float(expected), abs=1e-4)
    assert expected > 0.1


def test_a_mesh_without_seams_has_no_seam_error():
    mesh = square_mesh()
    surface = quality.prepare_surface(mesh, build_atlas(mesh, 16), size=16)
    assert quality.seam_error(torch.rand(3, 16, 16), surface) is None


def test_consistency_equals_the_wasserstein_distances_of_scipy(sphere):
    _, _, surface = sphere
    texture = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    texture = (texture + over_u(lambda u: u)) / 2
    total, pairs = 0.0, list(itertools.combinations(surface.views, 2))
    for a, b in pairs:
        for direction in quality.colour_directions():
            colours = [(sample(texture, uv) @ direction).numpy() for uv in (a, b)]
            total += wasserstein_distance(*colours)
    expected = 1 - total / (len(pairs) * 13)
    assert quality.multiview_consistency(texture, surface) == pytest.approx(expected, abs=2e-3)


def test_consistency_prefers_one_style_all_around(sphere):
    _, _, surface = sphere
    stripes = over_u(lambda u: (torch.sin(2 * math.pi * 16 * u) > 0).float())
    halves = over_u(lambda u: (u > 0.5).float())
    assert quality.multiview_consistency(torch.zeros(3, SIZE, SIZE), surface) == pytest.approx(1.0)
    even, uneven = (quality.multiview_consistency(t, surface) for t in (stripes, halves))
    assert even > 0.95 and uneven < even - 0.1


def test_colour_directions_are_one_of_each_pair():
    directions = quality.colour_directions()
    assert directions.shape == (13, 3)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(13))
    cosines = (directions @ directions.T).abs() - torch.eye(13)
    assert float(cosines.max()) < 1 - 1e-3


def test_background_bleed_is_a_share_of_area(sphere):
    _, _, surface = sphere
    behind = (0.6, 0.74, 0.76)
    texture = torch.full((3, SIZE, SIZE), 0.2)
    assert quality.background_bleed(texture, surface, behind) == 0.0
    texture[:, : SIZE // 4] = torch.tensor(behind)[:, None, None] + 0.05
    share = (1 - math.cos(math.pi / 4)) / 2
    assert quality.background_bleed(texture, surface, behind) == pytest.approx(share, abs=0.02)

"""Unwrapping: every face gets its own place in the unit square; unusable uvs are named."""

import numpy as np
import pytest
import torch

from texgen.mesh.mesh import Mesh
from texgen.mesh.procedural import cube_sphere, spring
from texgen.reading import unwrap as unwrap_module
from texgen.reading.box_charts import LEAST_COSINE, box_charts
from texgen.reading.unwrap import areas, chart_labels, unwrap, uv_problem
from texgen.render.atlas import overlapping_share


def as_mesh(vertices, faces, uvs, uv_faces):
    vertices = torch.tensor(vertices, dtype=torch.float32)
    return Mesh(
        "m", vertices, torch.tensor(faces), torch.tensor(uvs, dtype=torch.float32), torch.tensor(uv_faces),
        torch.nn.functional.normalize(vertices, dim=-1), torch.zeros(3), 1.0,
    )  # fmt: skip


@pytest.mark.parametrize("dense", [False, True])
def test_charts_do_not_overlap_and_cover_every_face(monkeypatch, dense):
    if dense:
        monkeypatch.setattr(unwrap_module, "DENSE_FACES", 100)
        monkeypatch.setattr(unwrap_module, "DENSE_FACES_PER_CHART", 60)
    vertices, faces = cube_sphere(12)
    result = unwrap(vertices, faces)
    assert result.uv_faces.shape == faces.shape and result.uvs.dtype == np.float32
    assert result.uvs.min() >= 0 and result.uvs.max() <= 1
    assert uv_problem(result.uvs, result.uv_faces, areas(vertices, faces)) is None
    assert overlapping_share(as_mesh(vertices, faces, result.uvs, result.uv_faces)) < 0.005
    assert result.charts == chart_labels(result.uv_faces).max() + 1
    assert (result.charts > 10) == dense
    # One texel covers about the same area everywhere.
    ratio = areas(result.uvs, result.uv_faces) / areas(vertices, faces)
    assert np.quantile(ratio, 0.95) < 4 * np.quantile(ratio, 0.05)


def test_corners_belong_to_the_faces_of_the_input():
    vertices, faces = cube_sphere(4)
    result = unwrap(vertices, faces)
    owner = {}
    for face, uv_face in zip(faces, result.uv_faces, strict=True):
        for vertex, uv in zip(face, uv_face, strict=True):
            assert owner.setdefault(uv, vertex) == vertex


def test_texels_are_square():
    """A flat rectangle keeps its proportions, whatever the shape of xatlas's page."""
    vertices = np.array([[0, 0, 0], [4, 0, 0], [4, 1, 0], [0, 1, 0]], dtype=float)
    result = unwrap(vertices, np.array([[0, 1, 2], [0, 2, 3]]))
    uv = result.uvs[result.uv_faces[0]]
    assert np.linalg.norm(uv[1] - uv[0]) / np.linalg.norm(uv[2] - uv[1]) == pytest.approx(4, rel=0.05)


def test_areas_match_a_plain_loop():
    vertices, faces = np.random.default_rng(0).random((6, 3)), np.array([[0, 1, 2], [3, 4, 5]])
    for points in (vertices, vertices[:, :2]):
        for face, found in zip(faces, areas(points, faces), strict=True):
            a, b, c = (np.linalg.norm(points[face[i]] - points[face[i - 1]]) for i in range(3))
            s = (a + b + c) / 2
            assert found == pytest.approx(np.sqrt(s * (s - a) * (s - b) * (s - c)))


def test_unusable_uvs_are_named():
    uvs, uv_faces, ones = np.random.default_rng(1).random((6, 2)), np.arange(6).reshape(2, 3), np.ones(2)
    assert uv_problem(uvs, uv_faces, ones) is None
    assert uv_problem(None, None, ones) == "are missing"
    assert "1 of 2" in uv_problem(uvs, np.array([[0, 1, 2], [3, -1, 5]]), ones)
    assert "finite" in uv_problem(np.where(uvs == uvs[0], np.nan, uvs), uv_faces, ones)
    flat = uvs.copy()
    flat[:3] = 0.5
    assert "no area on 50%" in uv_problem(flat, uv_faces, ones)
    assert uv_problem(flat, uv_faces, np.array([0.001, 1.0])) is None  # too small a part to give up the rest


def test_chart_labels_match_a_plain_flood():
    uv_faces = np.array([[0, 1, 2], [5, 6, 7], [2, 1, 3], [7, 8, 9], [10, 11, 12]])
    labels = chart_labels(uv_faces)
    assert labels[0] == labels[2] and labels[1] == labels[3]
    assert len({labels[0], labels[1], labels[4]}) == 3 and labels.max() == 2


def test_the_same_mesh_gets_the_same_charts():
    vertices, faces = cube_sphere(6)
    one, two = unwrap(vertices, faces), unwrap(vertices, faces)
    assert one.note is None
    assert np.array_equal(one.uvs, two.uvs) and np.array_equal(one.uv_faces, two.uv_faces)


def signed_areas(uvs, uv_faces):
    a, b, c = (uvs[uv_faces[:, k]] for k in range(3))
    return ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2


@pytest.mark.parametrize("shape", [lambda: cube_sphere(12), lambda: spring(96, 8)])
def test_charts_by_direction_cover_every_face_once_and_none_is_mirrored(shape):
    vertices, faces = shape()
    uvs, uv_faces, charts = box_charts(vertices, faces, 3 / 512)
    assert uvs.min() >= 0 and uvs.max() <= 1 and uv_faces.shape == faces.shape
    assert uv_problem(uvs, uv_faces, areas(vertices, faces)) is None
    assert charts == chart_labels(uv_faces).max() + 1
    assert overlapping_share(as_mesh(vertices, faces, uvs, uv_faces)) < 0.005
    # As seen along an axis: at one scale, and never more obliquely than is allowed.
    ratio = signed_areas(uvs, uv_faces) / areas(vertices, faces)
    assert ratio.min() > 0 and ratio.min() >= LEAST_COSINE * ratio.max() * 0.999


def test_charts_by_direction_keep_their_distance():
    vertices, faces = cube_sphere(8)
    uvs, uv_faces, charts = box_charts(vertices, faces, 0.02)
    label = chart_labels(uv_faces)
    boxes = [
        (uvs[uv_faces[label == k]].min((0, 1)), uvs[uv_faces[label == k]].max((0, 1))) for k in range(charts)
    ]
    for k, (low, high) in enumerate(boxes):
        assert low.min() > 0.019 and high.max() < 0.981
        for other_low, other_high in boxes[:k]:
            assert np.maximum(other_low - high, low - other_high).max() > 0.019


def test_noise_does_not_crumble_charts_by_direction():
    vertices, faces = cube_sphere(24)
    noisy = vertices * (1 + np.random.default_rng(0).normal(size=(len(vertices), 1)) * 0.004)
    assert box_charts(noisy, faces, 0.01)[2] < 60


def test_edges_of_three_faces_and_many_loose_faces_are_unwrapped_by_direction():
    fan = np.array([[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]], dtype=float)
    uvs, uv_faces, charts = box_charts(fan, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]), 0.01)
    assert charts == 3 and (areas(uvs, uv_faces) > 0).all()
    loose = np.random.default_rng(0).normal(size=(3 * 2000, 3))
    uvs, uv_faces, charts = box_charts(loose, np.arange(6000).reshape(-1, 3), 3 / 512)
    assert charts == 2000 and (areas(uvs, uv_faces) > 0).all()


def test_a_mesh_beyond_the_limit_is_unwrapped_fast_and_says_so(monkeypatch):
    monkeypatch.setattr(unwrap_module, "MOST_FACES", 100)
    monkeypatch.setattr(unwrap_module.xatlas, "Atlas", None)
    vertices, faces = cube_sphere(6)
    result = unwrap(vertices, faces)
    assert result.uvs.dtype == np.float32 and result.uv_faces.dtype == np.int64
    assert f"{len(faces)} faces is unwrapped by direction" in result.note and "at most 100" in result.note
    assert result.charts == chart_labels(result.uv_faces).max() + 1

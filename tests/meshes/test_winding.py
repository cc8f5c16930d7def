"""Winding by component, hard edges, and the normals of the export."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.tiny_meshes import sphere_mesh

from texgen.mesh.parts import RawMesh
from texgen.reading.normals import SMOOTH_WITHIN, corner_normals
from texgen.reading.prepare import prepare
from texgen.reading.winding import turned_faces

FEW = settings(max_examples=40, deadline=None)


def sphere(rows=6, at=(0.0, 0.0, 0.0), size=1.0):
    mesh = sphere_mesh(rows)
    return mesh.vertices.double().numpy() * size + np.array(at), mesh.faces.numpy()


def joined(*solids):
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in solids])
    faces = [f + o for (_, f), o in zip(solids, offsets, strict=False)]
    return np.concatenate([v for v, _ in solids]), np.concatenate(faces)


def outward_share(vertices, faces, centre=(0, 0, 0)):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(((np.cross(b - a, c - a) * (a - np.array(centre))).sum(axis=1) > 0).mean())


def turned(vertices, faces, normals=None):
    turn, notes = turned_faces(vertices, faces, normals)
    return np.where(turn[:, None], faces[:, ::-1], faces), notes


@FEW
@given(st.integers(0, 2**31), st.floats(0, 1))
def test_any_mixture_of_windings_of_a_solid_ends_outwards(seed, share):
    vertices, faces = sphere()
    mixed = np.random.default_rng(seed).random(len(faces)) < share
    found, notes = turned(vertices, np.where(mixed[:, None], faces[:, ::-1], faces))
    assert outward_share(vertices, found) == 1.0
    assert bool(notes) == bool(mixed.any())


@FEW
@given(st.lists(st.booleans(), min_size=2, max_size=5), st.booleans())
def test_each_solid_is_judged_by_itself(inverted, hole):
    solids = []
    for index, turn in enumerate(inverted):
        vertices, faces = sphere(at=(3.0 * index, 0, 0))
        solids.append((vertices, faces[:, ::-1] if turn else faces))
    vertices, faces = joined(*solids)
    if hole:
        faces = faces[2:]  # a solid with a small hole still has an inside
    found, _ = turned(vertices, faces)
    owner = np.round(vertices[found].mean(axis=1)[:, 0] / 3)
    for index in range(len(inverted)):
        assert outward_share(vertices, found[owner == index], (3.0 * index, 0, 0)) == 1.0


def test_a_hollow_stays_a_hollow_and_an_inverted_whole_is_turned():
    outer, inner = sphere(), sphere(size=0.5)
    vertices, faces = joined(outer, (inner[0], inner[1][:, ::-1]))
    found, notes = turned(vertices, faces)
    assert notes == [] and np.array_equal(found, faces)
    again, notes = turned(vertices, faces[:, ::-1])
    assert notes == ["The faces pointed inwards and were turned."] and np.array_equal(again, faces)


def test_a_sheet_is_left_alone_unless_its_normals_say_otherwise():
    grid = np.array([(x, y, 0.0) for x in range(3) for y in range(3)])
    faces = np.array(
        [(i, i + 3, i + 1) for i in (0, 1, 3, 4)] + [(i + 1, i + 3, i + 4) for i in (0, 1, 3, 4)]
    )
    assert turned(grid, faces)[1] == []
    towards = np.cross(grid[faces[:, 1]] - grid[faces[:, 0]], grid[faces[:, 2]] - grid[faces[:, 0]])
    found, notes = turned(grid, faces, -towards)
    assert np.array_equal(found, faces[:, ::-1]) and notes


def test_a_strip_with_one_side_is_said():
    count = 24
    angle = np.arange(count) / count * 2 * np.pi
    edge = [np.stack([(1 + s * np.cos(angle / 2) / 3) * np.cos(angle), (1 + s * np.cos(angle / 2) / 3) * np.sin(angle), s * np.sin(angle / 2) / 3], 1) for s in (-1, 1)]  # fmt: skip  # noqa: E501
    vertices, faces = np.concatenate(edge), []
    for i in range(count):
        j = (i + 1) % count
        a, b, c, d = i, j, j + count, i + count
        if j == 0:
            b, c = c, b
        faces += [(a, b, c), (a, c, d)]
    _, notes = turned(vertices, np.array(faces))
    assert any("one side only" in note for note in notes)


def write_box(path, normals=True, smooth=""):
    points = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    lines = [f"v {x} {y} {z}" for x, y, z in points]
    lines += [f"vn {n}" for n in ("-1 0 0", "1 0 0", "0 -1 0", "0 1 0", "0 0 -1", "0 0 1")] + [smooth]
    for side, quad in enumerate(quads, start=1):
        lines.append("f " + " ".join(f"{i + 1}//{side}" if normals else str(i + 1) for i in quad))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("normals", [True, False])
def test_hard_edges_stay_hard(tmp_path, normals):
    mesh = prepare(write_box(tmp_path / "box.obj", normals), "box").mesh
    assert mesh.normals.abs().amax(dim=1).min() > 0.999
    corners = mesh.normals[mesh.normal_faces]
    assert torch.allclose(corners, mesh.face_normals()[:, None].expand(-1, 3, -1), atol=1e-5)


def test_smoothing_groups_decide_where_they_are(tmp_path):
    mesh = prepare(write_box(tmp_path / "box.obj", False, "s 1"), "box").mesh
    assert mesh.normals.abs().amax(dim=1).max() < 0.9  # one group: rounded like a cushion, as the file says
    mesh = prepare(write_box(tmp_path / "box.obj", False, "s off"), "box").mesh
    assert mesh.normals.abs().amax(dim=1).min() > 0.999


@pytest.mark.parametrize("degrees, smooth", [(SMOOTH_WITHIN - 5, True), (SMOOTH_WITHIN + 5, False)])
def test_edges_split_by_their_angle(degrees, smooth):
    angle = np.deg2rad(degrees)
    points = np.array([(0, 0, 0), (0, 1, 0), (-1, 0, 0), (np.cos(angle), 0, np.sin(angle))])
    raw = RawMesh(points, np.array([(0, 1, 2), (0, 3, 1)]))
    normals, corners = corner_normals(raw)
    assert np.allclose(normals[corners[0, 0]], normals[corners[1, 0]]) == smooth
    assert np.allclose(np.linalg.norm(normals, axis=1), 1)


def test_normals_that_are_no_numbers_are_computed():
    vertices, faces = sphere()
    given_normals = vertices.copy()
    given_normals[0], given_normals[1] = np.nan, 0.0
    normals, corners = corner_normals(RawMesh(vertices, faces, normals=given_normals, normal_faces=faces))
    assert np.isfinite(normals).all() and np.allclose(np.linalg.norm(normals, axis=1), 1)
    assert ((normals[corners] * vertices[faces]).sum(axis=-1) > 0).all()

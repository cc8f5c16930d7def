"""Reading and cleaning meshes: every format, every kind of broken file, and the working mesh's transform."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh
from reference.tiny_meshes import sphere_mesh

from texgen.errors import PlainError
from texgen.mesh.mesh import Mesh, MeshError, area_weighted_normals, load_mesh, save_mesh
from texgen.reading.orientation import rotation_matrix
from texgen.reading.polygons import cut_ears
from texgen.reading.prepare import prepare, prepare_mesh, read_mesh

# A closed box of quads with one uv chart per side; corners are wound outwards.
BOX_VERTICES = [(x, y, z) for x in (0, 3) for y in (0, 2) for z in (0, 1)]
BOX_QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def box_obj(relative=False, uvs=True):
    lines = ["mtllib missing.mtl", "o box"]
    lines += [f"v {x} {y} {z} 0.5 0.5 0.5" for x, y, z in BOX_VERTICES]
    count = 0
    for side, quad in enumerate(BOX_QUADS):
        left, low = (side % 3) / 3, (side // 3) / 2
        corners = [(0, 0), (0.3, 0), (0.3, 0.4), (0, 0.4)]
        lines += [f"vt {left + u} {low + v} 0" for u, v in corners]
        count += 4
        lines.append(f"usemtl material_{side % 2}")
        words = []
        for k, vertex in enumerate(quad):
            position = vertex - 8 if relative else vertex + 1
            texcoord = k - 4 if relative else count - 3 + k
            words.append(f"{position}/{texcoord}" if uvs else f"{position}")
        lines.append("f " + " ".join(words))
    return "\n".join(lines) + "\n"


def write(path, text):
    path.write_text(text)
    return path


def surface(vertices, faces):
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    return np.linalg.norm(cross, axis=1).sum() / 2, (a * cross).sum() / 6


@pytest.mark.parametrize("relative", [False, True])
def test_obj_with_quads_uvs_and_materials(tmp_path, relative):
    vertices, faces, uvs, uv_faces = read_mesh(write(tmp_path / "box.obj", box_obj(relative)))
    assert vertices.shape == (8, 3) and faces.shape == (12, 3)
    assert uvs.shape == (24, 2) and uv_faces.shape == (12, 3)
    assert surface(vertices, faces) == pytest.approx((22.0, 6.0))
    # Every corner keeps the uv that the file gave it: side 3 starts at (0, 1/2).
    assert set(map(tuple, uvs[12:16].round(6))) == {(0, 0.5), (0.3, 0.5), (0.3, 0.9), (0, 0.9)}


def test_seams_survive_welding(tmp_path):
    mesh, warnings = prepare_mesh(write(tmp_path / "box.obj", box_obj()), "box")
    assert len(mesh.vertices) == 8 and len(mesh.uvs) == 24
    assert warnings == ["Vertex colours are not kept: the texture replaces them."]


@pytest.mark.parametrize("ending", ["ply", "off", "stl", "glb", "obj"])
def test_formats_agree(tmp_path, ending):
    vertices, faces, _, _ = read_mesh(write(tmp_path / "box.obj", box_obj()))
    path = tmp_path / f"other.{ending}"
    trimesh.Trimesh(vertices, faces, process=False).export(path)
    mesh, _ = prepare_mesh(path, "box")
    assert len(mesh.vertices) == 8 and len(mesh.faces) == 12
    assert surface(mesh.input_vertices().numpy(), mesh.faces.numpy()) == pytest.approx((22, 6), rel=1e-5)


def test_ply_and_off_polygons_are_cut(tmp_path):
    ply = ["ply", "format ascii 1.0", "element vertex 5"]
    ply += [f"property float {axis}" for axis in "xyz"]
    ply += ["element face 1", "property list uchar int vertex_indices", "end_header"]
    points = ["0 0 0", "2 0 0", "2 1 0", "1 2 0", "0 1 0"]
    pentagon = write(tmp_path / "a.ply", "\n".join([*ply, *points, "5 0 1 2 3 4"]) + "\n")
    off = write(tmp_path / "a.off", "\n".join(["OFF", "5 1 0", *points, "5 0 1 2 3 4"]) + "\n")
    for path in (pentagon, off):
        vertices, faces, _, _ = read_mesh(path)
        assert len(faces) == 3 and surface(vertices, faces)[0] == pytest.approx(3.0)


@pytest.mark.parametrize("per_corner", [False, True])
def test_ply_uvs(tmp_path, per_corner):
    """PLY files hold uvs per vertex (s, t) or, as MeshLab writes them, per face corner (texcoord)."""
    points, uvs = ["0 0 0", "1 0 0", "1 1 0", "0 1 0"], ["0.1 0.1", "0.9 0.1", "0.9 0.8", "0.1 0.8"]
    faces = [(0, 1, 2), (0, 2, 3)]
    head = ["ply", "format ascii 1.0", "element vertex 4", *(f"property float {axis}" for axis in "xyz")]
    head += [] if per_corner else ["property float s", "property float t"]
    head += ["element face 2", "property list uchar int vertex_indices"]
    head += ["property list uchar float texcoord"] if per_corner else []
    rows = points if per_corner else [f"{p} {t}" for p, t in zip(points, uvs, strict=True)]
    for face in faces:
        row = "3 {} {} {}".format(*face)
        rows.append(row + " 6 " + " ".join(uvs[k] for k in face) if per_corner else row)
    text = "\n".join([*head, "end_header", *rows]) + "\n"
    mesh, warnings = prepare_mesh(write(tmp_path / "quad.ply", text), "quad")
    assert warnings == [] and len(mesh.vertices) == 4
    positions = mesh.input_vertices()[mesh.faces].reshape(-1, 3)[:, :2]
    expected = positions * torch.tensor([0.8, 0.7]) + 0.1
    assert torch.allclose(mesh.uvs[mesh.uv_faces].reshape(-1, 2).double(), expected, atol=1e-5)


def test_gltf_scene_transforms_are_applied_and_parts_merged(tmp_path):
    unit = trimesh.creation.box()
    scene = trimesh.Scene()
    scene.add_geometry(unit, transform=trimesh.transformations.translation_matrix([5, 0, 0]), node_name="a")
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    scene.add_geometry(unit, transform=mirror, node_name="b")
    for ending in ("glb", "gltf"):
        path = tmp_path / f"two.{ending}"
        if ending == "glb":
            scene.export(path)
        else:
            for name, data in trimesh.exchange.gltf.export_gltf(scene).items():
                (tmp_path / (path.name if name.endswith(".gltf") else name)).write_bytes(data)
        vertices, faces, _, _ = read_mesh(path)
        assert np.ptp(vertices, axis=0) == pytest.approx([6, 1, 1])
        assert surface(vertices, faces) == pytest.approx((12, 2))  # both wound outwards


def test_concave_polygon_is_cut_inside(tmp_path):
    points = np.array([(0, 0, 0), (4, 0, 0), (4, 3, 0), (2, 1, 0), (0, 3, 0)], dtype=float)
    triangles = np.array(cut_ears(points))
    signed = np.cross(points[triangles[:, 1]] - points[triangles[:, 0]],
                      points[triangles[:, 2]] - points[triangles[:, 0]])[:, 2] / 2  # fmt: skip
    assert (signed > 0).all() and signed.sum() == pytest.approx(8.0)
    text = "".join("v {} {} {}\n".format(*p) for p in points) + "f 1 2 3 4 5\n"
    vertices, faces, _, _ = read_mesh(write(tmp_path / "notch.obj", text))
    assert surface(vertices, faces)[0] == pytest.approx(8.0)


def test_welds_drops_and_counts(tmp_path):
    text = box_obj(uvs=False)
    text += "v 3 2 1.0000001\nv 9 9 9\nf 1 2 2\nf 1 2 4\nf 9 5 6\nf 1 4 6\n"
    mesh, warnings = prepare_mesh(write(tmp_path / "box.obj", text), "box")
    assert len(mesh.vertices) == 8  # the near copy welded, the unused one gone
    assert any("1 faces without area" in w for w in warnings)
    assert any("repeated" in w for w in warnings)
    assert any("not manifold" in w for w in warnings)


def test_inside_out_solid_is_turned(tmp_path):
    vertices, faces, _, _ = read_mesh(write(tmp_path / "box.obj", box_obj()))
    trimesh.Trimesh(vertices, faces[:, ::-1], process=False).export(tmp_path / "in.ply")
    mesh, warnings = prepare_mesh(tmp_path / "in.ply", "box")
    assert surface(mesh.vertices.numpy(), mesh.faces.numpy())[1] > 0
    assert any("inwards" in w for w in warnings)


REFUSED = {
    "points.obj": ("v 0 0 0\nv 1 0 0\n", "2 points and no faces"),
    "empty.obj": ("# nothing\n", "no faces"),
    "nan.obj": ("v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "not finite"),
    "flat.obj": ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", "no face with an area"),
    "spot.obj": ("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "no face with an area"),
    "index.obj": ("v 0 0 0\nv 1 0 0\nf 1 2 7\n", "line 3"),
    "words.obj": ("v 0 zero 0\n", "line 1"),
    "broken.ply": ("ply\nformat ascii 1.0\nelement vertex 900\nend_header\n0 0\n", "claims 900"),
    "broken.glb": ("not a glb", "GLB"),
    "broken.stl": ("solid\n", "STL"),
    "broken.gltf": ("{", "JSON"),
    "shape.fbx": ("", "convert"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refuses_in_one_sentence_that_names_the_file(tmp_path, name):
    text, expected = REFUSED[name]
    with pytest.raises(MeshError) as caught:
        prepare_mesh(write(tmp_path / name, text), "x")
    message = str(caught.value)
    if name != "broken.stl":  # an empty solid may be read as no faces
        assert expected in message
    assert name in message and "\n" not in message and message.endswith(".")


def test_missing_file_and_point_cloud(tmp_path):
    with pytest.raises(MeshError, match="no mesh file"):
        read_mesh(tmp_path / "nowhere.ply")
    trimesh.PointCloud(np.random.rand(5, 3)).export(tmp_path / "cloud.ply")
    with pytest.raises(MeshError, match="no faces"):
        read_mesh(tmp_path / "cloud.ply")


def test_normalisation_and_its_inverse(tmp_path):
    path = write(tmp_path / "box.obj", box_obj())
    mesh, _ = prepare_mesh(path, "box", rotate="x:-90,y:30")
    low, high = mesh.vertices.amin(0), mesh.vertices.amax(0)
    assert torch.allclose((low + high) / 2, torch.zeros(3), atol=1e-6)
    assert float((high - low).max()) == pytest.approx(1.6)
    vertices, _, _, _ = read_mesh(path)
    assert np.allclose(mesh.input_vertices().numpy(), vertices, atol=1e-5)
    upright, _ = prepare_mesh(path, "box", longest_side=2.0)
    back = upright.vertices.double() / upright.scale + upright.centre
    assert np.allclose(back.numpy(), vertices, atol=1e-6)


def test_rotation_turns_the_right_way():
    assert np.allclose(rotation_matrix("x:-90") @ [0, 0, 1], [0, 1, 0])  # z up becomes y up
    assert np.allclose(rotation_matrix("y:90") @ [-1, 0, 0], [0, 0, 1])
    assert np.allclose(rotation_matrix("x:-90,y:90") @ [0, 0, 1], [0, 1, 0])
    assert np.allclose(rotation_matrix(""), np.eye(3))
    with pytest.raises(PlainError, match="not a turn"):
        rotation_matrix("up")


def test_uv_policies(tmp_path):
    path = write(tmp_path / "box.obj", box_obj())
    assert prepare(path, "box").kept_uvs
    unwrapped = prepare(path, "box", uv_policy="unwrap")
    assert not unwrapped.kept_uvs and unwrapped.charts == 6
    missing = write(tmp_path / "some.obj", box_obj().replace("f 1/1 ", "f 1 "))
    again = prepare(missing, "box")
    assert not again.kept_uvs and any("missing on 2 of 12" in w for w in again.warnings)
    tiled = write(tmp_path / "tiled.obj", box_obj().replace("vt 0.3 ", "vt 3.3 "))
    assert any("several tiles" in w for w in prepare(tiled, "box").warnings)
    with pytest.raises(ValueError, match="uv policy"):
        prepare(path, "box", uv_policy="guess")


def test_overlapping_uvs_are_kept_and_said(tmp_path):
    text = box_obj().replace("vt 0.6666666666666666 ", "vt 0.0 ").replace("vt 0.9666666666666666 ", "vt 0.3 ")
    prepared = prepare(write(tmp_path / "box.obj", text), "box")
    assert prepared.kept_uvs and any("more than one face" in w for w in prepared.warnings)


def test_random_soup_survives_or_is_refused(tmp_path):
    generator = np.random.default_rng(0)
    for trial in range(6):
        vertices = generator.normal(size=(12, 3))
        faces = generator.integers(0, 12, size=(20, 3))
        text = "".join("v {} {} {}\n".format(*v) for v in vertices)
        text += "".join("f {} {} {}\n".format(*(f + 1)) for f in faces)
        mesh, _ = prepare_mesh(write(tmp_path / f"{trial}.obj", text), "soup")
        assert torch.isfinite(mesh.vertex_normals).all()
        assert torch.allclose(mesh.vertex_normals.norm(dim=-1), torch.ones(len(mesh.vertices)), atol=1e-5)
        assert mesh.uvs.min() >= 0 and mesh.uvs.max() <= 1


def test_vertex_normals_match_a_plain_loop():
    torch.manual_seed(0)
    vertices, faces = torch.randn(9, 3), torch.randint(0, 9, (14, 3))
    faces = faces[(faces != faces.roll(1, 1)).all(1)]
    expected = torch.zeros(9, 3)
    for a, b, c in faces.tolist():
        cross = torch.linalg.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
        for corner in (a, b, c):
            expected[corner] += cross
    used = faces.unique()
    expected = expected[used] / expected[used].norm(dim=-1, keepdim=True)
    assert torch.allclose(area_weighted_normals(vertices, faces)[used], expected, atol=1e-5)


def test_two_sheets_back_to_back_have_normals():
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    normals = area_weighted_normals(vertices, torch.tensor([[0, 1, 2], [0, 2, 1]]))
    assert torch.allclose(normals[:, 2].abs(), torch.ones(3))


def test_mesh_file_round_trip(tmp_path):
    mesh, _ = prepare_mesh(write(tmp_path / "box.obj", box_obj()), "böx", rotate="y:20")
    save_mesh(mesh, tmp_path / "deep" / "mesh.npz")
    again = load_mesh(tmp_path / "deep" / "mesh.npz")
    assert again.name == "böx" and again.scale == mesh.scale
    for name in ("vertices", "faces", "uvs", "uv_faces", "vertex_normals", "centre", "rotation"):
        assert torch.equal(getattr(mesh, name), getattr(again, name)), name
        assert getattr(mesh, name).dtype == getattr(again, name).dtype
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["mesh.npz"]


def test_load_mesh_refuses_other_files(tmp_path):
    with pytest.raises(MeshError, match="run the step"):
        load_mesh(tmp_path / "none.npz")
    write(tmp_path / "text.npz", json.dumps({}))
    with pytest.raises(MeshError, match="not a prepared mesh"):
        load_mesh(tmp_path / "text.npz")
    np.savez(tmp_path / "pickled.npz", vertices=np.array([{"a": 1}], dtype=object))
    with pytest.raises(MeshError, match="not a prepared mesh"):
        load_mesh(tmp_path / "pickled.npz")


def test_to_changes_working_tensors_only(tmp_path):
    mesh, _ = prepare_mesh(write(tmp_path / "box.obj", box_obj()), "box")
    double = mesh.to(dtype=torch.float64)
    assert isinstance(double, Mesh) and double.vertices.dtype == torch.float64
    assert double.faces.dtype == torch.int64 and mesh.to(dtype=torch.float16).centre.dtype == torch.float64
    normals = mesh.face_normals()
    assert torch.allclose(normals.norm(dim=-1), torch.ones(12))


def test_the_shape_key_is_that_of_the_shape():
    mesh = sphere_mesh(6)
    key = mesh.shape_key()
    noise = 1e-7 * torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(0))
    order = torch.randperm(len(mesh.faces), generator=torch.Generator().manual_seed(1))
    alike = [
        replace(mesh, name="other"),
        replace(mesh, vertices=mesh.vertices + noise),
        replace(mesh, faces=mesh.faces[order], uv_faces=mesh.uv_faces[order]),
        replace(mesh, uvs=1 - mesh.uvs),
        mesh.to(dtype=torch.float64),
    ]
    assert all(each.shape_key() == key for each in alike)
    bump, turned = mesh.vertices.clone(), mesh.vertices.clone()
    bump[5] *= 1.2
    turned[:, 0] *= 0.7
    others = [replace(mesh, vertices=bump), replace(mesh, vertices=turned), sphere_mesh(7)]
    others.append(replace(mesh, vertices=turned[:, [1, 0, 2]]))
    assert len({key, *(each.shape_key() for each in others)}) == 5


def test_progress_is_told_where_a_mesh_is_large_and_nothing_else(tmp_path, monkeypatch):
    path, told = write(tmp_path / "box.obj", box_obj()), []
    prepare(path, "box", uv_policy="unwrap", progress=told.append)
    assert told == []
    monkeypatch.setattr("texgen.reading.prepare.DENSE_FACES", 10)
    monkeypatch.setattr("texgen.reading.unwrap.MOST_FACES", 10)
    prepared = prepare(path, "box", uv_policy="unwrap", progress=told.append)
    assert told == ["cleaning 12 faces", "unwrapping 12 faces"]
    assert any("unwrapped by direction" in each for each in prepared.warnings)

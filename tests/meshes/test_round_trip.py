"""A mesh goes in and the same comes out: geometry and uvs to a millionth, names, places, second uv sets."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.gltf_writer import Writer

from texgen.mesh.export import write_glb
from texgen.mesh.export_files import write_textured
from texgen.reading.prepare import clean, prepare
from texgen.reading.read import read_raw

MESHES = 1000
TEXTURE = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))


def torus(numbers, rows, columns):
    """A closed, bumpy ring: vertices [V, 3], faces, uvs one per corner of its quads."""
    u, v = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    a, b = u * 2 * np.pi / rows, v * 2 * np.pi / columns
    radius = 0.35 + 0.1 * numbers.random((rows, columns))
    points = np.stack(((1 + radius * np.cos(b)) * np.cos(a), radius * np.sin(b), (1 + radius * np.cos(b)) * np.sin(a)), -1)  # fmt: skip  # noqa: E501
    faces, uvs = [], []
    for i in range(rows):
        for j in range(columns):
            k, m = (i + 1) % rows, (j + 1) % columns
            quad = [i * columns + j, i * columns + m, k * columns + m, k * columns + j]
            place = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
            for t in ((0, 1, 2), (0, 2, 3)):
                faces.append([quad[x] for x in t])
                uvs.append([(place[x][0] / rows, place[x][1] / columns) for x in t])
    return points.reshape(-1, 3), np.array(faces), np.array(uvs)


def obj_text(points, faces, uvs, name, material):
    lines = [f"o {name}", f"usemtl {material}"] + [f"v {x!r} {y!r} {z!r}" for x, y, z in points.tolist()]
    lines += [f"vt {u!r} {v!r}" for u, v in uvs.reshape(-1, 2).tolist()]
    count = 0
    for face in faces.tolist():
        lines.append("f " + " ".join(f"{i + 1}/{count + k + 1}" for k, i in enumerate(face)))
        count += 3
    return "\n".join(lines) + "\n"


def ordered(corners):
    """Triangles [F, 3, D] in an order that does not depend on the file: by their values, corners turned."""
    key = np.round(corners, 4)
    first = np.array([min(range(3), key=lambda k: tuple(face[k])) for face in key])
    corners = np.take_along_axis(corners, ((first[:, None] + np.arange(3)) % 3)[..., None], axis=1)
    return corners[np.lexsort(np.round(corners, 4).reshape(len(corners), -1).T[::-1])]


def agrees(path, points, faces, uvs, size):
    raw, _ = clean(read_raw(path), path)
    found = np.concatenate((raw.vertices[raw.faces] / size, raw.uvs[raw.uv_faces]), axis=-1)
    wanted = np.concatenate((points[faces] / size, uvs), axis=-1)
    shift = points.mean(axis=0) / size
    found[..., :3] -= shift
    wanted[..., :3] -= shift
    assert np.abs(ordered(found) - ordered(wanted)).max() < 1e-6


@pytest.mark.timeout(1800)
def test_a_thousand_meshes_come_back(tmp_path):
    numbers = np.random.default_rng(0)
    for trial in range(MESHES):
        points, faces, uvs = torus(numbers, int(numbers.integers(3, 7)), int(numbers.integers(3, 6)))
        scale = 10.0 ** numbers.integers(-4, 6)
        place = numbers.normal(size=3) * scale * 10.0 ** numbers.integers(0, 6)
        points = points * scale + place
        name, material = f"part {trial}", f"Stoff-{trial}"
        path, out = tmp_path / "in.obj", tmp_path / "out.glb"
        path.write_text(obj_text(points, faces, uvs, name, material), encoding="utf-8")
        prepared = prepare(path, "thing", rotate=("", "x:-90", "y:30,z:45")[trial % 3])
        assert prepared.kept_uvs
        write_glb(out, prepared.mesh, TEXTURE)
        size = np.ptp(points, axis=0).max()
        agrees(out, points, faces, uvs, size)
        structure = read_raw(out).structure
        assert [node.name for node in structure.nodes] == [name]
        assert [(part.mesh, part.material) for part in structure.parts] == [(name, material)]


@pytest.mark.parametrize("ending", [".glb", ".obj", ".ply", ".usdz"])
def test_every_format_holds_the_mesh_in_map_coordinates(tmp_path, ending):
    points, faces, uvs = torus(np.random.default_rng(1), 6, 5)
    points = points + (512345.25, 5403210.5, 431.75)
    (tmp_path / "in.obj").write_text(obj_text(points, faces, uvs, "map", "stone"))
    out = tmp_path / f"out{ending}"
    if ending == ".usdz":
        pxr = pytest.importorskip("pxr.Usd")
        write_textured(out, prepare(tmp_path / "in.obj", "map").mesh, TEXTURE)
        stage = pxr.Stage.Open(str(out))
        meshes = [prim for prim in stage.Traverse() if prim.GetTypeName() == "Mesh"]
        assert len(meshes) == 1 and len(meshes[0].GetAttribute("points").Get()) >= len(points)
        move = meshes[0].GetAttribute("xformOp:transform").Get().ExtractTranslation()
        assert np.allclose(move, (points.min(axis=0) + points.max(axis=0)) / 2)
        return
    write_textured(out, prepare(tmp_path / "in.obj", "map").mesh, TEXTURE)
    agrees(out, points, faces, uvs, np.ptp(points, axis=0).max())
    if ending != ".glb":
        assert (tmp_path / "out.png").is_file()


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_a_hierarchy_comes_back(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("tree")
    numbers = np.random.default_rng(data.draw(st.integers(0, 2**31)))
    count = data.draw(st.integers(1, 4))
    writer = Writer()
    writer.document["meshes"], nodes = [], []
    for index in range(count):
        points, faces, uvs = torus(numbers, 4, 3)
        corners = points[faces].reshape(-1, 3)
        flat = (uvs.reshape(-1, 2) * 0.4 + (0.5 * (index % 2), 0.5 * (index // 2))).astype(np.float32)
        first, second = writer.accessor(flat), writer.accessor(1 - flat)
        primitive = writer.primitive(corners, TEXCOORD_0=first, TEXCOORD_1=second)
        writer.document["meshes"].append(
            {"name": f"mesh {index}", "primitives": [primitive | {"material": index}]}
        )
        half = float(numbers.uniform(-1.5, 1.5))
        node = {"name": f"node {index}", "mesh": index, "translation": numbers.normal(size=3).tolist()}
        node |= {"rotation": [np.sin(half), 0, 0, np.cos(half)], "scale": numbers.uniform(0.5, 2, 3).tolist()}
        if index:
            node["scale"][0] *= -1
            nodes[int(numbers.integers(index))].setdefault("children", []).append(index)
        nodes.append(node)
    writer.document["nodes"] = nodes
    writer.document["materials"] = [{"name": f"look {i}", "doubleSided": bool(i % 2)} for i in range(count)]
    writer.document["scenes"], writer.document["scene"] = [{"nodes": [0]}], 0
    (folder / "in.glb").write_bytes(writer.glb())
    write_glb(folder / "out.glb", prepare(folder / "in.glb", "thing").mesh, TEXTURE)
    before, after = clean(read_raw(folder / "in.glb"), "in")[0], clean(read_raw(folder / "out.glb"), "out")[0]
    assert before.structure.parts == after.structure.parts
    names = [(node.name, node.parent) for node in before.structure.nodes]
    assert names == [(node.name, node.parent) for node in after.structure.nodes]
    size = np.ptp(before.vertices, axis=0).max()

    def table(raw):
        values = (raw.vertices[raw.faces] / size, raw.uvs[raw.uv_faces], raw.second_uvs[raw.second_faces])
        return ordered(np.concatenate(values, axis=-1))

    assert np.abs(table(before) - table(after)).max() < 1e-6

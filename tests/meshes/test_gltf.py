"""glTF as its specification says, by random accessors, modes, transforms and extensions."""

import base64
import json
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.gltf_writer import Writer

from texgen.mesh.mesh import MeshError
from texgen.reading.read import read_raw

CUBE = np.array([(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
FACES = np.array([t for a, b, c, d in QUADS for t in ((a, b, c), (a, c, d))])
FEW = settings(max_examples=40, deadline=None)


def read(tmp_path_factory, content, name="shape.glb"):
    path = tmp_path_factory.mktemp("gltf") / name
    path.write_bytes(content)
    return read_raw(path)


def signed_volume(raw):
    a, b, c = (raw.vertices[raw.faces[:, k]] for k in range(3))
    return float((a * np.cross(b, c)).sum() / 6)


def refused(tmp_path_factory, writer):
    with pytest.raises(MeshError) as caught:
        read(tmp_path_factory, writer.glb())
    return str(caught.value)


@FEW
@given(st.data())
def test_every_kind_of_accessor_is_decoded(tmp_path_factory, data):
    kind = data.draw(st.sampled_from(["int8", "uint8", "int16", "uint16", "float32"]))
    normalised = data.draw(st.booleans()) and kind != "float32"
    count = data.draw(st.integers(3, 12))
    numbers = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    limits = (-1, 1) if kind == "float32" else (np.iinfo(kind).min, np.iinfo(kind).max)
    stored = numbers.uniform(*limits, size=(count, 3)).astype(kind)
    writer = Writer()
    sparse, expected = None, stored.astype(np.float64)
    if data.draw(st.booleans()):
        where = np.sort(numbers.choice(count, size=2, replace=False))
        changed = numbers.uniform(*limits, size=(2, 3)).astype(kind)
        sparse = where, changed
        expected[where] = changed
    positions = writer.accessor(stored, normalised, data.draw(st.sampled_from([0, 4])), sparse)
    if normalised:
        expected = np.maximum(expected / np.iinfo(kind).max, -1)
    primitive = {"attributes": {"POSITION": positions}}
    primitive["indices"] = writer.accessor(np.arange(count - count % 3).astype(np.uint8))
    writer.document["extensionsRequired"] = ["KHR_mesh_quantization"]
    writer.scene([primitive])
    assert np.allclose(read(tmp_path_factory, writer.glb()).vertices, expected, atol=1e-12)


@FEW
@given(st.sampled_from([4, 5, 6]), st.integers(3, 9), st.booleans())
def test_strips_and_fans_make_the_triangles_of_the_specification(tmp_path_factory, mode, count, indexed):
    points = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    order = np.random.default_rng(mode).permutation(count) if indexed else np.arange(count)
    writer = Writer()
    writer.scene([writer.primitive(points, order if indexed else None, mode)])
    expected = {
        4: [(i, i + 1, i + 2) for i in range(0, count - 2, 3)],
        5: [(i, i + 1 + i % 2, i + 2 - i % 2) for i in range(count - 2)],
        6: [(i + 1, i + 2, 0) for i in range(count - 2)],
    }[mode]
    found = read(tmp_path_factory, writer.glb())
    assert np.array_equal(found.faces, order[np.array(expected)])


def test_points_and_lines_beside_a_surface_are_said(tmp_path_factory):
    writer = Writer()
    writer.scene([writer.primitive(CUBE, FACES), writer.primitive(CUBE, mode=1)])
    found = read(tmp_path_factory, writer.glb())
    assert len(found.faces) == 12 and any("8 vertices" in note for note in found.notes)


@pytest.mark.parametrize("material", [None, {}, {"pbrMetallicRoughness": {}}])
@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
def test_uvs_are_kept_whatever_the_material(tmp_path_factory, material, kind):
    uvs = np.random.default_rng(0).random((8, 2))
    writer = Writer()
    whole = kind != "float32"
    stored = np.round(uvs * np.iinfo(kind).max).astype(kind) if whole else uvs.astype(np.float32)
    primitive = writer.primitive(CUBE, FACES, TEXCOORD_0=writer.accessor(stored, whole))
    if material is not None:
        writer.document["materials"] = [material]
        primitive["material"] = 0
    writer.scene([primitive])
    found = read(tmp_path_factory, writer.glb())
    assert np.allclose(found.uvs, uvs * (1, -1) + (0, 1), atol=1 / 255)


@FEW
@given(
    st.floats(-3, 3),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
    st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
)
def test_texture_transforms_are_applied(tmp_path_factory, angle, offset, scale):
    uvs = np.random.default_rng(1).random((8, 2)).astype(np.float32)
    transform = {"offset": offset, "rotation": angle, "scale": scale, "texCoord": 1}
    texture = {"index": 0, "extensions": {"KHR_texture_transform": transform}}
    writer = Writer()
    primitive = writer.primitive(
        CUBE, FACES, TEXCOORD_0=writer.accessor(uvs * 0), TEXCOORD_1=writer.accessor(uvs)
    )
    writer.document["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": texture}}]
    writer.document["extensionsRequired"] = ["KHR_texture_transform"]
    writer.scene([primitive | {"material": 0}])
    # The matrices of the extension's text.
    cos, sin = np.cos(angle), np.sin(angle)
    move = np.array([[1, 0, offset[0]], [0, 1, offset[1]], [0, 0, 1]])
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    size = np.diag([scale[0], scale[1], 1])
    expected = (np.c_[uvs, np.ones(8)] @ (move @ turn @ size).T)[:, :2]
    found = read(tmp_path_factory, writer.glb())
    assert np.allclose(found.uvs, expected * (1, -1) + (0, 1), atol=1e-6)
    assert np.allclose(found.second_uvs, (0, 1))  # the other set is kept as the second


def test_a_skinned_node_does_not_move_its_mesh_and_joints_do(tmp_path_factory):
    writer = Writer()
    joints = writer.accessor(np.zeros((8, 4), np.uint8))
    weights = writer.accessor(np.tile(np.float32([1, 0, 0, 0]), (8, 1)))
    bind = writer.accessor(np.eye(4, dtype=np.float32).reshape(1, 16))
    writer.scene([writer.primitive(CUBE, FACES, JOINTS_0=joints, WEIGHTS_0=weights)])
    writer.document["nodes"] = [
        {"name": "hips", "translation": [0, 3, 0], "children": [1]},
        {"name": "body", "mesh": 0, "skin": 0, "scale": [100, 100, 100]},
    ]
    writer.document["skins"] = [{"joints": [0], "inverseBindMatrices": bind}]
    found = read(tmp_path_factory, writer.glb())
    assert np.allclose(found.vertices, CUBE + (0, 3, 0))
    assert any("skin of body" in note for note in found.notes)
    assert [node.name for node in found.structure.nodes] == ["hips", "body"]


def test_morphs_instances_and_scenes(tmp_path_factory):
    writer = Writer()
    primitive = writer.primitive(CUBE, FACES)
    primitive["targets"] = [{"POSITION": writer.accessor(np.full((8, 3), 2, np.float32))}]
    moved = writer.accessor(np.float32([[0, 0, 0], [10, 0, 0], [20, 0, 0]]))
    instances = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": moved}}}
    writer.scene([primitive], extensions=instances)
    writer.document["meshes"][0]["weights"] = [0.5]
    writer.document["scenes"].append({"nodes": []})
    writer.document["extensionsRequired"] = ["EXT_mesh_gpu_instancing"]
    found = read(tmp_path_factory, writer.glb())
    assert len(found.faces) == 36 and len(found.structure.parts) == 3
    assert np.allclose(found.vertices[:8], CUBE + 1) and np.allclose(
        found.vertices[16:], CUBE + 1 + (20, 0, 0)
    )
    assert {"2 scenes", "Morph", "Instances"} <= {
        word for word in ("2 scenes", "Morph", "Instances") if any(word in note for note in found.notes)
    }


@FEW
@given(st.lists(st.floats(-2, 2).filter(lambda x: abs(x) > 0.1), min_size=3, max_size=3), st.floats(-3, 3))
def test_mirroring_nodes_keep_the_surface_outwards(tmp_path_factory, scale, angle):
    outwards = (
        FACES if signed_volume(type("R", (), {"vertices": CUBE, "faces": FACES})) > 0 else FACES[:, ::-1]
    )
    writer = Writer()
    away = (CUBE / np.linalg.norm(CUBE, axis=1, keepdims=True)).astype(np.float32)
    rotation = [0.0, float(np.sin(angle / 2)), 0.0, float(np.cos(angle / 2))]
    primitive = writer.primitive(CUBE, outwards, NORMAL=writer.accessor(away))
    writer.scene([primitive], scale=scale, rotation=rotation, translation=[1, 2, 3])
    found = read(tmp_path_factory, writer.glb())
    centred = type("R", (), {"vertices": found.vertices - found.vertices.mean(axis=0), "faces": found.faces})
    assert signed_volume(centred) == pytest.approx(abs(np.prod(scale)), rel=1e-5)
    assert ((found.normals * centred.vertices).sum(axis=1) > 0).all()


@pytest.mark.parametrize("name", ["EXT_meshopt_compression", "VENDOR_unknown", "KHR_audio"])
def test_required_extensions_that_are_not_read_are_named(tmp_path_factory, name):
    writer = Writer()
    writer.scene([writer.primitive(CUBE, FACES)])
    writer.document["extensionsRequired"] = [name]
    assert name in refused(tmp_path_factory, writer) and "export it without" in refused(
        tmp_path_factory, writer
    )
    writer.document["extensionsRequired"] = ["KHR_materials_unlit", "KHR_texture_basisu"]
    assert len(read(tmp_path_factory, writer.glb()).faces) == 12


def test_draco_is_decoded_or_named(tmp_path_factory, monkeypatch):
    writer = Writer()
    writer.scene([writer.primitive(CUBE, FACES)])
    primitive = writer.document["meshes"][0]["primitives"][0]
    draco = pytest.importorskip("DracoPy")
    content = draco.encode(CUBE.astype(np.float32), FACES.astype(np.uint32), quantization_bits=14)
    number = draco.decode(content).attributes[0]["unique_id"]
    record = {"bufferView": writer.view(content), "attributes": {"POSITION": number}}
    primitive["extensions"] = {"KHR_draco_mesh_compression": record}
    writer.document["extensionsRequired"] = ["KHR_draco_mesh_compression"]
    found = read(tmp_path_factory, writer.glb())
    assert len(found.faces) == 12 and np.allclose(np.ptp(found.vertices, axis=0), 1, atol=1e-3)
    monkeypatch.setitem(__import__("sys").modules, "DracoPy", None)
    assert "KHR_draco_mesh_compression" in refused(tmp_path_factory, writer)


NAMES = st.text(
    st.characters(blacklist_characters="/\\:%#?\0", blacklist_categories=("Cs", "Cc")),
    min_size=1,
    max_size=12,
)


@FEW
@given(NAMES.filter(lambda name: name.strip(". ") == name), st.sampled_from(["encoded", "plain", "data"]))
def test_buffers_are_found_by_every_spelling(tmp_path_factory, name, spelling):
    folder = tmp_path_factory.mktemp("gltf")
    writer = Writer()
    writer.scene([writer.primitive(CUBE, FACES)])
    uri = {"encoded": quote(name + ".bin"), "plain": name + ".bin"}.get(spelling)
    if uri is None:
        uri = "data:application/octet-stream;base64," + base64.b64encode(writer.blob).decode()
    else:
        (folder / f"{name}.bin").write_bytes(writer.blob)
    document = writer.document | {"buffers": [{"byteLength": len(writer.blob), "uri": uri}]}
    (folder / "shape.gltf").write_text(json.dumps(document), encoding="utf-8")
    assert len(read_raw(folder / "shape.gltf").faces) == 12


def test_a_missing_buffer_is_named_as_missing(tmp_path):
    writer = Writer()
    writer.scene([writer.primitive(CUBE, FACES)])
    buffers = [{"byteLength": len(writer.blob), "uri": "my%20buffer.bin"}]
    (tmp_path / "a.gltf").write_text(json.dumps(writer.document | {"buffers": buffers}))
    with pytest.raises(MeshError, match="my buffer.bin beside it, which is missing"):
        read_raw(tmp_path / "a.gltf")


@pytest.mark.parametrize("mode", ["MASK", "BLEND", "OPAQUE", None])
def test_lost_transparency_is_said(mode, tmp_path):
    writer = Writer()
    points = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], np.float32)
    material = {"name": "glass"} | ({"alphaMode": mode} if mode else {})
    writer.document["materials"] = [material]
    writer.scene([writer.primitive(points) | {"material": 0}])
    (tmp_path / "in.glb").write_bytes(writer.glb())
    notes = read_raw(tmp_path / "in.glb").notes
    said = any("Transparency is not kept (glass)" in note for note in notes)
    assert said == (mode in ("MASK", "BLEND"))

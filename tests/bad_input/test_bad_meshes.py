"""Mesh files that are damaged, strange or hostile: each is prepared, or refused in one sentence."""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh
from reference.outcomes import check_sentence, files_below, outcome

from texgen.reading.read import read_raw
from workflow.jobs.jobs import MeshJob
from workflow.steps.prepare_mesh import prepare

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
BOX_VERTICES = [(x, y, z) for x in (0, 2) for y in (0, 1) for z in (0, 1)]
BOX_QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
BOX = "".join(f"v {x} {y} {z}\n" for x, y, z in BOX_VERTICES) + "".join(
    "f " + " ".join(str(i + 1) for i in quad) + "\n" for quad in BOX_QUADS
)

TURNED = BOX[: BOX.index("f ")] + "".join(
    "f " + " ".join(str(i + 1) for i in reversed(quad)) + "\n" for quad in BOX_QUADS
)


def box(scale: float = 1.0, shift: float = 0.0) -> str:
    """The box in other units, elsewhere."""
    moved = "".join("v {!r} {!r} {!r}\n".format(*(c * scale + shift for c in v)) for v in BOX_VERTICES)
    return moved + BOX[BOX.index("f ") :]


def binary(kind: str) -> bytes:
    """A valid binary file of the box."""
    faces = [face for a, b, c, d in BOX_QUADS for face in ((a, b, c), (a, c, d))]
    return trimesh.Trimesh(np.array(BOX_VERTICES, dtype=float), faces, process=False).export(file_type=kind)


def ply(vertices: int, faces: int, body: str = "") -> str:
    return (
        f"ply\nformat ascii 1.0\nelement vertex {vertices}\nproperty float x\nproperty float y\n"
        f"property float z\nelement face {faces}\nproperty list uchar int vertex_indices\nend_header\n{body}"
    )


def binary_ply(vertices: int) -> bytes:
    return ply(vertices, 1).replace("ascii", "binary_little_endian").encode() + b"\0" * 64


def gltf(**changes) -> str:
    """A glTF of one triangle, its bytes inside; keyword arguments replace top-level entries."""
    data = struct.pack("<9f3I", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 2)
    uri = "data:application/octet-stream;base64," + base64.b64encode(data).decode()
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
            {"bufferView": 1, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": 12},
        ],
        "buffers": [{"uri": uri, "byteLength": len(data)}],
    }
    return json.dumps(document | changes)


def copies(depth: int) -> list[dict]:
    """Nodes that double at every level: 2 ** depth copies of one mesh in a few hundred bytes."""
    nodes = [{"children": [2 * k + 1, 2 * k + 2]} for k in range(2**depth - 1)]
    return nodes + [{"mesh": 0}] * 2**depth


def stl(claimed: int) -> bytes:
    return (
        b"\0" * 80
        + struct.pack("<I", claimed)
        + struct.pack("<12fH", *[0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0], 0)
    )


def uv(text: str, corners: str) -> str:
    return SQUARE + text + corners


def star(points: int) -> str:
    angle = np.arange(2 * points) * np.pi / points
    radius = np.where(np.arange(2 * points) % 2, 0.4, 1.0)
    lines = [f"v {r * np.cos(a):.9f} {r * np.sin(a):.9f} 0\n" for r, a in zip(radius, angle, strict=True)]
    return "".join(lines) + "f " + " ".join(str(k + 1) for k in range(2 * points)) + "\n"


def crowd() -> str:
    """A sheet of 60 by 60 vertices, and a stray triangle so far away that the sheet is a point."""
    side = 60
    lines = [f"v {i} {j} 0\n" for i in range(side) for j in range(side)]
    lines += [
        f"f {i * side + j + 1} {i * side + j + 2} {(i + 1) * side + j + 1}\n"
        for i in range(side - 1)
        for j in range(side - 1)
    ]
    n = side * side
    return "".join(lines) + f"v 1e9 1e9 0\nv 2e9 1e9 0\nv 1e9 2e9 0\nf {n + 1} {n + 2} {n + 3}\n"


# name of the file -> (its content, () for success or what the sentence must hold).
CASES: dict[str, tuple[str | bytes | Callable[[], str | bytes], tuple[str, ...]]] = {
    # Empty or cut off, of every format.
    "empty.obj": ("", ("is empty",)),
    "empty.ply": ("", ("is empty",)),
    "empty.off": ("", ("is empty",)),
    "empty.stl": ("", ("is empty",)),
    "empty.glb": ("", ("is empty",)),
    "empty.gltf": ("", ("is empty",)),
    "half.ply": (lambda: binary("ply")[:-40], ("export",)),
    "half.stl": (lambda: binary("stl")[:-40], ("cut off",)),
    "half.glb": (lambda: binary("glb")[:-40], ("cut off",)),
    "half.off": (lambda: binary("off")[:60], ("OFF",)),
    "half.obj": (BOX[:-3], ()),  # the last face only lost its last corners
    "noise.glb": (bytes(range(256)) * 8, ("GLB",)),
    "noise.obj": (bytes(range(256)) * 8, ("no faces",)),
    "noise.ply": (b"ply\n" + bytes(range(256)) * 8, ("PLY",)),
    # Headers that claim what cannot be there.
    "claims.ply": (ply(4_000_000_000, 1), ("claims 4000000000", "vertex")),
    "claims-faces.ply": (ply(0, 10**30), ("claims", "face")),
    "claims-binary.ply": (binary_ply(3_000_000_000), ("claims 3000000000",)),
    "claims-negative.ply": (ply(-5, 1), ("claims -5",)),
    "claims.off": ("OFF\n4000000000 1 0\n0 0 0\n", ("OFF",)),
    "claims.stl": (stl(4_000_000_000), ("claims 4000000000 faces",)),
    "claims.glb": (b"glTF" + struct.pack("<4I", 2, 4_000_000_000, 3_999_999_980, 0x4E4F534A), ("cut off",)),
    "claims.gltf": (
        gltf(accessors=[{"componentType": 5126, "count": 10**10, "type": "VEC3"}] * 2), ("claims", "bytes")
    ),
    "claims-views.gltf": (gltf(bufferViews=[{"buffer": 0, "byteLength": 10**9}] * 9), ("claims", "bytes")),
    "copies.gltf": (lambda: gltf(scenes=[{"nodes": [0]}], nodes=copies(8)), ()),
    # Files that point elsewhere or at themselves.
    "loop.gltf": (gltf(nodes=[{"mesh": 0, "children": [0]}]), ()),
    "outside.gltf": (gltf(buffers=[{"uri": "../../../../etc/passwd", "byteLength": 48}]), ("glTF",)),
    "device.gltf": (gltf(buffers=[{"uri": "/dev/zero", "byteLength": 48}]), ("glTF",)),
    "deep.gltf": ('{"a":' * 5000 + "1" + "}" * 5000, ("damaged JSON",)),
    # Geometry.
    "one-face.obj": (SQUARE + "f 1 2 3\n", ()),
    "no-faces.obj": (SQUARE, ("4 points and no faces",)),
    "points.ply": (ply(2, 0, "0 0 0\n1 1 1\n"), ("no faces",)),
    "nan.obj": (BOX.replace("v 0 0 0", "v 0 nan 0"), ("not finite",)),
    "infinite.obj": (BOX.replace("v 0 0 0", "v 0 1e999 0"), ("not finite",)),
    "nan-unused.obj": (BOX + "v nan nan nan\n", ()),
    "flat.obj": ("v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n", ("no face with an area",)),
    "same-point.obj": ("v 1 1 1\n" * 3 + "f 1 2 3\n", ("no face with an area",)),
    "needle.obj": ("v 0 0 0\nv 1 0 0\nv 1 1e-11 0\nf 1 2 3\n", ("needle.obj",)),
    "some-flat.obj": (BOX + "f 1 1 2\n", ()),
    "huge.obj": (box(1e12), ()),
    "too-huge.obj": (box(1e200), ("too large",)),
    "tiny.obj": (box(1e-12), ()),
    "too-tiny.obj": (box(1e-200), ("too close",)),
    "far-away.obj": (box(1.0, 1e9), ()),
    "crowd.obj": (crowd, ("stray",)),
    "not-manifold.obj": (BOX + "v 0.5 3 0.5\nf 1 2 9\nf 1 9 2\nf 1 2 9\n", ()),
    "two-sheets.obj": (SQUARE + "f 1 2 3 4\nf 4 3 2 1\n", ()),
    "inside-out.obj": (TURNED, ()),
    "n-gons.obj": (star(30), ()),
    "large-n-gon.obj": (lambda: star(3000), ("line 6001", "triangulate")),
    "crossing-n-gon.obj": (SQUARE + "f 1 3 2 4\n", ()),
    "materials.obj": ("mtllib nowhere.mtl\nusemtl a\n" + BOX + "usemtl b\nf 1 2 3\n", ()),
    "wrong-index.obj": (SQUARE + "f 1 2 9\n", ("line 5", "does not exist")),
    "zero-index.obj": (SQUARE + "f 0 1 2\n", ("line 5",)),
    "negative-index.obj": (SQUARE + "f -9 1 2\n", ("line 5",)),
    "giant-index.obj": (SQUARE + "f 1 2 " + "9" * 5000 + "\n", ("line 5",)),
    "words.obj": ("v one two three\n", ("line 1",)),
    "two-corners.obj": (SQUARE + "f 1 2\n", ("no faces",)),
    # Texture coordinates.
    "uv-outside.obj": (uv("vt 0 0\nvt 9 0\nvt 9 9\nvt 0 -9\n", "f 1/1 2/2 3/3 4/4\n"), ()),
    "uv-nan.obj": (uv("vt nan 0\nvt 1 0\nvt 1 1\nvt 0 1\n", "f 1/1 2/2 3/3 4/4\n"), ()),
    "uv-same.obj": (uv("vt 0.5 0.5\n", "f 1/1 2/1 3/1 4/1\n"), ()),
    "uv-overlap.obj": (uv("vt 0 0\nvt 1 0\nvt 1 1\n", "f 1/1 2/2 3/3\nf 1/1 3/2 4/3\n"), ()),
    "uv-partly.obj": (uv("vt 0 0\nvt 1 0\nvt 1 1\n", "f 1/1 2/2 3/3\nf 1 3 4\n"), ()),
    "uv-index.obj": (uv("vt 0 0\n", "f 1/7 2/1 3/1\n"), ()),
    # Names.
    "mesh.fbx": ("", ("convert",)),
    "mesh.obj.pickle": (b"cos\nsystem\n(S'touch executed'\ntR.", ("convert",)),
}  # fmt: skip


def settings_of(source: str, **more) -> MeshJob:
    return MeshJob(mesh="thing", source=source, texture_size=16, **more)


@pytest.mark.parametrize("name", CASES)
def test_a_mesh_file_is_prepared_or_refused_in_a_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content, parts = CASES[name]
    content = content() if callable(content) else content
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    said = outcome(lambda: prepare(settings_of(f"file:{name}"), Path("results/meshes/thing"), Path("cache")))
    if parts:
        check_sentence(said, name, *parts)
        assert files_below(tmp_path) == {name}
    else:
        assert said == ""
        record = json.loads(Path("results/meshes/thing/mesh.json").read_text())
        assert record["faces"] > 0 and record["charts"] > 0 and 0 < record["texture_coverage"] <= 1
        assert all(path == name or path.startswith("results/") for path in files_below(tmp_path))


def test_a_small_scene_with_millions_of_faces_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("texgen.reading.read.MOST_FACES", 200)
    (tmp_path / "copies.gltf").write_text(gltf(nodes=copies(8)))
    said = outcome(lambda: prepare(settings_of(f"file:{tmp_path}/copies.gltf"), tmp_path / "out", tmp_path))
    check_sentence(said, "copies.gltf", "more than 200 faces", "simplify")


SOURCES = {
    "missing file": ("file:nowhere.obj", "", ("nowhere.obj", "no such")),
    "a folder": ("file:.", "", ("no such",)),
    "long path": ("file:" + "a" * 5000 + ".obj", "", ("too long",)),
    "wrong sha256": ("file:box.obj", "0" * 64, ("box.obj", "SHA-256", "0" * 64)),
    "right sha256": ("file:box.obj", hashlib.sha256(BOX.encode()).hexdigest(), ()),
    "no address": ("https://[::1", "0" * 64, ("not an address",)),
    "unicode address": ("https://exämple.org/a.obj", "0" * 64, ("not an address",)),
    "address without hash": ("https://example.org/a.obj", "", ("SHA-256",)),
    "unknown sample": ("pymeshlab:../../etc/passwd", "", ("carries no mesh",)),
    "unknown shape": ("procedural:../../escape", "", ("not a shape", "choose one of")),
    "unknown scheme": ("ftp://example.org/a.obj", "", ("is not a mesh source",)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_is_fetched_or_refused_in_a_sentence(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("box.obj").write_text(BOX)
    source, sha256, parts = SOURCES[name]
    said = outcome(lambda: prepare(settings_of(source, sha256=sha256), Path("results/x"), Path("cache")))
    if parts:
        check_sentence(said, *parts)
        assert files_below(tmp_path) == {"box.obj"}
    else:
        assert said == ""


def test_an_obj_of_very_many_groups_is_read_at_once(tmp_path):
    """Each part's name was once looked up by counting through all of them: 150,000 took minutes."""
    path = tmp_path / "parts.obj"
    groups = "".join(f"g g{i}\nusemtl m{i}\nf 1 2 3\n" for i in range(60_000))
    path.write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n" + groups)
    began = time.process_time()
    raw = read_raw(path)
    assert time.process_time() - began < 10
    assert len(raw.structure.parts) == 60_000 and raw.structure.parts[-1].material == "m59999"


def test_an_stl_with_damaged_normals_is_read_without_a_word(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logging.root, "handlers", [])  # as in a program that has set up no logging
    path = tmp_path / "a.stl"
    corners = "".join(f"vertex {x} {y} 0\n" for x, y in ((0, 0), (1, 0), (0, 1)))
    path.write_text(f"solid a\nfacet normal x 0 1\nouter loop\n{corners}endloop\nendfacet\nendsolid a\n")
    assert len(read_raw(path).faces) == 1
    assert capsys.readouterr().err == ""

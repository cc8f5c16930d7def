"""What is exported as GLB passes the Khronos glTF validator, which `.ci/run` installs into `.node`.

`npm install --no-save --prefix .node gltf-validator` does it by hand; TEXREWARD_GLTF_VALIDATOR names another
folder.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from reference.gltf_writer import Writer

from texgen.mesh.export import write_glb
from texgen.mesh.procedural import write_shape
from texgen.reading.prepare import prepare

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("TEXREWARD_GLTF_VALIDATOR") or ROOT / ".node")
PACKAGE = FOLDER / "node_modules" / "gltf-validator"
# Reads each file that is named, writes the validator's reports as one JSON list.
PROGRAM = """
const [, package_, ...files] = process.argv;
const validator = require(package_), fs = require("fs");
const one = (file) => validator.validateBytes(new Uint8Array(fs.readFileSync(file)), { maxIssues: 0 });
Promise.all(files.map(one)).then((found) => process.stdout.write(JSON.stringify(found)));
"""
# Of no weight for a reader. UNUSED_OBJECT: a second uv set that no texture of ours shows is kept for programs
# that bake light into it. NODE_EMPTY: a node of the input that held a camera or a light alone keeps its name.
ALLOWED = {"UNUSED_OBJECT", "NODE_EMPTY"}
ERROR, WARNING = 0, 1

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not PACKAGE.is_dir(),
    reason="needs node, and gltf-validator in .node or in the folder that TEXREWARD_GLTF_VALIDATOR names",
)


def square(writer, corner, second=False):
    """A primitive: two triangles with uvs, at a corner."""
    flat = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32)
    more = {"TEXCOORD_0": writer.accessor(flat * 0.4 + 0.5 * corner)}
    if second:
        more["TEXCOORD_1"] = writer.accessor(flat)
    points = np.pad(flat, ((0, 0), (0, 1))) + (2.0 * corner, 0, 0)
    return writer.primitive(points, [(0, 1, 2), (0, 2, 3)], **more)


def parts_and_names(path):
    """A tree of nodes with two meshes and three materials, one seen from both sides, one transparent."""
    writer = Writer()
    writer.document |= {
        "meshes": [
            {"name": "seat", "primitives": [square(writer, 0, True) | {"material": 0}]},
            {
                "name": "back",
                "primitives": [
                    square(writer, 1, True) | {"material": 1},
                    square(writer, 0.5, True) | {"material": 2},
                ],
            },
        ],
        "materials": [
            {"name": "wood", "doubleSided": True},
            {"name": "glass", "alphaMode": "BLEND"},
            {"name": "leaf", "alphaMode": "MASK", "alphaCutoff": 0.3, "doubleSided": True},
        ],
        "nodes": [
            {"name": "chair", "children": [1, 2, 3]},
            {"name": "seat", "mesh": 0, "rotation": [0, np.sin(0.3), 0, np.cos(0.3)]},
            {"name": "back", "mesh": 1, "scale": [-1, 2, 1], "translation": [0, 1, 0]},
            {"name": "empty"},
        ],
        "scenes": [{"nodes": [0]}],
        "scene": 0,
    }
    path.write_bytes(writer.glb())


def in_map_coordinates(path):
    """An OBJ in metres of a map, which float32 cannot hold to a millionth."""
    east, north = 512345.25, 5403210.5
    places = [(0, 0, 0), (2, 0, 0), (2, 3, 0), (0, 3, 1)]
    lines = ["o tower", "usemtl brick"] + [f"v {x + east} {y + north} {z + 431.5}" for x, y, z in places]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "f 1/1 2/2 3/3", "f 1/1 3/3 4/4"]
    path.write_text("\n".join(lines) + "\n")


MAKERS = {
    "procedural": lambda folder: write_shape("pumpkin", folder / "procedural.obj"),
    "parts": lambda folder: parts_and_names(folder / "parts.glb"),
    "far": lambda folder: in_map_coordinates(folder / "far.obj"),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("glb")
    texture = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    files = []
    for name, make in MAKERS.items():
        make(folder)
        (source,) = folder.glob(f"{name}.*")
        files.append(folder / f"{name}.out.glb")
        write_glb(files[-1], prepare(source, name).mesh, texture)
    done = subprocess.run(
        ["node", "-e", PROGRAM, str(PACKAGE.resolve()), *map(str, files)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(MAKERS, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("name", MAKERS)
def test_the_validator_finds_nothing_wrong(name, reports):
    found = reports[name]["issues"]["messages"]
    said = [f"{each['code']} at {each.get('pointer')}: {each['message']}" for each in found]
    assert reports[name]["issues"]["numErrors"] == 0, said
    assert {each["code"] for each in found if each["severity"] >= WARNING} <= ALLOWED, said


def test_the_files_hold_what_was_to_be_validated(reports):
    counts = {name: report["info"] for name, report in reports.items()}
    assert counts["parts"]["materialCount"] == 3 and counts["parts"]["drawCallCount"] == 3
    assert all(report["mimeType"] == "model/gltf-binary" for report in reports.values())
    assert all(each["totalTriangleCount"] > 0 and each["hasTextures"] for each in counts.values())


def test_a_broken_file_would_be_found(tmp_path):
    writer = Writer()
    writer.document |= {"meshes": [{"primitives": [square(writer, 0)]}], "nodes": [{"mesh": 7}]}
    (tmp_path / "broken.glb").write_bytes(writer.glb())
    command = ["node", "-e", PROGRAM, str(PACKAGE.resolve()), str(tmp_path / "broken.glb")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    (report,) = json.loads(done.stdout)
    assert report["issues"]["numErrors"] > 0
    assert any(each["severity"] == ERROR for each in report["issues"]["messages"])

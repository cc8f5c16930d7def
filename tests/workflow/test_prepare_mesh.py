"""The step that prepares a mesh, and the default mesh set that it is run on."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from texgen.geometry.prepared import PreparedGeometry
from texgen.mesh.mesh import load_mesh
from texgen.mesh.procedural import SHAPES
from texgen.mesh.sources import pymeshlab_samples
from texgen.miniature.shapes import SHAPES as TRAINING_WORLD
from workflow.config.sheets import read_meshes
from workflow.steps.prepare_mesh import main

ROOT = Path(__file__).parents[2]


def test_step_writes_all_files(tmp_path, capsys):
    settings = {"mesh": "box", "source": "procedural:superellipsoid", "sha256": "", "rotate": "y:90"}
    settings |= {"uv": "keep", "longest_side": 1.6, "texture_size": 32}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    out = tmp_path / "out"
    arguments = ["--settings", str(tmp_path / "settings.json"), "--out", str(out)]
    assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
    assert {path.name for path in out.iterdir()} == {"mesh.npz", "geometry.npz", "preview.png", "mesh.json"}
    mesh, geometry = load_mesh(out / "mesh.npz"), PreparedGeometry.load(out / "geometry.npz")
    assert mesh.name == "box" and geometry.anisotropy.shape == (1, 32, 32)
    record = json.loads((out / "mesh.json").read_text())
    assert record["faces"] == len(mesh.faces) == 6912 and record["charts"] >= 6
    assert 0.2 < record["texture_coverage"] < 1 and record["warnings"] == []
    assert (record["up"], record["front"]) == ("+y", "-x")
    assert "box: reading; up is +y and front is -x of the file" in capsys.readouterr().out
    side = np.ptp(mesh.vertices.numpy(), axis=0)
    assert side[0] < side[2]  # turned: the wide side now lies along z
    pixels = np.array(Image.open(out / "preview.png"))
    views = [pixels[: len(pixels) // 2, : len(pixels) // 2], pixels[len(pixels) // 2 :, len(pixels) // 2 :]]
    for view in views:
        shown = (view < 250).all(axis=-1).mean()
        assert 0.1 < shown < 0.7


def test_step_refuses_in_one_sentence(tmp_path, capsys):
    arguments = ["--mesh", "dodo", "--source", "procedural:dodo", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--cache", str(tmp_path)]) == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("Mesh 'dodo': ") and "choose one of" in message and "\n" not in message


@pytest.mark.parametrize(
    ("more", "part"),
    [(["--up", "w"], "--up is 'w'"), (["--up", "z", "--rotate", "x:90"], "--rotate says all")],
)
def test_step_refuses_axes_that_cannot_be(more, part, tmp_path, capsys):
    arguments = ["--mesh", "box", "--source", "procedural:torus", "--out", str(tmp_path / "out"), *more]
    with pytest.raises(SystemExit):
        main(arguments)
    assert part in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_default_mesh_set():
    rows = read_meshes(ROOT / "config" / "meshes.tsv")
    names = {split: {row.mesh for row in rows if row.split == split} for split in ("evaluation", "training")}
    assert len(names["evaluation"]) >= 8 and len(names["training"]) >= 4
    assert {"bunny", "cow", "airplane"} <= names["evaluation"]
    assert not names["evaluation"] & set(TRAINING_WORLD)
    known = {"pymeshlab": pymeshlab_samples(), "procedural": SHAPES}
    for row in rows:  # nothing here needs a network
        scheme, _, name = row.source.partition(":")
        assert name in known[scheme], row.source

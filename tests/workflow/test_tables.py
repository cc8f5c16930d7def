"""Every mistake in a sheet is one sentence that names file, row, column and what is allowed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from texgen.reading.orientation import rotation_matrix
from workflow.config.sheets import ConfigError, read_meshes, read_prompts

MESHES = "mesh\tsource\tsha256\trotate\tlicence\tsplit\n"
PROMPTS = "prompt_id\tmesh\tprompt\tsplit\n"
BUNNY = "bunny\tpymeshlab:bunny\t\tx:-90,y:180\tfree\tevaluation\n"
TORUS = "torus\tprocedural:torus\t\t\tCC0-1.0\ttraining\n"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read_in_file_order_and_empty_lines_are_skipped(tmp_path):
    rows = read_meshes(write(tmp_path / "m.tsv", MESHES + BUNNY + "\n" + TORUS))
    assert [row.mesh for row in rows] == ["bunny", "torus"]
    assert rows[0].rotate == "x:-90,y:180"
    prompts = read_prompts(write(tmp_path / "p.tsv", PROMPTS + "red\t*\ta red {thing}\ttraining\n"), rows)
    assert prompts[0].prompt == "a red {thing}"


def test_uvs_and_axes_have_columns_that_may_be_left_out(tmp_path):
    (plain,) = read_meshes(write(tmp_path / "plain.tsv", MESHES + BUNNY))
    assert plain.turns() == "x:-90,y:180" and plain.uv == ""
    header = MESHES.rstrip("\n") + "\tuv\tup\tfront\n"
    rows = [BUNNY.replace("x:-90,y:180", "").rstrip("\n") + "\tpack\tz\t\n"]
    rows.append(TORUS.rstrip("\n") + "\t\tY\tx\n")
    first, second = read_meshes(write(tmp_path / "more.tsv", header + "".join(rows)))
    assert (first.uv, first.turns()) == ("pack", "x:-90")
    assert np.allclose(rotation_matrix(second.turns()) @ [1, 0, 0], [0, 0, 1])


@pytest.mark.parametrize(
    ("cells", "parts"),
    [
        ("x:90\tfree\tevaluation\t\tz\t", ["row 2, rotate: says all of the turn; leave up and front out"]),
        ("\tfree\tevaluation\t\tup\t", ["row 2, up: is 'up'; give one of x, y, z, -x, -y, -z"]),
        ("\tfree\tevaluation\t\t\t+Y", ["row 2, front: is +Y, on one axis with up, which is y"]),
        ("\tfree\tevaluation\tbest\t\t", ["row 2, uv: 'best'", "auto, keep, pack, unwrap, or nothing"]),
    ],
)
def test_mistakes_in_these_columns_are_told_by_row(cells, parts, tmp_path):
    header = MESHES.rstrip("\n") + "\tuv\tup\tfront\n"
    path = write(tmp_path / "meshes.tsv", header + "bunny\tpymeshlab:bunny\t\t" + cells + "\n")
    with pytest.raises(ConfigError) as caught:
        read_meshes(path)
    said = str(caught.value)
    assert said.startswith(str(path)) and "\n" not in said and all(part in said for part in parts), said


def test_columns_may_stand_in_any_order(tmp_path):
    text = "split\tmesh\tlicence\trotate\tsha256\tsource\nevaluation\tbunny\tfree\t\t\tfile:a.obj\n"
    assert read_meshes(write(tmp_path / "m.tsv", text))[0].source == "file:a.obj"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["is empty", "mesh, source"]),
        (MESHES, ["no rows"]),
        (MESHES.replace("rotate", "turn") + BUNNY, ["unknown column 'turn'", "rotate"]),
        (MESHES.replace("\tsplit", "") + BUNNY, ["missing column 'split'"]),
        (MESHES + BUNNY + BUNNY, ["row 3, mesh", "'bunny'", "row 2"]),
        (MESHES + BUNNY.replace("bunny\t", "a--b\t", 1), ["row 2, mesh", "'a--b'", "letters"]),
        (MESHES + BUNNY.replace("pymeshlab:bunny", "bunny.obj"), ["row 2, source", "file:PATH"]),
        (MESHES + BUNNY.replace("pymeshlab:bunny\t", "https://x.org/a.obj\t"), ["row 2, sha256", "https"]),
        (MESHES + BUNNY.replace("bunny\t\t", "bunny\tabc\t"), ["row 2, sha256", "'abc'", "64"]),
        (MESHES + BUNNY.replace("x:-90,y:180", "up=z"), ["row 2, rotate", "'up=z'", "x:-90"]),
        (MESHES + BUNNY.replace("free", ""), ["row 2, licence", "empty"]),
        (
            MESHES + BUNNY.replace("evaluation", "test"),
            ["row 2, split", "'test'", "evaluation, training, both"],
        ),
        (MESHES + BUNNY.rstrip() + "\textra\n", ["row 2", "7 cells"]),
    ],
)
def test_mistakes_in_the_mesh_sheet(tmp_path, text, parts):
    path = write(tmp_path / "meshes.tsv", text)
    with pytest.raises(ConfigError) as caught:
        read_meshes(path)
    assert str(path) in str(caught.value)
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize(
    ("row", "parts"),
    [
        ("a\t*\t\tevaluation\n", ["row 2, prompt", "empty"]),
        ("a\tcow\tred\tevaluation\n", ["row 2, mesh", "'cow'", "* and bunny, torus"]),
        ("a\ttorus\tred\tevaluation\n", ["row 2, split", "'torus'", "training"]),
        ("a b\t*\tred\tevaluation\n", ["row 2, prompt_id", "'a b'"]),
        ("a\t*\tred\tall\n", ["row 2, split", "'all'"]),
    ],
)
def test_mistakes_in_the_prompt_sheet(tmp_path, row, parts):
    meshes = read_meshes(write(tmp_path / "meshes.tsv", MESHES + BUNNY + TORUS))
    with pytest.raises(ConfigError) as caught:
        read_prompts(write(tmp_path / "prompts.tsv", PROMPTS + row), meshes)
    assert all(part in str(caught.value) for part in parts), caught.value


def test_a_missing_file_and_other_encodings_are_named(tmp_path):
    with pytest.raises(ConfigError, match="nowhere.tsv: cannot be read"):
        read_meshes(tmp_path / "nowhere.tsv")
    (tmp_path / "latin.tsv").write_bytes(MESHES.encode() + BUNNY.replace("free", "frée").encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        read_meshes(tmp_path / "latin.tsv")

"""What the command line refuses before anything is loaded: outputs, numbers, pictures, axes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rewards.picture_files import PICTURES
from texgen.mesh.formats import WRITTEN
from texgen.reading.orientation import AXES, rotation_matrix
from workflow.cli.checks import (
    MOST_TEXELS,
    UsageError,
    check_mesh_output,
    check_number,
    check_output,
    check_threads,
    find_mesh,
    orientation_line,
    turns,
)
from workflow.cli.main import main


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    return tmp_path


@pytest.mark.parametrize("name", ["out.glb", "OUT.GLB", "new/deep/out.obj", "bäum kalt.ply", "out.usdz"])
def test_names_that_can_be_written_pass_and_nothing_is_made(name, folder):
    assert check_mesh_output(name, (Path("in.obj"),)) == Path(name)
    assert [path.name for path in folder.iterdir()] == ["in.obj"]


def _folder(name):
    Path(name).mkdir()
    return name


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda: _folder("out.glb"), "'out.glb', which is a folder; give the name of a file"),
        (lambda: ".", "'.', which is a folder"),
        (lambda: "out", "ends in .glb or .obj or .ply or .usdz"),
        (lambda: "out.png", "ends in .glb"),
        (lambda: "in.obj", "'in.obj', which is read; choose another name"),
        (lambda: "./../" + Path.cwd().name + "/in.obj", "which is read"),
        (lambda: "in.obj/out.glb", "in.obj is a file, not a folder"),
        (lambda: "x" * 300 + ".glb", "choose another name"),
        (lambda: "/proc/out.glb", "/proc cannot be written"),
    ],
)
def test_outputs_that_cannot_be_are_refused_by_name(make, part):
    with pytest.raises(UsageError) as caught:
        check_mesh_output(make(), (Path("in.obj"),))
    assert str(caught.value).startswith("--out is ") and part in str(caught.value)


def test_an_input_is_known_by_a_link_to_it(folder):
    (folder / "link.obj").symlink_to("in.obj")
    os.link("in.obj", "hard.obj")
    for name in ("link.obj", "hard.obj"):
        with pytest.raises(UsageError, match="which is read"):
            check_mesh_output(name, (Path("in.obj"),))


def test_files_beside_the_mesh_are_checked_too(folder):
    (folder / "out.png").mkdir()
    assert check_mesh_output("out.glb") == Path("out.glb")
    for name in ("out.obj", "out.ply"):
        with pytest.raises(UsageError, match=r"'out.png', which is a folder"):
            check_mesh_output(name)
    (folder / "two.mtl").write_text("")
    with pytest.raises(UsageError, match=r"'two.mtl', which is read"):
        check_mesh_output("two.obj", (Path("two.mtl"),))


@pytest.mark.parametrize("name", ["t.png", "t.JPG", "t.jpeg", "t.webp"])
def test_pictures_end_in_what_can_be_written(name):
    assert check_output("--texture", name, PICTURES) == Path(name)
    for wrong in ("t", "t.pgn", "t.png.txt", "t.glb"):
        with pytest.raises(UsageError, match=r"--texture is .*ends in .png or .jpg"):
            check_output("--texture", wrong, PICTURES)


@pytest.mark.parametrize(("value", "passes"), [(None, 1), (1, 1), (1000, 1), (0, 0), (-3, 0), (1001, 0)])
def test_numbers_have_bounds_on_both_sides(value, passes):
    if passes:
        assert check_number("--steps", value, 1, 1000) is None
        return
    with pytest.raises(UsageError, match=f"--steps is {value}; give a whole number from 1 to 1000"):
        check_number("--steps", value, 1, 1000)


@pytest.mark.parametrize("value", [0, -1, 1025])
def test_impossible_threads_are_refused(value):
    with pytest.raises(UsageError, match="--threads is"):
        check_threads(value)
    check_threads(1)
    check_threads(None)


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--steps", "0"], "--steps is 0"),
        (["--threads", "0"], "--threads is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--texture-size", str(MOST_TEXELS + 1)], f"from 16 to {MOST_TEXELS}"),
        (["--texture", "out.glb"], "--texture is 'out.glb'"),
        (["--texture", "in.png/t.png"], "in.png is a file"),
        (["--up", "north"], "--up is 'north'; give one of x, y, z, -x, -y, -z"),
        (["--front", "y"], "--front is y, on one axis with up"),
        (["--rotate", "x90"], "--rotate is 'x90'"),
        (["--rotate", "x:90", "--up", "z"], "--rotate says all of the turn"),
        (["--out", "in.obj"], "which is read"),
    ],
)
def test_the_command_says_it_in_one_line_with_status_2(more, part, capsys, folder):
    (folder / "in.png").write_bytes(b"")
    assert main(["texture", "in.obj", "a red thing", "--out", "out.glb", *more]) == 2
    said = capsys.readouterr().err.strip()
    assert part in said and "\n" not in said, said
    assert not Path("out.glb").exists()


def test_a_folder_stands_for_the_one_mesh_in_it(folder):
    _folder("one")
    (folder / "one" / "notes.txt").write_text("")
    with pytest.raises(UsageError, match=r"folder with 0 mesh files .none."):
        find_mesh("one", folder)
    Path("in.obj").rename("one/a.obj")
    assert find_mesh("one", folder) == Path("one/a.obj")
    (folder / "one" / "b.PLY").write_text("")
    with pytest.raises(UsageError, match=r"2 mesh files .a.obj, b.PLY.; name one"):
        find_mesh("one", folder)
    with pytest.raises(UsageError, match="There is no mesh file 'none.obj'"):
        find_mesh("none.obj", folder)
    with pytest.raises(UsageError, match="cannot be opened"):
        find_mesh("n" * 5000, folder)


@pytest.mark.parametrize("up", [None, *AXES])
def test_every_pair_of_axes_is_brought_to_where_they_belong(up):
    for front in (None, *AXES):
        above = AXES[up or "y"]
        if front is not None and AXES[front][0] == above[0]:
            with pytest.raises(UsageError, match="on one axis with up"):
                turns(up, front, None)
            continue
        ahead = AXES[front or ("-y" if above[0] == 2 else "z")]
        turn = rotation_matrix(turns(up, front, None))
        assert np.linalg.det(turn) == pytest.approx(1)
        assert np.allclose(turn[:, above[0]] * above[1], [0, 1, 0])
        assert np.allclose(turn[:, ahead[0]] * ahead[1], [0, 0, 1])
        sign = {1: "+", -1: "-"}
        said = orientation_line(turns(up, front, None))
        assert f"up is {sign[above[1]]}{'xyz'[above[0]]} " in said
        assert f"front is {sign[ahead[1]]}{'xyz'[ahead[0]]} " in said


def test_nothing_given_turns_nothing_and_turns_are_passed_on():
    assert turns(None, None, None) == "" and turns(None, None, "") == ""
    assert turns(None, None, "y:12.5, x:-90") == "y:12.5, x:-90"
    assert "(0.71, 0.00, 0.71)" in orientation_line("y:-45") or "(-0.71" in orientation_line("y:-45")


def test_checks_load_no_torch():
    program = "import sys, workflow.cli.checks as c; c.turns('z', None, None); print('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_the_formats_of_the_sentences_are_those_that_are_written():
    with pytest.raises(UsageError) as caught:
        check_mesh_output("x.stl")
    assert all(ending in str(caught.value) for ending in WRITTEN)

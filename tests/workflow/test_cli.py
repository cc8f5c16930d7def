"""The command line: sentences for mistakes, progress for people and for logs."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

from workflow.cli.checks import below_root
from workflow.cli.main import main
from workflow.cli.terminal import PaintingProgress
from workflow.provenance import ROOT


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["none.obj", "red", "--out", "x.glb"], "There is no mesh file 'none.obj'."),
        (["none.obj", "red", "--out", "x.stl"], "--out is 'x.stl'; give a name that ends in .glb"),
        (["none.obj", "red", "--out", "x.glb", "--method", "magic"], "allowed are pretrained"),
        (["none.obj", "red", "--out", "x.glb", "--model", "nothing"], "There is no model 'nothing'"),
        (["none.obj", "red", "--out", "x.glb", "--config", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_mistakes_are_one_sentence_and_status_2(arguments, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["texture", *arguments]) == 2
    error = capsys.readouterr().err.strip()
    assert part in error
    assert len(error.splitlines()) == 1


def test_an_untrained_model_says_how_to_train_it(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "c.yaml"
    text = (ROOT / "config" / "config.yaml").read_text()
    config.write_text(text + "\nresults: nowhere\n")
    arguments = ["none.obj", "red", "--out", "x.glb", "--config", str(config), "--model", "camera_pose"]
    assert main(["texture", *arguments]) == 2
    assert "nowhere/models/camera_pose/pytorch_lora_weights.safetensors" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def show(stream: io.StringIO) -> str:
    progress = PaintingProgress(stream)
    for view in (1, 2):
        for step in (1, 2, 3):
            progress(view, 2, step, 3)
    progress.close()
    return stream.getvalue()


def test_without_a_terminal_progress_is_one_plain_line_per_view():
    assert show(io.StringIO()) == "view 1/2 painted\nview 2/2 painted\n"


def test_on_a_terminal_one_line_is_redrawn_and_wiped():
    text = show(Terminal())
    assert "\n" not in text
    assert "view 2/2, step 3/3" in text
    assert text.endswith("\r")
    assert text.rsplit("\r", 2)[1].strip() == ""


def test_model_folders_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert below_root("config/config.yaml") == ROOT / "config" / "config.yaml"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yaml").touch()
    assert below_root("config/config.yaml").resolve() == (tmp_path / "config" / "config.yaml").resolve()


def test_the_miniature_says_where_its_models_should_be(tmp_path, capsys):
    arguments = ["miniature", "evaluate", "--models", str(tmp_path / "nowhere"), "--out", str(tmp_path)]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "nowhere/backbone is missing" in said and said.count("\n") == 1


@pytest.mark.parametrize("module", ["workflow", "workflow.cli.main"])
def test_the_command_runs_as_a_module_and_tells_its_version(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("texreward ")

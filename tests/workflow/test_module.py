"""The workflow as a part of another one, below a prefix, beside packages of the same names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from texgen import shipped
from workflow.cli.main import main

OUTER = """
configfile: "outer.yaml"

module study:
    snakefile: "{snakefile}"
    config: config
    prefix: "below"

use rule * from study as study_*

onstart:
    study.onstart()

rule mine:
    default_target: True
    input: "below/results/textures/pretrained/shard-0.json"
    output: "mine.txt"
    shell: "cp {{input}} {{output}}"
"""
JUNK = "raise SystemExit('a package of the folder was imported in place of ours')\n"


@pytest.fixture
def outer(small, tmp_path) -> Path:
    """A workflow of its own that uses that of the copied project, whose steps only write their outputs."""
    folder = tmp_path / "outer"
    for name in ("workflow", "baselines"):
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(JUNK)
    (folder / "Snakefile").write_text(OUTER.format(snakefile=small / "workflow" / "Snakefile"))
    for source, name in (("config/config.yaml", "outer.yaml"), *((f"config/{each}",) * 2 for each in SHEETS)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text((small / source).read_text())
    return folder


SHEETS = ("meshes.tsv", "prompts.tsv")


def snakemake(folder: Path, *arguments: str, ok: bool = True) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "1", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0 or not ok, done.stdout[-4000:]
    return done.stdout


def test_a_prefix_moves_the_results_and_nothing_else(outer, small):
    said = snakemake(outer, "--show-failed-logs")
    assert (outer / "mine.txt").read_text() == (
        outer / "below/results/textures/pretrained/shard-0.json"
    ).read_text()
    assert (outer / "below/results/logs/prepare_mesh/unseen.log").is_file()
    assert list((outer / "below/results/settings").glob("texture.pretrained.0.*.json"))
    assert not (outer / "results").exists() and not (outer / "below/models").exists()
    # Weights are found with the code; a rule's inputs name them there.
    assert str(small / "models/miniature/backbone/unet/model.safetensors") in said
    assert "Nothing to be done" in snakemake(outer)


def test_results_that_a_prefix_cannot_move_are_refused(outer):
    with open(outer / "outer.yaml", "a") as file:
        file.write(f"\nresults: {outer}/elsewhere\n")
    said = snakemake(outer, "--dry-run", ok=False)
    assert "which a module's prefix cannot move; give a folder below it" in said


def test_the_miniature_lies_where_the_variable_says_or_with_the_code(tmp_path, monkeypatch):
    place = "models/miniature/clip"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(shipped.VARIABLE, raising=False)
    assert shipped.located(place) == str(shipped.root() / place)
    assert shipped.located("models/other/clip") == "models/other/clip"
    assert shipped.located("models/miniature/nothing") == "models/miniature/nothing"
    (tmp_path / place).mkdir(parents=True)
    assert shipped.located(place) == place
    monkeypatch.setenv(shipped.VARIABLE, str(tmp_path / "mine"))
    assert shipped.located(place) == str(tmp_path / "mine" / "clip")
    assert shipped.of_the_miniature(shipped.located(place))


def test_commands_take_the_configuration_of_a_project_that_they_are_given_in(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert shipped.project_configuration() == shipped.configuration("config")
    assert main(["init", "mine", "--config", "smoke"]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    assert shipped.project_configuration() == str(Path("config", "config.yaml"))
    assert main(["history", "nothing"]) == 2
    said = capsys.readouterr().err
    assert "the configuration has geometry_alignment, camera_pose)" in said  # those of smoke.yaml
    # A configuration of another workflow is none of ours.
    Path("config", shipped.PROJECT_SCHEMA).unlink()
    assert shipped.project_configuration() == shipped.configuration("config")

"""Runs that are killed, and disks that are full, damaged or closed: recovery, or one clear sentence.

The jobs here are the real ones, on tiny random instances of the real models.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from reference.outcomes import check_sentence
from reference.tiny_models import write_miniature
from reference.tiny_scorers import write_clip, write_head

from workflow.provenance import read_record
from workflow.step_errors import run_step
from workflow.steps import prepare_mesh, score, texture

SIZES = {
    "rig": "front_3view", "image_size": 32, "render_size": 32, "texture_size": 32, "steps": 2,
    "guidance_scale": 2.0, "prompt_template": "{prompt}", "negative_prompt": "",
}  # fmt: skip
MESHES = [
    "mesh\tsource\tsha256\trotate\tlicence\tsplit",
    "seen\tprocedural:wavy_ring\t\t\tfree\ttraining",
    "unseen\tpymeshlab:cube\t\t\tfree\tevaluation",
]
PROMPTS = [
    "prompt_id\tmesh\tprompt\tsplit",
    "red\tunseen\ta red one\tevaluation",
    "blue\tunseen\ta blue one\tevaluation",
    "green\tseen\ta green one\ttraining",
]


def tiny_config() -> dict:
    """Two rows, one of them tuned, two metrics, two assets."""
    clip = {"folder": "models/tiny/clip"}
    return {
        "title": "Tiny",
        "backbone": {
            "folder": "models/tiny/backbone",
            "controlnets": {"depth_inpaint": {"folder": "models/tiny/backbone/controlnet_depth_inpaint"}},
        },
        "presets": {"texgen": SIZES},
        "metrics": {
            "aesthetic": {"kind": "aesthetic", "clip": clip, "head": {"path": "models/tiny/head"}},
            "clipscore": {"kind": "clipscore", "clip": clip},
        },
        "models": {
            "tuned": {
                "rewards": [{"metric": "aesthetic", "rig": "front_3view", "size": 32}],
                "steps": 4,
                "learning_rate": 0.01,
                "validation_samples": 0,
                "checkpoint_every": 1,
            }
        },
        "methods": {"pretrained": {"kind": "texgen"}, "tuned": {"kind": "texgen", "model": "tuned"}},
        "evaluation": {
            "rig": "front_4view",
            "size": 32,
            "supersample": 1,
            "backgrounds": {"white": [1.0] * 3},
        },
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Where the tests of this module keep the models and one finished run."""
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def tiny(project: Path, store: Path) -> Path:
    """The copied project with a tiny configuration and tiny real models."""
    models = store / "models"
    if not models.exists():
        base, _ = write_miniature(store / "written")
        models.mkdir()
        shutil.move(base, models / "backbone")
        write_clip(models / "clip")
        write_head(models / "head")
    shutil.copytree(models, project / "models" / "tiny")  # with its times, so that nothing seems newer
    (project / "config" / "config.yaml").write_text(yaml.safe_dump(tiny_config()))
    (project / "config" / "meshes.tsv").write_text("\n".join(MESHES) + "\n")
    (project / "config" / "prompts.tsv").write_text("\n".join(PROMPTS) + "\n")
    return project


@pytest.fixture
def complete(tiny: Path, store: Path, snakemake) -> Path:
    """The same after a whole run, which is made once."""
    kept = ("results", ".snakemake")
    if not (store / "results").exists():
        snakemake()
        for name in kept:
            shutil.copytree(tiny / name, store / name)
    else:
        for name in kept:
            shutil.copytree(store / name, tiny / name)
    return tiny


def start(project: Path, *targets: str) -> subprocess.Popen:
    """A run in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *targets],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def scores(project: Path) -> dict[str, str]:
    """Every score file, as text."""
    folder = project / "results" / "scores"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.tsv"))}


def finished(project: Path) -> dict[str, int]:
    """When each finished asset was written."""
    runs = (project / "results" / "textures").glob("*/*/run.json")
    return {
        str(path): path.stat().st_mtime_ns for path in runs if (read_record(path) or {}).get("status") == "ok"
    }


@pytest.mark.timeout(1500)
def test_a_run_killed_at_random_moments_ends_with_the_same_scores(complete, snakemake):
    tiny = complete
    expected = scores(tiny)
    assert len(expected) == 4
    shutil.rmtree(tiny / "results")
    shutil.rmtree(tiny / ".snakemake")

    moments = random.Random(7)
    done: dict[str, int] = {}
    for _ in range(5):
        run = start(tiny)
        end = time.monotonic() + moments.uniform(3, 14)
        while run.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        now = finished(tiny)
        assert {path: now[path] for path in done} == done, "a finished asset was made again"
        done = now
    snakemake()
    assert scores(tiny) == expected
    now = finished(tiny)
    assert {path: now[path] for path in done} == done
    assert "Nothing to be done" in snakemake().stdout


@pytest.mark.timeout(900)
def test_damaged_results_are_made_again_or_named(complete, monkeypatch, capfd):
    """The steps are called as the rules call them, after the deletions that their sentences ask for."""
    monkeypatch.chdir(complete)
    expected = scores(complete)
    results = complete / "results"
    asset = results / "textures" / "pretrained" / "unseen--red--0"
    kept = str(asset.parent / "unseen--blue--0" / "run.json")
    code = read_record(asset / "run.json")["code"]
    again = texture_arguments("pretrained", "results/textures/pretrained", code)

    # A record that is cut off is no record: the asset is made again, the other is kept.
    before = finished(complete)[kept]
    (asset / "run.json").write_text('{"hash": "ab')
    check_sentence(
        said_by(capfd, score.main, score_arguments()), "unseen--red--0/run.json", "--forcerun texture"
    )
    assert run_step(lambda: texture.main(again)) == 0
    assert run_step(lambda: score.main(score_arguments())) == 0
    assert scores(complete) == expected and finished(complete)[kept] == before

    # A texture that is cut off is refused by name, with what to do; and that mends it.
    (asset / "texture.png").write_bytes((asset / "texture.png").read_bytes()[:40])
    (results / "scores" / "clipscore" / "pretrained.json").unlink()
    said = said_by(capfd, score.main, score_arguments())
    check_sentence(said, "unseen--red--0/texture.png", "delete", "--forcerun texture")
    shutil.rmtree(asset)
    assert run_step(lambda: texture.main(again)) == 0
    assert run_step(lambda: score.main(score_arguments())) == 0
    assert scores(complete) == expected and finished(complete)[kept] == before

    # An adapter, a mesh and its fields that are cut off, likewise.
    tuned = texture_arguments("tuned", "results/textures/tuned", "x")
    for path in ("models/tuned/pytorch_lora_weights.safetensors", "meshes/unseen/mesh.npz"):
        whole = (results / path).read_bytes()
        (results / path).write_bytes(whole[: len(whole) // 2])
        check_sentence(said_by(capfd, texture.main, tuned), path, "delete it")
        (results / path).write_bytes(whole)
    (results / "meshes/unseen/geometry.npz").write_bytes(b"")
    (results / "scores" / "clipscore" / "pretrained.json").unlink()
    check_sentence(said_by(capfd, score.main, score_arguments()), "meshes/unseen/geometry.npz", "delete it")


def said_by(capfd, main, arguments: list[str]) -> str:
    """The sentence of a step that ends with an error, as it stands in its log."""
    capfd.readouterr()
    assert run_step(lambda: main(arguments)) == 1
    log = capfd.readouterr()
    assert "Traceback" not in log.err + log.out
    (line,) = [line for line in log.err.splitlines() if line.startswith("error: ")]
    return line


def settings_file(stem: str) -> str:
    (path,) = Path("results/settings").glob(f"{stem}.*.json")
    return str(path)


def score_arguments() -> list[str]:
    arguments = ["--settings", settings_file("score.clipscore"), "--meshes", "results/meshes"]
    arguments += ["--textures", "results/textures/pretrained", "--out", "results/scores"]
    return [*arguments, "--code", "clipscore=x"]


def texture_arguments(method: str, out: str, code: str) -> list[str]:
    arguments = ["--settings", settings_file(f"texture.{method}.0"), "--meshes", "results/meshes"]
    arguments += ["--models", "results/models", "--out", out, "--manifest", "manifest.json"]
    return [*arguments, "--code", code, "--threads", "1"]


@pytest.fixture
def mounted(tmp_path):
    """Mounts small file systems in memory: `mounted(name, options)` gives the folder."""
    folders = []

    def mount(name: str, options: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no program `mount`")
        if done.returncode:
            pytest.skip(f"nothing can be mounted here ({done.stderr.strip()}); run the tests as root")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.timeout(900)
def test_a_full_disk_ends_in_a_sentence_and_nothing_half_written_stays(
    tiny, snakemake, mounted, monkeypatch, capfd
):
    monkeypatch.chdir(tiny)
    snakemake("results/meshes/unseen/mesh.npz")
    out = mounted("full", "size=12k")
    arguments = texture_arguments("pretrained", str(out), "x")
    assert "disk is full" in said_by(capfd, texture.main, arguments)
    left = [path for path in out.rglob("*") if path.is_file()]
    assert "run.json" not in {path.name for path in left}  # no record: the asset does not count as done
    assert not [path for path in left if path.name.startswith(".")]
    subprocess.run(["mount", "-o", "remount,size=8m", str(out)], check=True)
    assert run_step(lambda: texture.main(arguments)) == 0
    runs = [read_record(path) for path in out.glob("*/run.json")]
    assert [run["status"] for run in runs] == ["ok", "ok"]


@pytest.mark.timeout(900)
def test_a_results_folder_that_cannot_be_written_is_named(tiny, mounted, snakemake, monkeypatch, capfd):
    monkeypatch.chdir(tiny)
    arguments = [
        "--mesh",
        "x",
        "--source",
        "procedural:trefoil",
        "--texture-size",
        "16",
        "--cache",
        "resources",
    ]
    fixed = mounted("fixed", "ro,size=1m")
    said = said_by(capfd, prepare_mesh.main, [*arguments, "--out", str(fixed / "x")])
    check_sentence(said, str(fixed), "read-only", "another results folder")
    Path("taken").write_text("a file")
    said = said_by(capfd, prepare_mesh.main, [*arguments, "--out", "taken/x"])
    check_sentence(said, "taken", "is a file")

    # The same, before any job.
    config = tiny_config() | {"results": "taken/results"}
    Path("config/config.yaml").write_text(yaml.safe_dump(config))
    done = snakemake(ok=False)
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "taken" in done.stdout and "is a file" in done.stdout


def test_a_step_that_is_killed_for_memory_is_told_and_made_again(small, snakemake):
    step = small / "workflow" / "steps" / "quality.py"
    text = step.read_text()
    step.write_text(text.replace("import pathlib, sys", "import pathlib, sys, time; time.sleep(600)", 1))
    run = start(small, "results/quality.tsv")
    victim = None
    while victim is None and run.poll() is None:
        time.sleep(0.1)
        for child in psutil.Process(run.pid).children(recursive=True):
            words = child.cmdline()[1:3]
            victim = child if words == ["-m", "workflow.steps.quality"] else victim
    victim.kill()
    said, _ = run.communicate()
    assert run.returncode != 0 and "Traceback" not in said
    assert "The job was killed, most often because the memory was used up: raise mem_mb" in said
    step.write_text(text)
    assert "1 of 1 steps (100%) done" in snakemake("results/quality.tsv").stdout

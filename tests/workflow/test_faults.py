"""Runs that are killed, and disks that are full, damaged or closed: recovery, or one clear sentence.

The jobs here are the real ones, on tiny random instances of the real models.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from reference.interruptions import Interruptions
from reference.local_run import run_again
from reference.outcomes import check_sentence
from reference.processes import step_process, wait_until
from reference.soak_figures import Figures
from reference.tiny_project import (
    TRAINING_STEPS,
    finished,
    score_cells,
    scores,
    slow_down,
    tiny_config,
    trained_steps,
)

from workflow.provenance import read_record
from workflow.runtime import warm
from workflow.runtime.step_errors import run_step
from workflow.steps import prepare_mesh, score, texture

KILLS = 8
TABLE = "results/table.md"


def start(project: Path, *targets: str) -> subprocess.Popen:
    """A run in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "snakemake", "--cores", "2", *targets],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(project)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.timeout(900)
def test_runs_killed_at_random_moments_end_with_the_same_scores(complete, monkeypatch, tmp_path):
    """Short form of `make soak`: jobs are forks of this process, which costs a tenth."""
    monkeypatch.chdir(complete)
    expected = scores(complete), score_cells(complete)
    assert len(expected[0]) == 4 and len(expected[1]) == 2
    shutil.rmtree("results/scores")
    assert run_again().sentence == ""  # and the libraries of every step are loaded
    figures = Figures(tmp_path / "figures.json")
    rounds = Interruptions(complete, expected, figures, "forked", seed=7)
    rounds.forked(KILLS, seconds=300)
    assert not figures.problems
    assert rounds.counts["all"] >= KILLS or rounds.clock.seconds() > 300


@pytest.mark.timeout(900)
def test_a_killed_snakemake_goes_on_where_it_was(complete, snakemake):
    tiny = complete
    expected, cells = scores(tiny), score_cells(tiny)
    shutil.rmtree(tiny / "results")
    shutil.rmtree(tiny / ".snakemake")
    run = start(tiny, TABLE)
    wait_until(lambda: len(finished(tiny)) >= 1)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    done = finished(tiny)
    snakemake(TABLE)
    assert scores(tiny) == expected and score_cells(tiny) == cells
    assert trained_steps(tiny) == list(range(TRAINING_STEPS + 1))
    now = finished(tiny)
    assert {path: now[path] for path in done} == done, "a finished asset was made again"
    assert "Nothing to be done" in snakemake(TABLE).stdout


@pytest.mark.timeout(1200)
def test_a_job_that_outlives_its_snakemake_is_waited_for_and_not_done_twice(complete, snakemake, monkeypatch):
    """As on a cluster, where the jobs go on when the machine with snakemake goes down."""
    monkeypatch.setenv(warm.ADDRESS, "0")  # whose jobs are no forks that another process could suspend alone
    tiny = complete
    expected = scores(tiny)
    shutil.rmtree(tiny / "results")
    shutil.rmtree(tiny / ".snakemake")
    slow_down(tiny)
    adapter = "results/models/tuned/pytorch_lora_weights.safetensors"
    history = tiny / "results" / "training" / "tuned" / "history.jsonl"
    log = tiny / "results" / "logs" / "finetune" / "tuned.log"

    first = start(tiny, adapter)
    orphan = step_process(tiny, "finetune")
    wait_until(lambda: history.is_file() and history.read_text().count("\n") >= 2)
    orphan.suspend()
    first.kill()
    first.wait()
    first.stdout.close()  # not read to its end: the orphan holds it open
    assert orphan.is_running()
    second = start(tiny, adapter)
    try:
        wait_until(lambda: log.is_file() and "waiting for its end" in log.read_text(errors="replace"))
        rows = history.read_text()
        time.sleep(1)
        assert history.read_text() == rows  # nobody trains
    finally:
        orphan.resume()
    said, _ = second.communicate()
    assert second.returncode == 0, said[-4000:]
    assert trained_steps(tiny) == list(range(TRAINING_STEPS + 1))
    snakemake(TABLE)
    assert scores(tiny) == expected


@pytest.mark.timeout(900)
def test_a_metric_that_was_begun_goes_on_behind_the_last_scored_asset(complete, monkeypatch, capfd):
    monkeypatch.chdir(complete)
    expected = scores(complete)
    made = []
    real = score.score_asset

    def counted(metric, textured, *more):
        if len(made) == 1:
            raise KeyboardInterrupt
        made.append(textured.prompt)
        return real(metric, textured, *more)

    folder = Path("results/scores/clipscore")
    (folder / "pretrained.json").unlink()
    monkeypatch.setattr(score, "score_asset", counted)
    with pytest.raises(KeyboardInterrupt):
        score.main(score_arguments())
    (journal,) = folder.glob(".pretrained.tsv.*.journal")
    journal.write_bytes(journal.read_bytes() + b'["unseen--blue--0", [{"sco')  # killed while it wrote
    made.clear()
    made.append("")
    monkeypatch.setattr(score, "score_asset", lambda *given: made.append(given[1].prompt) or real(*given))
    capfd.readouterr()
    assert run_step(lambda: score.main(score_arguments())) == 0
    assert len(made) == 2 and "kept" in capfd.readouterr().out
    assert scores(complete) == expected
    assert not list(folder.glob(".*.journal"))


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

    # A record that is cut off is not a record: the asset is made again, the other is kept.
    before = finished(complete)[kept]
    (asset / "run.json").write_text('{"hash": "ab')
    said = said_by(capfd, score.main, score_arguments())
    check_sentence(said, "unseen--red--0/run.json", "damaged", "run snakemake again")
    assert run_step(lambda: texture.main(again)) == 0
    assert run_step(lambda: score.main(score_arguments())) == 0
    assert scores(complete) == expected and finished(complete)[kept] == before

    # A texture that is cut off is refused by name, with what to do; and that makes it again.
    (asset / "texture.png").write_bytes((asset / "texture.png").read_bytes()[:40])
    (results / "scores" / "clipscore" / "pretrained.json").unlink()
    said = said_by(capfd, score.main, score_arguments())
    check_sentence(said, "unseen--red--0/texture.png", "40 bytes", "run snakemake again")
    assert run_step(lambda: texture.main(again)) == 0
    assert run_step(lambda: score.main(score_arguments())) == 0
    assert scores(complete) == expected and finished(complete)[kept] == before

    # An adapter, a mesh and its fields that are cut off, likewise.
    tuned = texture_arguments("tuned", "results/textures/tuned", "x")
    for path in ("models/tuned/pytorch_lora_weights.safetensors", "meshes/unseen/mesh.npz"):
        whole = (results / path).read_bytes()
        (results / path).write_bytes(whole[: len(whole) // 2])
        check_sentence(said_by(capfd, texture.main, tuned), path, "run snakemake again")
        (results / path).write_bytes(whole)
    (results / "meshes/unseen/geometry.npz").write_bytes(b"")
    (results / "scores" / "clipscore" / "pretrained.json").unlink()
    check_sentence(
        said_by(capfd, score.main, score_arguments()), "meshes/unseen/geometry.npz", "run snakemake again"
    )


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
def test_a_full_disk_ends_in_a_sentence_and_nothing_half_written_stays(complete, mounted, monkeypatch, capfd):
    monkeypatch.chdir(complete)
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
    check_sentence(said, "taken", "a file is in the place of a folder")

    # The same, before any job; and so where it cannot be locked.
    Path("results/.lock").mkdir(parents=True)
    done = snakemake(ok=False)
    assert done.returncode != 0 and "DamagedFileError" not in done.stdout
    assert "results/.lock must be a plain file to be locked; remove what is there." in done.stdout
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
    step_process(small, "quality").kill()
    said, _ = run.communicate()
    assert run.returncode != 0 and "Traceback" not in said
    assert said.count("The job was killed, most often because the memory was used up: raise mem_mb") == 1
    step.write_text(text)
    assert "1 of 1 steps (100%) done" in snakemake("results/quality.tsv").stdout

"""What a failed job leaves is made by the next run, also where all that lies behind is there from an earlier
one: Snakemake alone would have nothing to do, and a table of earlier settings would stay."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from reference.fake_results import fake_results
from reference.tiny_project import MESHES, PROMPTS, tiny_config

from texgen.storage.records import read_record, write_record
from workflow.config.configuration import load_config
from workflow.jobs.plan import Plan
from workflow.jobs.unfinished import unfinished_jobs
from workflow.provenance import textures_hash

TABLE = "results/table.md"
RESULTS = Path("results")
# Output -> (the job that makes it, what is made from it).
PRODUCTS = {
    "meshes/unseen/mesh.npz": ("mesh.unseen", "textures/pretrained/shard-0.json"),
    "meshes/unseen/geometry.npz": ("mesh.unseen", "quality.tsv"),
    "meshes/seen/geometry.npz": ("mesh.seen", "models/tuned/history.jsonl"),
    "models/tuned/pytorch_lora_weights.safetensors": ("model.tuned", "textures/tuned/shard-0.json"),
    "models/tuned/history.jsonl": ("model.tuned", "table.md"),
    "textures/tuned/shard-0.json": ("texture.tuned.0", "scores/clipscore/tuned.tsv"),
    "textures/pretrained/shard-0.json": ("texture.pretrained.0", "renders/pretrained/renders.tsv"),
    "scores/aesthetic/tuned.tsv": ("score.tuned", "gallery/index.html"),
    "quality.tsv": ("quality", "table.md"),
    "stages/stages.npz": ("stages", "figures/method.png"),
    "distances.tsv": ("distances", "table.md"),
    "renders/tuned/renders.tsv": ("renders.tuned", "distances.tsv"),
}


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")


@pytest.fixture
def plan(tmp_path, monkeypatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    config = tiny_config()
    config["evaluation"]["references"] = {"images": "pictures", "metric": "clipscore"}
    Path("config/config.yaml").write_text(yaml.safe_dump(config))
    Path("config/meshes.tsv").write_text("\n".join(MESHES) + "\n")
    Path("config/prompts.tsv").write_text("\n".join(PROMPTS) + "\n")
    made = Plan(load_config("config/config.yaml"))
    fake_results(made)
    for names in PRODUCTS.items():
        for name in (names[0], names[1][1]):
            if not (RESULTS / name).exists():
                write(RESULTS / name)
    write(RESULTS / "renders/pretrained/renders.tsv")
    return made


def test_what_is_missing_is_made_where_something_behind_it_is_there(plan):
    assert unfinished_jobs(plan) == {}
    shutil.copytree(RESULTS, "whole")
    for output, (job, behind) in PRODUCTS.items():
        (RESULTS / output).unlink()
        assert unfinished_jobs(plan) == {job: str(RESULTS / output)}
        shutil.rmtree(RESULTS)
        write(RESULTS / behind)  # alone is enough
        assert job in unfinished_jobs(plan), output
        shutil.rmtree(RESULTS)
        assert unfinished_jobs(plan) == {}  # the first run
        shutil.copytree("whole", RESULTS)


def test_scores_that_were_put_back_are_those_of_today_or_made_again(plan):
    table = RESULTS / "scores" / "clipscore" / "tuned.tsv"
    record = table.with_suffix(".json")
    before = read_record(record)
    runs = [read_record(RESULTS / "textures" / "tuned" / each.name / "run.json") for each in plan.assets]
    code = plan.score_job("clipscore").code()
    write_record(record, {**before, "code": code, "textures_hash": textures_hash(runs)})
    assert unfinished_jobs(plan) == {}
    now = table.stat().st_mtime_ns
    os.utime(RESULTS / "textures/tuned/shard-0.json", ns=(now + 10**9, now + 10**9))
    assert unfinished_jobs(plan) == {}  # textured again, to the same textures
    write_record(record, {**before, "code": code, "textures_hash": "of then"})
    assert unfinished_jobs(plan) == {"score.tuned": str(table)}
    write_record(record, {**before, "code": "of then", "textures_hash": textures_hash(runs)})
    assert unfinished_jobs(plan) == {"score.tuned": str(table)}
    write_record(record, before)
    for weights in plan.score_job("clipscore").files():
        write(Path(weights))
        os.utime(weights, ns=(now + 10**14, now + 10**14))
    assert unfinished_jobs(plan) == {}  # a clock that was wrong
    for weights in plan.score_job("clipscore").files():
        write(Path(weights))
    assert unfinished_jobs(plan)["score.tuned"].endswith("/tuned.tsv")  # of either metric that reads them


def change_steps(project: Path) -> None:
    """Another training."""
    config = project / "config" / "config.yaml"
    config.write_text(config.read_text().replace("steps: 2", "steps: 3"))


def change_scoring(project: Path) -> None:
    """Other code of the scores."""
    step = project / "workflow" / "steps" / "score.py"
    step.write_text(step.read_text() + "\nNEW = 1\n")


def change_mesh(project: Path) -> None:
    """Another mesh under the same name, which only the training reads."""
    sheet = project / "config" / "meshes.tsv"
    sheet.write_text(sheet.read_text().replace("seen\tpymeshlab:cube", "seen\tpymeshlab:bone", 1))


@pytest.mark.parametrize(
    "step, change",
    [("finetune", change_steps), ("score", change_scoring), ("prepare_mesh", change_mesh)],
)
def test_a_job_that_failed_runs_in_the_next_run(small, snakemake, step: str, change: Callable[[Path], None]):
    path = small / "workflow" / "steps" / f"{step}.py"
    fails = "import pathlib, sys; pathlib.Path('fails').exists() and sys.exit(7)"
    path.write_text(path.read_text().replace("import pathlib, sys", fails, 1))
    snakemake(TABLE)
    change(small)
    (small / "fails").touch()
    assert snakemake(TABLE, ok=False).returncode != 0
    (small / "fails").unlink()
    said = snakemake(TABLE).stdout
    assert f"workflow.steps.{step} " in said and "damaged:" not in said
    assert "workflow.steps.table " in said
    assert "Nothing to be done" in snakemake(TABLE).stdout


@pytest.mark.parametrize("name", ["models/tuned/history.jsonl", "meshes/seen/geometry.npz", "quality.tsv"])
def test_damage_is_mended_where_the_notes_of_snakemake_are_gone(small, snakemake, name: str):
    """As in a copy of a results folder: Snakemake then knows of no parameter that has changed."""
    snakemake(TABLE)
    shutil.rmtree(small / ".snakemake")
    (small / "results" / name).write_text("x")
    said = snakemake(TABLE).stdout
    assert said.count("damaged:") == 1 and "workflow.steps.table " in said
    said = snakemake(TABLE).stdout
    assert "Nothing to be done" in said and "damaged:" not in said

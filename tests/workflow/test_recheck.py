"""Every damage of every record of a results folder is found before a run, and lets the right job run once."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from reference.damages import DAMAGES, JOBS, damage
from reference.fake_results import fake_results
from reference.outcomes import check_sentence, outcome
from reference.tiny_project import MESHES, PROMPTS, tiny_config

from texgen.storage.records import FILES, find_record, is_whole, read_record, stamps, write_record
from texgen.storage.result_records import MESH_FILES, write_manifest, write_score_record
from workflow.config.configuration import load_config
from workflow.jobs.link_loops import refuse_link_loops
from workflow.jobs.plan import Plan
from workflow.jobs.products import outputs
from workflow.jobs.recheck import Damages, damaged_jobs
from workflow.provenance import content_hash, textures_hash

# What Snakemake sees by itself, because it is a declared output that is gone.
DECLARED = {"manifest", "mesh", "adapter", "history", "scores", "quality"}


@pytest.fixture
def plan(tmp_path, monkeypatch) -> Plan:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/config.yaml").write_text(yaml.safe_dump(tiny_config()))
    Path("config/meshes.tsv").write_text("\n".join(MESHES) + "\n")
    Path("config/prompts.tsv").write_text("\n".join(PROMPTS) + "\n")
    made = Plan(load_config("config/config.yaml"))
    fake_results(made)
    shutil.copytree("results", "whole", symlinks=True)
    return made


@pytest.mark.parametrize("kind", JOBS)
def test_every_damage_is_found_and_told(plan, kind):
    assert damaged_jobs(plan) == {}
    for how in DAMAGES:
        for swapped in (False, True):
            shutil.rmtree("results")
            shutil.copytree("whole", "results", symlinks=True)
            path = damage(Path("results"), kind, how, swapped)
            found = damaged_jobs(plan)
            if how == "unreadable":  # not for root, who may read everything
                continue
            if not path.exists() and kind in DECLARED and not found:
                continue
            assert len(found) == 1 and set(found) <= JOBS[kind], (how, swapped, found)
            for sentence in next(iter(found.values())):
                check_sentence(sentence, "results/")


def test_a_damaged_settings_file_is_written_again(plan):
    for how in DAMAGES:
        if how == "a folder":
            continue
        damage(Path("results"), "settings", how)
        path = Path(plan.write_settings("texture.tuned.0", plan.texture_job("tuned", 0)))
        if how != "swapped":  # a whole file of another job; the job that reads it refuses it by its name
            assert is_whole(path), how
        path.unlink()
        plan.write_settings("texture.tuned.0", plan.texture_job("tuned", 0))


def test_a_damage_lets_its_job_run_again_once(plan):
    damages = Damages("results")
    assert damages.again("texture", "tuned", 0) == ""
    damage(Path("results"), "texture", "cut in a line")
    said = damages.note(damaged_jobs(plan))
    assert Damages("results").found == {}  # a dry run goes no further
    damages.save()
    assert len(said) == 1 and "this asset is made again" in said[0]
    first = damages.again("texture", "tuned", 0)
    assert first and damages.again("texture", "pretrained", 0) == ""
    # It stays until something is damaged anew: a parameter that changed back would run the job again.
    shutil.rmtree("results/textures")
    shutil.copytree("whole/textures", "results/textures", symlinks=True)
    again = Damages("results")
    assert again.note(damaged_jobs(plan)) == [] and again.again("texture", "tuned", 0) == first
    damage(Path("results"), "texture", "cut in a line")
    again.note(damaged_jobs(plan))
    assert again.again("texture", "tuned", 0) != first


def test_many_damages_of_a_job_are_counted(plan):
    for path in Path("results/textures").glob("*/*/*.*"):
        path.unlink()
    said = Damages("results").note(damaged_jobs(plan))
    assert len(said) == 2 * 6 and "3 more of texture.pretrained.0." in said


def test_whole_work_of_another_run_is_told_where_snakemake_would_believe_it(plan):
    """A backup that was put back: each record stands for its files, and all times are late enough."""
    results = Path("results")
    runs = [read_record(results / "textures" / "tuned" / each.name / "run.json") for each in plan.assets]
    for name in plan.metrics:
        table = results / "scores" / name / "tuned.tsv"
        now = {
            "settings_hash": content_hash(plan.score_job(name).identity()),
            "textures_hash": textures_hash(runs),
        }
        write_score_record(table, {"metric": name, "method": "tuned", **now})
    mesh = {"mesh": "unseen", "settings_hash": content_hash(plan.mesh_job("unseen").identity())}
    folder = results / "meshes" / "unseen"
    write_record(folder / "mesh.json", {**mesh, FILES: stamps(folder, MESH_FILES)})
    assert damaged_jobs(plan) == {}

    table = results / "scores" / "aesthetic" / "tuned.tsv"
    before = find_record(table.with_suffix(".json"))
    for changed, said in (("settings_hash", "other settings"), ("textures_hash", "of other textures")):
        write_score_record(table, {**before, changed: "of then"})
        ((job, (sentence,)),) = damaged_jobs(plan).items()
        assert job == "score.tuned"
        check_sentence(sentence, str(table), said)
    manifest = results / "textures" / "tuned" / "shard-0.json"
    later = table.stat().st_mtime_ns + 10**9
    os.utime(manifest, ns=(later, later))  # textured again and not scored yet: Snakemake scores them
    assert damaged_jobs(plan) == {}

    write_score_record(table, before)
    write_record(
        folder / "mesh.json", {**mesh, "settings_hash": "of then", FILES: stamps(folder, MESH_FILES)}
    )
    ((job, (sentence,)),) = damaged_jobs(plan).items()
    assert job == "mesh.unseen" and "meshes/unseen/mesh.json was made with other settings" in sentence
    for path in results.glob("settings/mesh.unseen.*.json"):
        path.unlink()  # as before the first run with changed settings, which Snakemake sees
    assert damaged_jobs(plan) == {}


def test_textures_of_other_settings_are_told(plan):
    textures = Path("results/textures/tuned")
    runs = [{**read_record(textures / each.name / "run.json"), "settings_hash": "x"} for each in plan.assets]
    for run in runs:
        write_record(textures / run["asset"] / "run.json", run)
    write_manifest(textures / "shard-0.json", "tuned", textures, runs)
    ((job, (sentence,)),) = damaged_jobs(plan).items()
    assert job == "texture.tuned.0"
    check_sentence(sentence, "textures/tuned/shard-0.json", "other settings")


@pytest.mark.parametrize(
    "place", ["results/quality.tsv", "results/scores/aesthetic", "weights/model.bin", "a.obj"]
)
def test_a_link_to_itself_is_named_before_snakemake_stumbles_over_it(plan, place, monkeypatch):
    refuse_link_loops(plan)
    monkeypatch.setattr(type(plan.score_job("aesthetic")), "files", lambda job: ["weights/model.bin"])
    plan.mesh_rows[0] = replace(plan.mesh_rows[0], source="file:a.obj")
    Path("weights").mkdir()
    Path("weights/model.bin").symlink_to("nowhere")  # leads nowhere, which Snakemake knows
    refuse_link_loops(plan)
    path = Path(place)
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(path.name)
    check_sentence(outcome(lambda: refuse_link_loops(plan)), place, "link that leads to itself", "remove it")


BESIDE = {
    "renders.tuned": "renders/tuned/renders.tsv",
    "distances": "distances.tsv",
    "stages": "stages/stages.npz",
}


@pytest.mark.parametrize("job", BESIDE)
def test_what_is_beside_the_main_line_proves_itself_too(plan, job):
    plan.config = plan.config.model_copy(
        update={"evaluation": plan.config.evaluation.model_copy(update={"references": "some"})}
    )
    path, other = Path("results") / BESIDE[job], Path("other")
    for how, harm in DAMAGES.items():
        picture = path.parent / "cow--red--0/white-00.png"
        places = [path, path.with_suffix(".json")]
        if how in ("missing", "unreadable", "a link to itself"):  # Snakemake's, and `link_loops` to see
            places = []
        if job == "renders.tuned" and not (how == "unreadable" and os.geteuid() == 0):
            places.append(picture)
        for each in places:
            shutil.rmtree("results")
            shutil.copytree("whole", "results", symlinks=True)
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_text("a picture\nof a cow\n")
            path.write_text("a\nb\nc\n")
            write_score_record(path, {}, ["cow--red--0/white-00.png"] if each == picture else ())
            assert damaged_jobs(plan) == {} and outputs(plan)[job] == [path]
            other.write_text("something else")
            harm(each, other)
            ((found, (sentence,)),) = damaged_jobs(plan).items()
            assert found == job
            check_sentence(sentence, str(each))

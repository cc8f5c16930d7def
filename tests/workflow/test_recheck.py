"""Every damage of every record of a results folder is found before a run, and lets the right job run once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from reference.damages import DAMAGES, JOBS, damage
from reference.fake_results import fake_results
from reference.outcomes import check_sentence
from reference.tiny_project import MESHES, PROMPTS, tiny_config

from texgen.storage.records import is_whole
from workflow.config.configuration import load_config
from workflow.jobs.plan import Plan
from workflow.jobs.recheck import Damages, damaged_jobs

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

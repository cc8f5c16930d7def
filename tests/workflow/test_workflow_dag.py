"""The workflow as snakemake sees it: what is planned, what runs again after which change, what is left alone.

The jobs of these tests write their declared files and stop; everything before that (configuration, plan,
rules, profile, provenance) is the real thing, in a copy of the project.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# Jobs of the report, which a new texture runs again.
REPORT = {"quality": 1, "table": 1, "overview": 1, "draw_comparisons": 1, "draw_tuning": 1, "gallery": 1}
REPORT |= {"stages": 1, "draw_method": 1, "turntables": 1}
# Those that a new score runs again.
UNSCORED = ("quality", "overview", "stages", "turntables")
SCORED = {job: count for job, count in REPORT.items() if job not in UNSCORED}


def planned(output: str) -> dict[str, int]:
    """Jobs per rule in the statistics that snakemake prints; empty when there is nothing to do."""
    table = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", output, re.DOTALL)
    rows = [line.split() for line in table[1].splitlines()] if table else []
    return {rule: int(count) for rule, count in rows if rule != "default"}


def edit(path: Path, old: str = "", new: str = "") -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1) if old else text + "\nedited = True\n")


@pytest.mark.parametrize(
    ("name", "methods", "models"), [("config", 12, 5), ("smoke", 4, 2), ("paper", 13, 6)]
)
def test_shipped_configurations_dry_run(snakemake, name, methods, models):
    jobs = planned(snakemake("--dry-run", "--configfile", f"config/{name}.yaml").stdout)
    assert jobs["texture"] == methods and jobs["finetune"] == models
    assert jobs["score"] == methods and jobs["table"] == 1
    assert jobs["prepare_mesh"] >= 3


def test_a_bare_call_makes_the_table_and_a_second_run_has_nothing_to_do(small, snakemake):
    first = snakemake()
    once = {"prepare_mesh": 2, "finetune": 1, "model_card": 1, **REPORT}
    assert planned(first.stdout) == {**once, "texture": 3, "score": 3}
    assert (small / "results" / "table.md").is_file()
    assert "Nothing to be done" in snakemake("results/table.md").stdout
    # Prompts stay out of shells and of snakemake's own braces.
    assert '"colour' not in first.stdout
    logs = {path.name for path in (small / "results" / "logs").rglob("*.log")}
    assert {"tuned.log", "intex.0.log", "table.log", "unseen.log"} <= logs
    assert (small / "results" / "benchmarks" / "texture" / "intex.0.tsv").is_file()

    tuned = {"finetune": 1, "model_card": 1, "texture": 1, "score": 1, **REPORT}
    rerun = {
        "texgen/painting/views.py": {"finetune": 1, "model_card": 1, "texture": 3, "score": 3, **REPORT},
        "rewards/preference/clip_score.py": {"score": 3, **SCORED},
        "rewards/geometric/alignment.py": {
            "finetune": 1,
            "model_card": 1,
            "texture": 1,
            "score": 3,
            **REPORT,
        },
        "texgen/finetune/trainer.py": tuned,
        "workflow/cli/main.py": {},
    }
    for module, expected in rerun.items():
        path = small / module
        before = path.read_text()
        edit(path)
        assert planned(snakemake("--dry-run").stdout) == expected, module
        path.write_text(f"# why\n{before}\n\n# edited\n")  # which none of the next runs minds


def test_the_very_first_run_may_name_its_target_and_a_dry_run_writes_nothing(small, snakemake):
    """Snakemake then lists the results folder before it calls any input function."""
    assert planned(snakemake("--dry-run").stdout)["texture"] == 3
    assert not (small / "results").exists()
    snakemake("results/table.md")
    assert (small / "results" / "table.md").is_file()


def test_a_changed_configuration_reruns_what_it_concerns(small, snakemake):
    snakemake()
    config, prompts = small / "config" / "config.yaml", small / "config" / "prompts.tsv"
    tuned = {"finetune": 1, "model_card": 1, "texture": 1, "score": 1, **REPORT}
    edit(config, "steps: 2", "steps: 3")
    assert planned(snakemake("--dry-run").stdout) == tuned
    edit(config, "steps: 3", "steps: 2")
    assert "Nothing to be done" in snakemake("--dry-run").stdout
    edit(prompts, "a blue one", "a green one")
    assert planned(snakemake("--dry-run").stdout) == tuned
    edit(prompts, "a green one", "a blue one")
    edit(small / "config" / "meshes.tsv", "pymeshlab:bone", "pymeshlab:cow")
    jobs = planned(snakemake("--dry-run").stdout)
    assert jobs["prepare_mesh"] == 1 and jobs["texture"] == 3 and jobs["table"] == 1
    (small / "models" / "miniature" / "clip" / "model.safetensors").write_text("new")
    assert planned(snakemake("--dry-run").stdout)["score"] == 3


def test_a_mistake_in_the_configuration_ends_in_a_plain_sentence(small, snakemake):
    edit(small / "config" / "config.yaml", "intex}", "intx}")
    done = snakemake("--dry-run", ok=False)
    assert done.returncode != 0
    assert "config/config.yaml: methods.intex.kind is 'intx'" in done.stdout
    done = snakemake("--dry-run", "--configfile", "config/paper.yaml", "--config", "sed=1", ok=False)
    assert "sed is not a known field" in done.stdout


def test_a_killed_run_does_not_lock_out_the_next_but_a_running_one_does(small, snakemake):
    step = small / "workflow" / "steps" / "table.py"
    text = step.read_text()
    step.write_text(text.replace("import pathlib, sys", "import pathlib, sys, time; time.sleep(600)", 1))
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    environment = {**os.environ, "PYTHONPATH": str(small)}
    first = subprocess.Popen(
        command, cwd=small, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        for line in first.stdout:
            if "workflow.steps.table --settings" in line:
                break
        second = snakemake(ok=False)
        assert second.returncode != 0
        assert "Another run is working in results/" in second.stdout
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        first.stdout.close()
    step.write_text(text)
    third = snakemake()
    assert planned(third.stdout)["table"] == 1 and "texture" not in planned(third.stdout)
    assert "Finished: A small run" in third.stdout


def test_missing_weights_are_named(small, snakemake):
    (small / "models" / "miniature" / "clip" / "model.safetensors").unlink()
    done = snakemake("--dry-run", ok=False)
    assert "models/miniature/clip/model.safetensors" in done.stdout


def test_the_miniature_can_be_retrained_from_the_same_workflow(snakemake):
    assert planned(snakemake("--dry-run", "miniature").stdout) == {
        "miniature_world": 1,
        "pretrain_miniature": 9,
        "miniature": 1,
    }


def test_every_rule_that_runs_a_command_has_log_benchmark_threads_resources_and_a_description(project):
    files = [project / "Snakefile", *sorted((project / "workflow").rglob("*.smk"))]
    rules = [
        textwrap.dedent(text)
        for path in files
        for text in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]
    ]
    assert len(rules) >= 8
    for text in rules:
        name = text.split(":", 1)[0]
        assert '"""' in text, name
        if "shell:" in text:
            for word in ("log:", "benchmark:", "threads:", "resources:", "code="):
                assert word in text, f"{name} lacks {word}"

"""`texreward status`: what is done, missing and failed, read off a results folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from workflow.cli import main
from workflow.config import load_config
from workflow.kinds import ADAPTER_FILE
from workflow.plan import Plan
from workflow.provenance import content_hash, file_hash, texture_inputs, textures_hash
from workflow.staleness import Expected


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def there(small: Path, monkeypatch) -> Path:
    monkeypatch.chdir(small)
    return small / "results"


def lines(capsys) -> dict[str, str]:
    out = capsys.readouterr().out
    return {line.split("  ")[0].strip(): line for line in out.splitlines()}


def test_an_empty_folder_is_all_missing(there, capsys):
    assert main(["status"]) == 0
    said = lines(capsys)
    assert "0/2 meshes" in said["meshes"] and "missing" in said["meshes"]
    assert "0/2 steps" in said["model tuned"]
    assert {f"textures {method}" for method in ("pretrained", "tuned", "intex")} <= set(said)


def test_progress_failures_and_time_left_are_told(there, capsys):
    put(there / "meshes" / "seen" / "geometry.npz")
    put(there / "training" / "tuned" / "history.jsonl", '{"step": 0}\n{"step": 1, "reward": 0.25}\n{"st')
    put(
        there / "textures" / "pretrained" / "unseen--a--0" / "run.json",
        json.dumps({"status": "ok", "seconds": 12.5}),
    )
    put(
        there / "textures" / "intex" / "unseen--a--0" / "run.json",
        json.dumps({"status": "failed", "reason": "ValueError: no view sees it"}),
    )
    put(there / "scores" / "clipscore" / "pretrained.tsv")
    assert main(["status"]) == 0
    out = capsys.readouterr().out
    assert "1/2 meshes" in out and "partly" in out
    assert "1/1 assets  (12.5 s each)" in out
    assert "0/1 assets, 1 failed" in out and "1 x ValueError: no view sees it" in out
    assert "1/2 metrics" in out


def test_the_last_whole_line_of_a_growing_history_counts(there, capsys):
    put(there / "training" / "tuned" / "history.jsonl", '{"step": 0}\n{"step": 1, "reward": 0.25}\n{"st')
    main(["status"])
    assert "1/2 steps  (reward 0.25)" in capsys.readouterr().out
    put(there / "models" / "tuned" / ADAPTER_FILE)
    main(["status"])
    assert "done     2/2 steps" in capsys.readouterr().out


def test_as_json(there, capsys):
    assert main(["status", "--json"]) == 0
    found = {stage["name"]: stage for stage in json.loads(capsys.readouterr().out)}
    assert found["meshes"]["total"] == 2 and found["table"]["done"] == 0


def test_what_the_plan_would_make_anew_is_told_as_stale(there, capsys):
    """Records as the steps write them, then one change after the other."""
    plan = Plan(load_config("config/config.yaml"))
    expected = Expected(plan, there)
    mesh = there / "meshes" / "unseen"
    put(mesh / "geometry.npz")
    put(mesh / "mesh.npz", "a mesh")
    put(mesh / "mesh.json", json.dumps({"settings_hash": content_hash(plan.mesh_settings("unseen"))}))
    put(there / "models" / "tuned" / ADAPTER_FILE)
    config = {**plan.model_settings("tuned"), "code": expected.code(plan.model_modules("tuned"))}
    put(there / "models" / "tuned" / "config.json", json.dumps(config))
    (asset,) = plan.assets
    runs = {}
    for method in plan.methods:
        runs[method] = {
            **asset.record(),
            "status": "ok",
            "seconds": 1.0,
            "hash": "h",
            "settings_hash": texture_inputs(plan.texture_settings(method, 0)),
            "code": expected.code(plan.method_modules(method)),
            "mesh_hash": file_hash(mesh / "mesh.npz"),
        }
        put(there / "textures" / method / asset.name / "run.json", json.dumps(runs[method]))
        for metric in plan.metrics:
            record = {
                "settings_hash": content_hash(plan.score_settings(metric)),
                "code": expected.code(plan.metric_modules(metric)),
                "textures_hash": textures_hash([runs[method]]),
            }
            put(there / "scores" / metric / f"{method}.json", json.dumps(record))
            put(there / "scores" / metric / f"{method}.tsv")
    put(there / "table.md")

    def stale() -> dict[str, int]:
        capsys.readouterr()
        assert main(["status", "--json"]) == 0
        return {each["name"]: each["stale"] for each in json.loads(capsys.readouterr().out) if each["stale"]}

    assert stale() == {}
    put(mesh / "mesh.npz", "another mesh")
    assert stale() == {f"textures {method}": 1 for method in plan.methods}
    put(mesh / "mesh.npz", "a mesh")
    put(there / "textures" / "intex" / asset.name / "run.json", json.dumps({**runs["intex"], "code": "old"}))
    assert stale() == {"textures intex": 1}
    put(there / "textures" / "intex" / asset.name / "run.json", json.dumps({**runs["intex"], "hash": "new"}))
    assert stale() == {"scores intex": 2}
    put(there / "textures" / "intex" / asset.name / "run.json", json.dumps(runs["intex"]))
    os.utime(there / "models" / "tuned" / ADAPTER_FILE, (2e9, 2e9))
    assert stale() == {"textures tuned": 1}
    os.utime(there / "models" / "tuned" / ADAPTER_FILE, (1e9, 1e9))
    os.utime(there / "table.md", (1e9, 1e9))
    assert stale() == {"table": 1}
    os.utime(there / "table.md")
    text = Path("config/config.yaml").read_text()
    Path("config/config.yaml").write_text(text.replace("steps: 2", "steps: 3"))
    assert stale() == {"model tuned": 3}
    Path("config/config.yaml").write_text(text + "meshes: {longest_side: 1.5}\n")
    assert stale() == {"meshes": 1}
    assert main(["status"]) == 0
    assert "1 stale" in capsys.readouterr().out

"""`texreward status`: what is done, missing and failed, read off a results folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from texgen.storage.records import sealed
from workflow.cli.main import main
from workflow.config.kinds import ADAPTER_FILE


def put(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def there(small: Path, monkeypatch) -> Path:
    monkeypatch.chdir(small)
    return small / "results"


def record(value: dict) -> str:
    """A record as the steps write it."""
    return sealed(value).decode()


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
        record({"status": "ok", "seconds": 12.5}),
    )
    put(
        there / "textures" / "intex" / "unseen--a--0" / "run.json",
        record({"status": "failed", "reason": "ValueError: no view sees it"}),
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

"""`texreward plan`: evaluations counted from settings alone equal those that the methods make."""

from __future__ import annotations

import json

import pytest

from workflow.cli import main
from workflow.config.configuration import load_config
from workflow.config.kinds import METHODS
from workflow.config.training import Gradient
from workflow.jobs.estimate import costs, gradient_evaluations, measured_seconds, painting_evaluations
from workflow.jobs.plan import Plan
from workflow.provenance import ROOT


@pytest.fixture(scope="module")
def plan():
    return Plan(load_config(ROOT / "config" / "paper.yaml"))


# As published, and as tests/baselines/test_full_settings.py counts them in the methods themselves.
@pytest.mark.parametrize(
    ("kind", "evaluations", "side"),
    [("texgen", 60, 512), ("intex", 220, 512), ("texture", 510, 512), ("syncmvd", 300, 768)],
)
def test_published_settings_cost_what_the_methods_ask_for(kind, evaluations, side):
    preset, own = METHODS[kind].load_facts().resolved({})
    assert painting_evaluations(kind, preset, own) == pytest.approx(evaluations * (side / 512) ** 2)


def test_text2tex_counts_its_updates_and_its_atlas():
    preset, own = METHODS["text2tex"].load_facts().resolved({})
    assert painting_evaluations("text2tex", preset, own) == pytest.approx(980 * 2.25 + 50)


def test_gradients_cost_what_the_trainer_counts(plan):
    block = plan.config.models["symmetry"]
    assert gradient_evaluations(block, 6, 10) == 180
    last = block.model_copy(update={"gradient": Gradient(strategy="last_k", k=1)})
    assert gradient_evaluations(last, 6, 10) == 72
    kept = block.model_copy(update={"gradient": Gradient(strategy="exact", replay=False)})
    assert gradient_evaluations(kept, 6, 10) == 120


def test_the_paper_is_two_and_a_half_million_evaluations(plan):
    found = {cost.name: cost for cost in costs(plan)}
    assert found["training symmetry"].evaluations >= 2000 * 180
    assert found["textures pretrained"].evaluations == 60 * len(plan.assets)
    assert 2.2e6 < sum(cost.evaluations for cost in found.values()) < 2.8e6


def test_it_is_printed_with_hours_only_where_something_was_measured(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("TEXREWARD_WEIGHTS", str(tmp_path))
    config = ["--config", "config/paper.yaml"]
    assert main(["plan", *config, "--measured", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "Hours need the seconds of one evaluation" in text and "to download: xswu/HPSv2, 1.97 GB" in text
    checked = tmp_path / "gpu-check.json"
    checked.write_text(json.dumps({"items": {"prediction": {"plain_ms": 40.0, "captured_ms": 15.0}}}))
    assert measured_seconds(checked) == 0.015
    assert main(["plan", *config, "--measured", str(checked)]) == 0
    assert "at 15 ms an evaluation (measured," in capsys.readouterr().out


def test_seconds_are_taken_from_runs(tmp_path):
    assert measured_seconds(tmp_path) is None
    for i, seconds in enumerate((6.0, 12.0)):
        folder = tmp_path / "textures" / "pretrained" / f"asset{i}"
        folder.mkdir(parents=True)
        run = {"kind": "texgen", "device_seconds": seconds, "calls": {"unet": 60}}
        (folder / "run.json").write_text(json.dumps(run))
    assert measured_seconds(tmp_path) == pytest.approx(0.15)

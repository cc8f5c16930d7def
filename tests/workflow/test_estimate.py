"""`texreward plan`: evaluations counted from settings alone equal those that the methods make."""

from __future__ import annotations

import json
import re

import pytest
from reference.damages import DAMAGES
from reference.outcomes import check_sentence, outcome

from texgen.storage.records import write_record
from workflow.cli.main import main
from workflow.config.configuration import load_config
from workflow.config.kinds import METHODS
from workflow.config.training import GradientSettings
from workflow.jobs.estimate import (
    Cost,
    Rates,
    costs,
    gradient_evaluations,
    measured_rates,
    painting_evaluations,
    spent_seconds,
)
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
    last = block.model_copy(update={"gradient": GradientSettings(strategy="last_k", k=1)})
    assert gradient_evaluations(last, 6, 10) == 72
    kept = block.model_copy(update={"gradient": GradientSettings(strategy="exact", replay=False)})
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
    painting = {"device_s": [1.5, 1.7], "calls": {"unet": 40}}
    checked.write_text(json.dumps({"items": {"painting_texgen": painting}}))
    assert measured_rates(checked) == Rates(0.04, {})
    assert main(["plan", *config, "--measured", str(checked)]) == 0
    text = capsys.readouterr().out
    assert "At 40 ms an evaluation (measured," in text and "No training was measured" in text
    assert re.search(r"scores \(.* of images\) +\d+ +- +- ", text) and "Scores are not in the hours" in text
    steps = {
        "exact_6_views": {"device_s": 18.0, "passes": 180},
        "last_1_6_views": {"device_s": 3.6, "passes": 72},
    }
    items = {"painting_texgen": painting, "training": steps, "scoring": {"tf32": {"images_s": 500.0}}}
    checked.write_text(json.dumps({"items": items}))
    assert measured_rates(checked) == Rates(0.04, {"exact": 0.1, "last_k": 0.05})
    assert measured_rates(checked, "tf32") == Rates(0.04, {"exact": 0.1, "last_k": 0.05}, 0.002)


def test_the_measured_check_of_the_documents_can_be_read():
    rates = measured_rates(ROOT / "docs" / "measured" / "gpu-check-h100.json")
    # What a step costs once, views and reward, falls on 180 passes of `exact` and on 72 of `last_k`.
    assert rates is not None and rates.painting < rates.training["exact"] < rates.training["last_k"] < 0.1
    assert rates.image is not None and 100 < 1 / rates.image < 400


def test_passes_of_a_training_take_what_its_strategy_was_measured_to_take():
    rates = Rates(0.1, {"exact": 1.0, "last_k": 0.5})
    assert rates.hours(Cost("training", 1, 7200, strategy="exact", passes=3600)) == pytest.approx(1.1)
    assert rates.hours(Cost("training", 1, 3600, strategy="last_k", passes=3600)) == pytest.approx(0.5)
    assert rates.hours(Cost("training", 1, 3600, strategy="d3po", passes=3600)) == pytest.approx(1.0)
    assert rates.hours(Cost("textures", 1, 3600)) == pytest.approx(0.1)
    assert rates.hours(Cost("scores", 1, 0.0, images=3600)) is None
    assert Rates(0.1, {}, 0.01).hours(Cost("scores", 1, 0.0, images=3600)) == pytest.approx(0.01)


def test_seconds_are_taken_from_runs(tmp_path):
    assert measured_rates(tmp_path) is None
    for i, seconds in enumerate((6.0, 12.0)):
        folder = tmp_path / "textures" / "pretrained" / f"asset{i}"
        folder.mkdir(parents=True)
        run = {"kind": "texgen", "device_seconds": seconds, "calls": {"unet": 60}}
        write_record(folder / "run.json", run)
    rates = measured_rates(tmp_path)
    assert rates is not None and rates.painting == pytest.approx(0.15) and not rates.training


@pytest.mark.parametrize(
    "how", ["empty", "cut in a line", "zeroed", "null", "[]", "{}", "nested", "a folder"]
)
def test_what_is_damaged_is_named(tmp_path, how):
    path, other = tmp_path / "textures" / "pretrained" / "asset" / "run.json", tmp_path / "other"
    path.parent.mkdir(parents=True)
    write_record(path, {"kind": "texgen", "device_seconds": 6.0, "calls": {"unet": 60}})
    DAMAGES[how](path, other)
    check_sentence(outcome(lambda: measured_rates(tmp_path)), str(path))
    check_sentence(outcome(lambda: spent_seconds(tmp_path, "pretrained")), str(path))
    if how != "a folder":
        check_sentence(outcome(lambda: measured_rates(path)), str(path), "make gpu-check")

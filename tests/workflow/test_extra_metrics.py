"""Metrics that are off by default: configured, opened and refused as all others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from reference.tiny_meshes import sphere_mesh
from reference.tiny_scorers import SIDE, write_blip_extras, write_clip, write_pick_high

from rewards.base import Textured
from workflow.cli.main import main
from workflow.config.configuration import load_config, parse_config
from workflow.config.kinds import METRICS
from workflow.config.sheets import ConfigError
from workflow.jobs.plan import Plan
from workflow.provenance import ROOT
from workflow.steps.scorers import load_metric
from workflow.weights.published import needs

FILES = {
    "cyclereward": ["CycleReward-Combo.pth"],
    "ict": ["pytorch_model.bin"],
    "hp": ["hp_backbone/pytorch_model.bin", "hp_scorer/mlp_pytorch_model.bin"],
    "reward3d": ["Reward3D_Scorer.pt"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The default configuration with the extra metrics, on tiny weights, as its only ones."""
    root = tmp_path_factory.mktemp("extras")
    write_blip_extras(root / "blip")
    clip = write_clip(root / "clip")
    write_pick_high(root / "pick_high", clip)
    data = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    data |= {"models": {}, "methods": {"pretrained": {"kind": "texgen"}}}
    tokenizers = {"cyclereward": root / "blip" / "tokenizer", "reward3d": root / "blip" / "tokenizer"}
    data["metrics"] = {
        kind: {
            "kind": kind,
            "weights": {"folder": str(root / ("pick_high" if kind in ("ict", "hp") else "blip"))},
            "tokenizer": {"folder": str(tokenizers.get(kind, clip))},
        }
        for kind in FILES
    }
    return data


def test_each_is_opened_and_scores(data):
    config = parse_config(data)
    assert needs(config) == []
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    texture = torch.rand(3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    textured = Textured(sphere_mesh(), texture, torch.ones(1, SIDE, SIDE), "a cow")
    for kind, metric in config.metrics.items():
        score = load_metric(metric, "cpu")
        assert score.name == kind == metric.kind
        values = score(textured)[None] if METRICS[kind].judges_texture else score(images, ["a cow"] * 2)
        assert values.isfinite().all() and not METRICS[kind].is_geometric


def test_their_files_are_inputs_of_the_jobs_that_score(data, monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = Plan(parse_config(data))
    for kind, names in FILES.items():
        folder = data["metrics"][kind]["weights"]["folder"]
        files, weights = set(plan.score_job(kind).files()), {f"{folder}/{name}" for name in names}
        assert weights <= files
        parts = [part for part in data["metrics"][kind].values() if isinstance(part, dict)]
        places = [part["folder"] for part in parts if part.get("folder")]
        assert all(any(Path(each).is_relative_to(place) for place in places) for each in files)
    assert plan.score_job("reward3d").protocol is None
    groups = {name: each["group"] for name, each in plan.table_settings()["metrics"].items()}
    assert set(groups.values()) == {"preference"}


def test_the_command_line_scores_images_by_those_that_judge_images(data, tmp_path, capsys):
    path, picture = tmp_path / "config.yaml", tmp_path / "a.png"
    path.write_text(yaml.safe_dump(data))
    pixels = torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8).numpy()
    Image.fromarray(pixels).save(picture)
    arguments = ["score", str(picture), "--prompt", "a cow", "--config", str(path)]
    assert main([*arguments, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["versions"]) == {"cyclereward", "ict", "hp"}
    assert main([*arguments, "--backend", "official"]) == 2
    assert "official packages cannot score hp" in capsys.readouterr().err


def test_mistakes_are_told_in_one_sentence(data):
    for changes, part in (
        ({"scoring": {"backend": "official"}}, "cannot score metrics.ict (ict)"),
        ({"metrics": {"hp": {"kind": "hp"}}}, "metrics.hp.weights is missing"),
        (
            {"metrics": {"hp": {"kind": "hp", "weights": {"hub": "8y/HP"}}}},
            "metrics.hp.weights.hub is not a known field",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            parse_config(data | changes)
        assert part in str(caught.value)


def test_the_shipped_configurations_leave_them_off():
    for path in sorted((ROOT / "config").glob("*.yaml")):
        assert not {metric.kind for metric in load_config(path).metrics.values()} & set(FILES), path

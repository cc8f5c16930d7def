"""Configurations: what is refused, and the sentence that says so."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from workflow.config.__main__ import main
from workflow.config.configuration import Config, load_config, load_sheets, parse_config
from workflow.config.sheets import ConfigError
from workflow.jobs.plan import Plan

CONFIG = Path(__file__).resolve().parents[2] / "config"
MINIMAL = {
    "title": "A test",
    "backbone": {"folder": "models/x", "controlnets": {"depth_inpaint": {"hub": "a/b", "revision": "main"}}},
    "metrics": {
        "clipscore": {"kind": "clipscore", "clip": {"hub": "a/clip"}},
        "alignment": {"kind": "alignment"},
    },
    "models": {"tuned": {"rewards": [{"metric": "alignment"}], "steps": 3}},
    "methods": {"pretrained": {"kind": "texgen"}, "tuned": {"kind": "texgen", "model": "tuned"}},
}


def changed(path: str, value: object) -> dict:
    """The minimal configuration with one entry set, or removed when the value is ...; keys joined by dots."""
    data = copy.deepcopy(MINIMAL)
    *parents, last = path.split(".")
    here = data
    for key in parents:
        here = here[int(key)] if isinstance(here, list) else here.setdefault(key, {})
    if value is ...:
        del here[last]
    else:
        here[last] = value
    return data


def test_a_minimal_configuration_is_completed_by_defaults():
    config = parse_config(MINIMAL)
    assert config.evaluation.seeds == [0]
    assert config.results == "results"
    assert config.methods["pretrained"].model is None


@pytest.mark.parametrize(
    ("path", "value", "parts"),
    [
        ("sed", 1, ["sed is not a known field", "allowed here are"]),
        ("evaluation.sed", 1, ["evaluation.sed is not a known field", "did you mean 'seeds'?"]),
        ("metrics.clipscore.clip.foldr", "x", ["metrics.clipscore.clip.foldr", "'folder'", "hub, revision"]),
        ("metrics.clipscore.prefx", "x", ["metrics.clipscore.prefx", "'prefix'"]),
        ("metrics.clipscore.kind", "clip", ["metrics.clipscore.kind is 'clip'", "clipscore"]),
        ("metrics.clipscore.kind", ..., ["metrics.clipscore.kind is missing"]),
        ("title", ..., ["title is missing"]),
        ("title", 3, ["title is 3", "string"]),
        ("backbone.folder", ..., ["backbone", "exactly one of folder and hub"]),
        ("backbone.hub", "a/b", ["backbone", "exactly one of folder and hub"]),
        ("backbone.revision", "main", ["backbone", "revision belongs to a hub id"]),
        ("backbone.dtype", "double", ["backbone.dtype is 'double'", "float32"]),
        ("models.tuned.rewards", [{"metric": "beauty"}], ["models.tuned.rewards", "'beauty'", "alignment"]),
        ("models.tuned.steps", 0, ["models.tuned.steps is 0", "greater than or equal to 1"]),
        ("methods.tuned.model", "other", ["methods.tuned.model is 'other'", "allowed are null and tuned"]),
        ("methods.tuned.kind", "textured", ["methods.tuned.kind is 'textured'", "'texgen'", "'intex'"]),
        ("methods.tuned.preset", {"stps": 3}, ["methods.tuned.preset.stps", "did you mean 'steps'?"]),
        ("evaluation.reference", "base", ["evaluation.reference is 'base'", "pretrained, tuned"]),
        ("evaluation.backgrounds", {"w": [1, 1]}, ["evaluation.backgrounds.w", "at least 3"]),
        ("presets", {"txgen": {}}, ["presets.txgen"]),
        ("methods.tuned.preset", {"texture_size": 64}, ["texture_size must be one", "methods.tuned 64"]),
        ("methods", {"a--b": {"kind": "texgen"}}, ["methods.a--b", "pattern"]),
    ],
)
def test_a_mistake_is_one_sentence_with_file_field_and_what_is_allowed(path, value, parts):
    with pytest.raises(ConfigError) as caught:
        parse_config(changed(path, value), "my.yaml")
    text = str(caught.value)
    assert text.startswith("my.yaml")
    assert "\n" not in text, text
    assert all(part in text for part in parts), text


def test_several_mistakes_are_several_sentences():
    data = changed("sed", 1) | {"title": 3}
    with pytest.raises(ConfigError) as caught:
        parse_config(data, "my.yaml")
    assert len(str(caught.value).splitlines()) == 2


def test_a_learning_rate_may_be_written_without_a_dot():
    assert yaml.safe_load("x: 1e-3")["x"] == "1e-3"
    assert parse_config(changed("models.tuned.learning_rate", "1e-3")).models["tuned"].learning_rate == 1e-3


def test_broken_yaml_names_file_and_line(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("title: x\nmetrics: [1\n")
    with pytest.raises(ConfigError, match=r"broken.yaml, line \d+: is not YAML"):
        load_config(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")
    path.write_text("- a\n")
    with pytest.raises(ConfigError, match="must hold fields"):
        load_config(path)


@pytest.mark.parametrize("name", ["config", "smoke", "paper"])
def test_shipped_configurations_and_their_sheets_are_valid(name, monkeypatch):
    monkeypatch.chdir(CONFIG.parent)
    path = CONFIG / f"{name}.yaml"
    assert path.read_text().startswith(
        "# yaml-language-server: $schema=../workflow/schemas/config.schema.json\n"
    )
    config = load_config(path)
    meshes, prompts = load_sheets(config)
    assert meshes and prompts
    plan = Plan(config)
    assert len({asset.name for asset in plan.assets}) == len(plan.assets)
    held_out = {(asset.mesh, asset.prompt) for asset in plan.assets}
    assert not held_out & {(asset.mesh, asset.prompt) for asset in plan.training_assets}
    assert not {asset.prompt for asset in plan.assets} & {asset.prompt for asset in plan.training_assets}


def test_the_check_command_reports_and_fails(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(CONFIG.parent)
    assert main(["check", "config/paper.yaml"]) == 0
    bad = tmp_path / "bad.yaml"
    bad.write_text("title: x\n")
    assert main(["check", "config/paper.yaml", str(bad)]) == 1
    assert "bad.yaml: backbone is missing" in capsys.readouterr().err


def test_every_field_is_described():
    def walk(schema: dict) -> None:
        for name, field in schema.get("properties", {}).items():
            assert field.get("description"), f"{schema.get('title')}.{name} has no description"

    schema = Config.model_json_schema()
    for part in [schema, *schema["$defs"].values()]:
        walk(part)

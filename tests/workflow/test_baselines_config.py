"""Baselines in the default configuration: own fields, psd_like's score, precomputed folders."""

from importlib import import_module

import pytest
import yaml

from workflow.config.configuration import Method, load_config, parse_config
from workflow.config.kinds import METHODS
from workflow.config.method_settings import PresetOverrides
from workflow.config.sheets import ConfigError
from workflow.jobs.plan import Plan

FILE = "config/config.yaml"


def data():
    with open(FILE) as file:
        return yaml.safe_load(file)


def test_every_method_of_the_file_has_a_module_with_its_function():
    config = load_config(FILE)
    kinds = {method.kind for method in config.methods.values()}
    painting = {kind for kind, method in METHODS.items() if method.paints and method.facts}
    assert kinds == painting, f"{FILE} shows every method that paints here"
    for kind, method in METHODS.items():
        assert kind == "custom" or callable(getattr(import_module(method.module), kind))
    plan = Plan(config)
    assert plan.texture_job("psd_like", 0).score.kind == "clipscore"
    assert plan.texture_job("texture", 0).score is None
    assert any("clip" in path for path in plan.texture_job("psd_like").files())


def test_the_fields_of_the_configuration_are_those_of_the_methods():
    """Nothing is typed twice: every field that a method honours can be given, and no other."""
    honoured = {name for kind in METHODS if (facts := METHODS[kind].load_facts()) for name in facts.honours}
    assert set(PresetOverrides.model_fields) == honoured
    for kind, method in METHODS.items():
        if method.facts:
            assert method.load_facts() is not None, kind


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"kind": "texture", "preset": {"rounds": 3}}, "preset.rounds is a field of another kind"),
        ({"kind": "psd_like"}, "metric names the score"),
        ({"kind": "psd_like", "metric": "alignment"}, "allowed are aesthetic, clipscore"),
        ({"kind": "texture", "metric": "clipscore"}, "metric names the score"),
        ({"kind": "precomputed"}, "folder holds the files"),
        ({"kind": "syncmvd", "folder": "there"}, "folder holds the files"),
        ({"kind": "instex"}, "kind"),
    ],
)
def test_mistakes_are_named(method, message):
    changed = data()
    changed["methods"]["mine"] = method
    with pytest.raises(ConfigError, match=message):
        parse_config(changed, "x.yaml")


def test_precomputed_rows_name_their_files(tmp_path):
    changed = data()
    changed["methods"]["mine"] = {
        "kind": "precomputed", "folder": str(tmp_path), "preset": {"texture_size": 256}
    }  # fmt: skip
    (tmp_path / "cow--cow_blue--0.glb").touch()
    plan = Plan(parse_config(changed, "x.yaml"))
    glb = (tmp_path / "cow--cow_blue--0.glb").as_posix()
    assert glb in plan.texture_job("mine").files()
    assert plan.texture_job("mine", 0).folder == str(tmp_path)
    assert Method(kind="intex").folder is None

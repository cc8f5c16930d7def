"""Baselines in the default configuration: own fields, psd_like's score, precomputed folders."""

from dataclasses import fields
from importlib import import_module

import pytest
import yaml

from workflow.config import Method, load_config, parse_config
from workflow.config_presets import OWN_FIELDS, PresetOverrides
from workflow.kinds import FOREIGN, METHOD_MODULES
from workflow.plan import Plan
from workflow.tables import ConfigError

FILE = "config/config.yaml"


def data():
    with open(FILE) as file:
        return yaml.safe_load(file)


def test_every_method_of_the_file_has_a_module_with_its_function():
    config = load_config(FILE)
    kinds = {method.kind for method in config.methods.values()}
    assert kinds == set(METHOD_MODULES) - set(FOREIGN), f"{FILE} shows every method that paints here"
    for kind in kinds - {"texgen"}:
        assert callable(getattr(import_module(METHOD_MODULES[kind]), kind))
    plan = Plan(config)
    assert plan.texture_settings("psd_like", 0)["score"]["kind"] == "clipscore"
    assert plan.texture_settings("texture", 0)["score"] is None
    assert any("clip" in path for path in plan.method_inputs("psd_like"))


def test_own_fields_are_those_of_the_settings_of_each_method():
    from texgen.presets import Preset

    shared = {entry.name for entry in fields(Preset)}
    for kind in set(METHOD_MODULES) - set(FOREIGN) - {"texgen"}:
        here = vars(import_module(METHOD_MODULES[kind]))
        own = [value for name, value in here.items() if name.endswith("Settings")]
        named = {entry.name for settings in own for entry in fields(settings)}
        assert named == set(OWN_FIELDS.get(kind, ())), f"{kind}: OWN_FIELDS and its Settings differ"
    assert {"text2tex", "paint3d", "syncmvd", "psd_like"} <= set(OWN_FIELDS) <= set(METHOD_MODULES)
    own = {field for names in OWN_FIELDS.values() for field in names}
    assert set(PresetOverrides.model_fields) <= shared | own
    assert own <= set(PresetOverrides.model_fields)


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
    assert plan.method_inputs("mine") == [(tmp_path / "cow--cow_blue--0.glb").as_posix()]
    assert plan.texture_settings("mine", 0)["folder"] == str(tmp_path)
    assert Method(kind="intex").folder is None

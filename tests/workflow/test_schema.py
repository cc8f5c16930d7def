"""The stored JSON schema is the one that the models generate, and it accepts the shipped configurations."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from workflow.config.__main__ import main
from workflow.config.describe import SCHEMA_PATH, defaults_text, schema_text

CONFIG = Path(__file__).resolve().parents[2] / "config"


def test_the_stored_schema_is_current():
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), (
        "run `python -m workflow.config schema` and commit the result"
    )
    assert main(["schema", "--check"]) == 0


@pytest.mark.parametrize("name", ["config", "smoke", "paper"])
def test_the_schema_accepts_the_shipped_configurations(name):
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    jsonschema.validate(yaml.safe_load((CONFIG / f"{name}.yaml").read_text()), schema)


def test_the_schema_refuses_unknown_keys():
    schema = json.loads(SCHEMA_PATH.read_text(encoding="utf-8"))
    data = yaml.safe_load((CONFIG / "config.yaml").read_text())
    data["evaluation"]["sed"] = 1
    with pytest.raises(jsonschema.ValidationError, match="sed"):
        jsonschema.validate(data, schema)


def test_the_defaults_name_every_field():
    text = defaults_text()
    for field in ("title: required", "longest_side: 1.6", "learning_rate: 0.001", "k: 1", "prefix:", "hub:"):
        assert field in text, field

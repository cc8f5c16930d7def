"""What the configuration can say: its JSON schema, and every field with its default and meaning."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import BaseModel

from workflow.config.configuration import Config
from workflow.config.error_sentences import nested_models
from workflow.config.method_settings import PresetOverrides

SCHEMA_PATH = Path(__file__).parent.parent / "schemas" / "config.schema.json"


def schema_text() -> str:
    """The JSON schema of a configuration file, as it is stored."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def defaults_text(model: type[BaseModel] = Config, indent: str = "") -> str:
    """YAML-like text of every field of a block and of the blocks in it: its default and what it means."""
    lines = []
    for name, field in model.model_fields.items():
        blocks = nested_models(field.annotation)
        if field.is_required():
            value = "required"
        elif model is PresetOverrides:
            value = "the preset's"
        elif blocks:
            value = ""
        else:
            value = json.dumps(field.get_default(call_default_factory=True))
        lines.append(f"{indent}{name}: {value}".rstrip() + f"  # {field.description}")
        repeated = any(word in str(field.annotation) for word in ("dict[", "list["))
        for block in blocks:
            inner = indent + "  "
            if repeated:
                lines.append(f"{inner}(each {block.__name__})")
                inner += "  "
            lines.append(defaults_text(block, inner))
    return "\n".join(lines)

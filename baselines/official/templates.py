"""Configuration files that a checkout carries, as starting points of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def read_template(path: Path, *sections: str) -> dict[str, Any]:
    """A YAML file of a checkout. Raises ValueError with a sentence when it is not what it was, e.g. when one
    of the sections is missing."""
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} cannot be read ({error}); check the checkout out anew.") from error
    if not isinstance(config, dict) or any(not isinstance(config.get(name), dict) for name in sections):
        needed = " and ".join(sections) or "a mapping"
        raise ValueError(f"{path} does not hold {needed}; check out the commit that docs/baselines.md names.")
    return config


def not_looked_up(text: str) -> str:
    """A text for a configuration that OmegaConf reads, which would look a name in ${...} up."""
    return text.replace("${", "$ {")

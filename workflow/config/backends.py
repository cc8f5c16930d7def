"""Whether the packages that a configuration chooses are here, before any job. Imports no torch."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from workflow.config.configuration import Config
from workflow.config.sheets import ConfigError


def _presets(config: Config) -> dict[str, Any]:
    """Place in the configuration -> the changes to a preset that stand there."""
    found: dict[str, Any] = {f"presets.{kind}": preset for kind, preset in config.presets.items()}
    found |= {f"methods.{name}.preset": method.preset for name, method in config.methods.items()}
    found |= {f"models.{name}.preset": model.preset for name, model in config.models.items()}
    return found


def chosen(config: Config) -> dict[str, str]:
    """Field of the configuration -> the rasterizer that it names."""
    found = {"evaluation.rasterizer": config.evaluation.rasterizer}
    for where, preset in _presets(config).items():
        if preset.rasterizer:
            found[f"{where}.rasterizer"] = preset.rasterizer
    for name, model in config.models.items():
        for index, term in enumerate(model.rewards):
            found[f"models.{name}.rewards[{index}].rasterizer"] = term.rasterizer
    return found


def require(config: Config) -> None:
    """Raise ConfigError for a rasterizer, or a package of an upscaler, that is not installed."""
    for field, name in chosen(config).items():
        if name == "nvdiffrast" and find_spec("nvdiffrast") is None:
            raise ConfigError(
                f"{field} is nvdiffrast, which is not installed; install it from its repository "
                "(docs/architecture.md says how), or choose warp."
            )
    for field, preset in _presets(config).items():
        if preset.upscaler and find_spec("spandrel") is None:
            raise ConfigError(
                f"{field}.upscaler needs the package spandrel; run pip install 'texreward[upscale]', "
                "or set it to ''."
            )

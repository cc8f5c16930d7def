"""Splitting the overrides of a method between its preset and its own settings."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from texgen.presets import Preset

Settings = TypeVar("Settings")


def split(preset: Preset, settings: Settings, overrides: dict[str, Any]) -> tuple[Preset, Settings]:
    """The preset and the settings (a dataclass) with the overrides that each of them has as fields.

    Raises ValueError, naming all allowed fields, for an override that neither has.
    """
    own = {entry.name for entry in fields(settings)}  # type: ignore[arg-type]
    shared = {entry.name for entry in fields(preset)}
    for name in overrides:
        if name not in own | shared:
            allowed = ", ".join(sorted(own | shared))
            raise ValueError(f"The method {preset.name!r} has no field {name!r}; its fields are {allowed}.")
    mine = {name: value for name, value in overrides.items() if name in own}
    rest = {name: value for name, value in overrides.items() if name not in own}
    return preset.replace(**rest), replace(settings, **mine)  # type: ignore[type-var]

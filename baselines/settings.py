"""A method's settings: overrides split between preset and own fields, and the networks that they ask for."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

from texgen.backbone import Backbone
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


def require_networks(backbone: Backbone, preset: Preset, *roles: str, hint: str = "") -> None:
    """Whether the backbone has every network that a method is going to ask for, before hours of painting.

    Looked at are the preset's ControlNets, its window's model and further `roles`; "unet" is the inpainting
    UNet, "" and "none" nothing. hint: what else a user can do. Raises ValueError for the first that is not
    there.
    """
    window = [preset.window_role] if preset.window else []
    for role in (preset.control_role, *dict(preset.also_controls), *window, *roles):
        if role == "unet" and backbone.inpainting is None:
            raise ValueError(
                f"Preset {preset.name!r} needs an inpainting UNet, which the backbone does not have; add it, "
                f"or name a ControlNet role in its place{hint}."
            )
        if role not in ("", "none", "unet") and role not in backbone.controlnets:
            known = ", ".join(sorted(backbone.controlnets)) or "none"
            raise ValueError(
                f"Preset {preset.name!r} needs a ControlNet of the role {role!r}, which the backbone does "
                f"not have (it has: {known}); add it{hint}."
            )

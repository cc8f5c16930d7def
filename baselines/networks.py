"""Whether a backbone has the networks that a method's settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from texgen.painting.method_facts import MethodFacts
from texgen.painting.presets import Preset

if TYPE_CHECKING:
    from texgen.diffusion.backbone import Backbone


def require_networks(backbone: Backbone, facts: MethodFacts, preset: Preset, settings: Any = None) -> None:
    """Refuse to start where a network is missing, before hours of painting.

    Raises ValueError for the first that is not there, with what else a user can do.
    """
    for role in facts.networks(preset, settings):
        hint = facts.hint if role in facts.own_roles(settings) else ""
        if role == "unet" and backbone.inpainting is None:
            raise ValueError(
                f"Preset {preset.name!r} needs an inpainting UNet, which the backbone does not have; add it, "
                f"or name a ControlNet role in its place{hint}."
            )
        if role != "unet" and role not in backbone.controlnets:
            known = ", ".join(sorted(backbone.controlnets)) or "none"
            raise ValueError(
                f"Preset {preset.name!r} needs a ControlNet of the role {role!r}, which the backbone does "
                f"not have (it has: {known}); add it{hint}."
            )

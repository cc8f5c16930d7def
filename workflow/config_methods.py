"""Configuration of methods: the rows of the table, and what is checked of them before any job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from texgen.method_facts import MethodFacts
from workflow.config_base import Name, Strict
from workflow.config_inputs import Backbone
from workflow.config_official import OfficialProgram
from workflow.config_presets import PresetOverrides
from workflow.kinds import METHODS

MethodName = Literal[*METHODS]


class Method(Strict):
    """One row of the table."""

    kind: MethodName = Field(
        description="Which method; precomputed = textured GLBs of any system, official = an authors' program."
    )
    model: Name | None = Field(None, description="Tuned model of this file; null = untuned backbone.")
    lora_scale: float = Field(
        1.0, ge=0, description="Strength of the tuned model's adapter: 0 = untuned, 1 = as trained."
    )
    preset: PresetOverrides = Field(
        default_factory=PresetOverrides, description="Changes to the preset for this row only."
    )
    metric: Name | None = Field(
        None, description="psd_like: the image score of this file that ranks its pairs; else null."
    )
    folder: str | None = Field(
        None, description="precomputed: folder with MESH--PROMPT_ID--SEED.glb for every asset; else null."
    )
    official: OfficialProgram | None = Field(
        None, description="official: the program, your checkout and its environment; else null."
    )
    label: str | None = Field(None, description="Name of the row; null = its key.")


# Field of a method -> the one kind that has it, and what it is.
KIND_FIELDS = {
    "metric": ("psd_like", "names the score"),
    "folder": ("precomputed", "holds the files"),
    "official": ("official", "names the program"),
}


def refuse_misplaced(where: str, method: Method) -> None:
    """Raise ValueError for a field that belongs to another kind of method, or is missing from its own."""
    for field, (kind, what) in KIND_FIELDS.items():
        if (getattr(method, field) is not None) != (method.kind == kind):
            raise ValueError(f"{where}.{field} {what} of a method of kind {kind}; give it there, only there")
    if not METHODS[method.kind].paints and method.model is not None:
        raise ValueError(f"{where}.model must be null: a method of kind {method.kind} runs no model of ours")


def refuse_overrides(where: str, kind: str, overrides: PresetOverrides) -> None:
    """Raise ValueError for the first override that a kind of method does not honour."""
    refused = overrides.refusal(kind, METHODS[kind].load_facts())
    if refused is not None:
        field, reason = refused
        raise ValueError(f"{where}.{field} {reason}")


def networks(kind: str, changes: Mapping[str, Any]) -> tuple[str, ...]:
    """Roles of the backbone's networks that a method asks for; "unet" is the inpainting UNet.

    Raises ValueError for changes that the method does not take.
    """
    facts = METHODS[kind].load_facts()
    return () if facts is None else facts.networks(*facts.resolved(changes))


def refuse_networks(where: str, kind: str, changes: Mapping[str, Any], backbone: Backbone) -> None:
    """Raise ValueError for settings that do not fit together, or ask for a network that is not there."""
    facts: MethodFacts | None = METHODS[kind].load_facts()
    if facts is None:
        return
    try:
        roles = networks(kind, changes)
    except ValueError as error:
        raise ValueError(f"{where}: {str(error).rstrip('.')}") from None
    for role in roles:
        if role == "unet" and backbone.inpainting is None:
            raise ValueError(
                f"{where}: the method {kind} needs backbone.inpainting, an inpainting UNet; add it, or name "
                f"a role of backbone.controlnets in its place{facts.hint}"
            )
        if role != "unet" and role not in backbone.controlnets:
            known = ", ".join(backbone.controlnets) or "none"
            raise ValueError(
                f"{where}: the method {kind} needs a ControlNet of the role {role!r}; backbone.controlnets "
                f"has {known}; add it there, or name another role{facts.hint}"
            )


def narrowed(backbone: Backbone, roles: tuple[str, ...]) -> Backbone:
    """The backbone with the networks of some roles only, in the backbone's order."""
    return backbone.model_copy(
        update={
            "controlnets": {role: part for role, part in backbone.controlnets.items() if role in roles},
            "inpainting": backbone.inpainting if "unet" in roles else None,
        }
    )

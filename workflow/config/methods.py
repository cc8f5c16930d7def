"""Configuration of methods: the rows of the table, and what is checked of them before any job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from texgen.painting.method_facts import MethodFacts
from workflow.config import custom
from workflow.config.custom import PLACE, Place, check_arguments
from workflow.config.inputs import BackboneWeights
from workflow.config.kinds import METHODS
from workflow.config.method_settings import PresetOverrides
from workflow.config.official_methods import OfficialProgram
from workflow.config.signatures import Signature, of_module
from workflow.config.strict import InputPath, Name, Strict

MethodName = Literal[*METHODS]


class Method(Strict):
    """One row of the table."""

    kind: MethodName = Field(
        description="Which method; precomputed = textured GLBs of any system, official = an authors' "
        "program, custom = code in a file of yours."
    )
    model: Name | None = Field(default=None, description="Tuned model of this file; null = untuned backbone.")
    lora_scale: float = Field(
        default=1.0, ge=0, description="Strength of the tuned model's adapter: 0 = untuned, 1 = as trained."
    )
    preset: PresetOverrides = Field(
        default_factory=PresetOverrides, description="Changes to the preset for this row only."
    )
    metric: Name | None = Field(
        default=None, description="psd_like: the image score of this file that ranks its pairs; else null."
    )
    folder: InputPath | None = Field(
        default=None,
        description="precomputed: folder with MESH--PROMPT_ID--SEED.glb for every asset; else null.",
    )
    official: OfficialProgram | None = Field(
        default=None, description="official: the program, your checkout and its environment; else null."
    )
    file: Place | None = Field(default=None, description=f"custom: {PLACE} Else null.")
    arguments: dict[str, Any] = Field(
        default={}, description="custom, and kinds without a preset: arguments of the class or function."
    )
    label: str | None = Field(default=None, description="Name of the row; null = its key.")


def signature_of(method: Method) -> Signature | None:
    """What a method takes that has `arguments` instead of a preset; None for the others."""
    known = METHODS[method.kind]
    if method.file is not None:
        return custom.signature_of(method.file)
    if known.paints and known.facts is None:
        return of_module(known.module, method.kind)
    return None


# Field of a method -> the one kind that has it, and what it is.
KIND_FIELDS = {
    "metric": ("psd_like", "names the score"),
    "folder": ("precomputed", "holds the files"),
    "official": ("official", "names the program"),
    "file": ("custom", "names the code"),
}


def refuse_misplaced(where: str, method: Method) -> None:
    """Raise ValueError for a field that belongs to another kind of method, or is missing from its own."""
    for field, (kind, what) in KIND_FIELDS.items():
        if (getattr(method, field) is not None) != (method.kind == kind):
            raise ValueError(f"{where}.{field} {what} of a method of kind {kind}; give it there, only there")
    try:
        signature = signature_of(method)
        if signature is not None:
            check_arguments(method.file or method.kind, signature, method.arguments, ("backbone",))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if signature is None and method.arguments:
        raise ValueError(f"{where}.arguments: a method of kind {method.kind} has its settings in preset")
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


def used_of(backbone: BackboneWeights, kind: str, changes: Mapping[str, Any]) -> BackboneWeights:
    """The backbone with the networks that a method asks for; one without facts may ask for any."""
    whole = METHODS[kind].paints and METHODS[kind].load_facts() is None
    return backbone if whole else narrowed(backbone, networks(kind, changes))


def refuse_networks(where: str, kind: str, changes: Mapping[str, Any], backbone: BackboneWeights) -> None:
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


def narrowed(backbone: BackboneWeights, roles: tuple[str, ...]) -> BackboneWeights:
    """The backbone with the networks of some roles only, in the backbone's order."""
    return backbone.model_copy(
        update={
            "controlnets": {role: part for role, part in backbone.controlnets.items() if role in roles},
            "inpainting": backbone.inpainting if "unet" in roles else None,
        }
    )

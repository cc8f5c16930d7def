"""The painter that a command asks for: a method of a configuration, with changes and adapters."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow.cli.adapters import AdapterLocation, find_beside, find_tuned
from workflow.cli.checks import UsageError, located
from workflow.config.configuration import Config
from workflow.config.kinds import METHODS
from workflow.config.methods import Method, networks, signature_of, used_of
from workflow.jobs.jobs import TextureJob

ADAPTER_SCALES = (0.0, 10.0)


@dataclass(frozen=True)
class ChosenMethod:
    """What paints, checked. changes: settings that differ from the method's preset. tuned, beside: adapters,
    the tuned model and one that is added to the backbone under it, with their strengths."""

    config: Config
    name: str
    changes: dict[str, Any]
    tuned: AdapterLocation | None = None
    lora_scale: float = 1.0
    beside: AdapterLocation | None = None
    beside_scale: float = 1.0

    @property
    def method(self) -> Method:
        """The row of the configuration."""
        return self.config.methods[self.name]

    @property
    def keeps(self) -> bool:
        """Whether it can paint a region of a texture and keep the rest."""
        return METHODS[self.method.kind].paints and _keeps(self.method.kind)

    def load(self, work: Path) -> Callable:
        """The method (mesh, prompt, seed, progress), ready to paint; work: folder for an authors' program."""
        from texgen.diffusion.lora_bake import bake
        from workflow.runtime.devices import pick_device
        from workflow.steps.loading import build_method, load_backbone, method_parts, put_on_adapter

        method, config = self.method, self.config
        job = TextureJob.of(
            method=self.name,
            kind=method.kind,
            score=None if method.metric is None else located(config.metrics[method.metric]),
            official=None if method.official is None else located(method.official),
            preset=self.changes,
        )
        backbone = None
        if METHODS[method.kind].needs_backbone:
            wanted = used_of(config.backbone, method.kind, self.changes)
            try:
                backbone = load_backbone(located(wanted), pick_device())
            except FileNotFoundError as error:
                raise UsageError(str(error)) from None
        if self.beside is not None:
            bake(backbone.unet, self.beside.path, self.beside_scale)
        if self.tuned is not None:
            put_on_adapter(backbone, self.tuned.folder, self.lora_scale)
        device = "" if backbone is None else str(backbone.device)
        changes = self.changes | method_parts(job, device, work)
        tuned = None if self.tuned is None else self.tuned.folder
        return build_method(method.kind, backbone, changes, tuned, method.file)


def choose(
    config: Config,
    name: str,
    settings: Mapping[str, Any],
    model: str | None = None,
    lora_scale: float | None = None,
    adapter: str | None = None,
    adapter_scale: float | None = None,
) -> ChosenMethod:
    """A method of a configuration by name, with given settings (None = the method's own) and adapters.

    Raises UsageError, before anything is loaded, for what does not exist or the method does not honour.
    """
    if name not in config.methods:
        raise UsageError(
            f"There is no method {name!r} in the configuration; allowed are {', '.join(config.methods)}."
        )
    method = config.methods[name]
    if method.kind == "precomputed":
        raise UsageError(f"The method {name!r} reads files that exist already; it paints nothing new.")
    given = {key: value for key, value in settings.items() if value is not None}
    model = model or method.model
    alone = not METHODS[method.kind].needs_backbone
    # What a program of its own can be told is the size of its texture.
    foreign = [f"--{key.replace('_', '-')}" for key in given if key != "texture_size"] if alone else []
    foreign += [] if not alone or model is None else ["--model"]
    foreign += [] if not alone or adapter is None else ["--adapter"]
    if foreign:
        raise UsageError(f"The method {name!r} is a program of its own; leave {' and '.join(foreign)} out.")
    _check_scale("--lora-scale", lora_scale, "--model", model)
    _check_scale("--adapter-scale", adapter_scale, "--adapter", adapter)
    changes = config.changes(method.kind, method.preset) | method.arguments | given
    _check_changes(name, method, changes, given)
    return ChosenMethod(
        config,
        name,
        changes,
        None if model is None else find_tuned(config, model),
        method.lora_scale if lora_scale is None else lora_scale,
        None if adapter is None else find_beside(adapter),
        1.0 if adapter_scale is None else adapter_scale,
    )


def keeping_methods(config: Config) -> list[str]:
    """Names of a configuration's methods that can keep a texture and paint a region of it."""
    return [name for name, method in config.methods.items() if _keeps(method.kind)]


def _keeps(kind: str) -> bool:
    facts = METHODS[kind].load_facts()
    return facts is not None and facts.keeps


def _check_scale(option: str, scale: float | None, of: str, given: str | None) -> None:
    low, high = ADAPTER_SCALES
    if scale is not None and given is None:
        raise UsageError(f"{option} is the strength of {of}; give both.")
    if scale is not None and not (math.isfinite(scale) and low <= scale <= high):
        raise UsageError(f"{option} is {scale}; give a number from {low:g} to {high:g}.")


def _check_changes(name: str, method: Method, changes: dict[str, Any], given: dict[str, Any]) -> None:
    """Raises UsageError for settings that the method does not take, or not so."""
    try:
        networks(method.kind, changes)
    except ValueError as error:
        raise UsageError(str(error)) from None
    signature = signature_of(method)
    if signature is None or signature.open:
        return
    known = {each.name for each in signature.parameters}
    for key in given:
        if key not in known:
            option = f"--{key.replace('_', '-')}"
            raise UsageError(f"The method {name!r} takes no {key}; leave {option} out.")

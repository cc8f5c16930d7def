"""Which method paints: one of a configuration, with changed settings and with adapters, checked and loaded.

The command line, the studio and the Python interface all choose and load here. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workflow.cli.adapters import AdapterLocation, find_beside, find_tuned
from workflow.cli.checks import UsageError, located
from workflow.config.configuration import Config
from workflow.config.kinds import METHODS
from workflow.config.methods import Method, refuse_networks, signature_of
from workflow.jobs.jobs import TextureJob
from workflow.jobs.method_job import method_job, settings_of

ADAPTER_SCALES = (0.0, 10.0)


def as_option(name: str) -> str:
    """A field of a request as the command line calls it."""
    return f"--{name.replace('_', '-')}"


@dataclass(frozen=True)
class MethodRequest:
    """What is asked for. method: a name of the configuration. settings: of the method, None = its own.

    model: a tuned model, None = the method's own. adapter: one to add to the backbone under it. lora_scale,
    adapter_scale: their strengths. spelled: how messages call a field of this request or of its settings.
    """

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    lora_scale: float | None = None
    adapter: str | None = None
    adapter_scale: float | None = None
    spelled: Callable[[str], str] = as_option


@dataclass(frozen=True)
class ChosenMethod:
    """What paints, checked. job: the method with its settings. tuned, beside: adapters, the tuned model and
    one that is added to the backbone under it with the strength beside_scale."""

    config: Config
    job: TextureJob
    tuned: AdapterLocation | None = None
    beside: AdapterLocation | None = None
    beside_scale: float = 1.0

    @property
    def name(self) -> str:
        """The method's name in the configuration."""
        return self.job.method

    @property
    def changes(self) -> dict[str, Any]:
        """Settings that differ from those that the method has by itself."""
        return self.job.preset

    @property
    def lora_scale(self) -> float:
        """Strength of the tuned model."""
        return self.job.lora_scale

    @property
    def method(self) -> Method:
        """The row of the configuration."""
        return self.config.methods[self.name]

    @property
    def keeps(self) -> bool:
        """Whether it can paint a region of a texture and keep the rest."""
        return METHODS[self.job.kind].paints and _keeps(self.job.kind)

    def load(self, work: Path | None = None, device: str | None = None) -> Callable:
        """The method (mesh, prompt, seed, progress), ready to paint.

        work: folder for an authors' program. device: cpu or cuda, None = a GPU where there is one.
        """
        from workflow.runtime.devices import pick_device
        from workflow.steps.loading import Adapters, load_method

        blocks = {name: getattr(self.job, name) for name in ("backbone", "score", "official")}
        here = {name: located(block) for name, block in blocks.items() if block is not None}
        adapters = Adapters(
            None if self.tuned is None else self.tuned.folder,
            None if self.beside is None else self.beside.path,
            self.beside_scale,
        )
        return load_method(self.job.model_copy(update=here), device or pick_device(), adapters, work)()


def choose(config: Config, request: MethodRequest) -> ChosenMethod:
    """The method of a request.

    Raises UsageError, before anything is loaded, for what does not exist or the method does not honour.
    """
    name, spelled = request.method, request.spelled
    if name not in config.methods:
        raise UsageError(
            f"There is no method {name!r} in the configuration; allowed are {', '.join(config.methods)}."
        )
    method = config.methods[name]
    if method.kind == "precomputed":
        raise UsageError(f"The method {name!r} reads files that exist already; it paints nothing new.")
    given = {key: value for key, value in request.settings.items() if value is not None}
    model, adapter = request.model or method.model, request.adapter
    alone = not METHODS[method.kind].needs_backbone
    # What a program of its own can be told is the size of its texture.
    foreign = [spelled(key) for key in given if key != "texture_size"] if alone else []
    foreign += [spelled("model")] if alone and model is not None else []
    foreign += [spelled("adapter")] if alone and adapter is not None else []
    if foreign:
        raise UsageError(f"The method {name!r} is a program of its own; leave {' and '.join(foreign)} out.")
    _check_scale(request, "lora_scale", "model", model)
    _check_scale(request, "adapter_scale", "adapter", adapter)
    _check_settings(config, name, given, spelled)
    job = method_job(config, name, given)
    scale = method.lora_scale if request.lora_scale is None else request.lora_scale
    return ChosenMethod(
        config,
        job.model_copy(update={"model": model, "lora_scale": scale}),
        None if model is None else find_tuned(config, model, spelled("model")),
        None if adapter is None else find_beside(adapter),
        1.0 if request.adapter_scale is None else request.adapter_scale,
    )


def keeping_methods(config: Config) -> list[str]:
    """Names of a configuration's methods that can keep a texture and paint a region of it."""
    return [name for name, method in config.methods.items() if _keeps(method.kind)]


def _keeps(kind: str) -> bool:
    facts = METHODS[kind].load_facts()
    return facts is not None and facts.keeps


def _check_scale(request: MethodRequest, name: str, of: str, given: str | None) -> None:
    low, high = ADAPTER_SCALES
    scale, called = getattr(request, name), request.spelled(name)
    if scale is not None and given is None:
        raise UsageError(f"{called} is the strength of {request.spelled(of)}; give both.")
    if scale is not None and not (math.isfinite(scale) and low <= scale <= high):
        raise UsageError(f"{called} is {scale}; give a number from {low:g} to {high:g}.")


def _check_settings(config: Config, name: str, given: dict[str, Any], spelled: Callable[[str], str]) -> None:
    """Raises UsageError for settings that the method does not take, or not so."""
    method = config.methods[name]
    try:
        changes = settings_of(config, name, given)
        refuse_networks(spelled("method"), method.kind, changes, config.backbone)
    except ValueError as error:
        raise UsageError(f"{str(error).rstrip('.')}.") from None
    signature = signature_of(method)
    if signature is None or signature.open:
        return
    known = {each.name for each in signature.parameters}
    for key in given:
        if key not in known:
            raise UsageError(f"The method {name!r} takes no {key}; leave {spelled(key)} out.")

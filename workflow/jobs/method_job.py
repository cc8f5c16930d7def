"""The job of one of a configuration's methods: for its plan, the command line and the Python interface."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from workflow.config.configuration import Config
from workflow.config.kinds import METHODS
from workflow.config.methods import used_of
from workflow.jobs.jobs import AssetRecord, TextureJob

NOTHING: Mapping[str, Any] = MappingProxyType({})


def settings_of(config: Config, name: str, given: Mapping[str, Any] = NOTHING) -> dict[str, Any]:
    """What differs from the settings that the method has by itself: by the configuration, then as given."""
    method = config.methods[name]
    return config.changes(method.kind, method.preset) | method.arguments | dict(given)


def method_job(
    config: Config, name: str, given: Mapping[str, Any] = NOTHING, assets: list[AssetRecord] | None = None
) -> TextureJob:
    """The job of a method, which carries only the networks and weights that it uses.

    Raises ValueError for settings in `given` that the method does not take.
    """
    method = config.methods[name]
    changes = settings_of(config, name, given)
    alone = not METHODS[method.kind].needs_backbone
    return TextureJob.of(
        method=name,
        kind=method.kind,
        model=method.model,
        lora_scale=method.lora_scale,
        score=None if method.metric is None else config.metrics[method.metric],
        folder=method.folder,
        official=method.official,
        file=method.file,
        preset=changes,
        backbone=None if alone else used_of(config.backbone, method.kind, changes),
        assets=[] if assets is None else assets,
    )

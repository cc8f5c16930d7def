"""What `load` is told, as a configuration has it: the miniature, a folder or a hub id, and ControlNets."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from texgen import shipped
from texreward.checked import checked
from workflow.cli.painter import ChosenMethod, MethodRequest, choose
from workflow.config.configuration import Config, load_config
from workflow.config.inputs import BackboneWeights
from workflow.config.method_settings import PresetOverrides
from workflow.config.methods import Method, refuse_overrides
from workflow.config.sheets import ConfigError

MINIATURE = "miniature"
KIND = "texgen"


def configuration(source: str | PathLike[str]) -> Config:
    """The shipped configuration that a model belongs to: the miniature's, or that of full-size models."""
    return load_config(shipped.configuration("config" if fspath(source) == MINIATURE else "paper"))


def backbone_of(
    source: str | PathLike[str], controlnets: Mapping[str, str] | None, half: bool
) -> BackboneWeights:
    """The backbone of `load`. half: whether full-size weights are kept as float16.

    Raises ConfigError where `source` is neither "miniature" nor a folder nor a hub id.
    """
    name, config = fspath(source), configuration(source)
    if name == MINIATURE:
        known, place = config.backbone.controlnets, {"folder": config.backbone.folder}
    elif Path(name).is_dir():
        known = {each.name.removeprefix(FOLDER): {"folder": str(each)} for each in _beside(Path(name))}
        known, place = known or config.backbone.controlnets, {"folder": name}
    elif name.count("/") == 1 and not name.startswith((".", "/", "~")):
        same = config.backbone.hub == name
        known = config.backbone.controlnets
        place = {"hub": name, "revision": config.backbone.revision if same else None}
    else:
        raise ConfigError(
            f'load: there is no folder {name!r}; give "{MINIATURE}", a folder in diffusers layout, or a hub '
            "id such as owner/name."
        )
    if controlnets is not None:
        known = {role: _weights(fspath(each)) for role, each in controlnets.items()}
    dtype = "float16" if half and name != MINIATURE else "float32"
    return checked("load", BackboneWeights, {**place, "controlnets": known, "dtype": dtype})


FOLDER = "controlnet_"


def _beside(folder: Path) -> list[Path]:
    """The ControlNets that a folder holds, as the miniature's does."""
    return sorted(each for each in folder.glob(f"{FOLDER}*") if each.is_dir())


def _weights(place: str) -> dict[str, Any]:
    return {"folder": place} if Path(place).is_dir() else {"hub": place}


def chosen(
    source: str | PathLike[str], backbone: BackboneWeights, settings: Mapping[str, Any], **more: Any
) -> ChosenMethod:
    """The shared painter with a backbone: the preset texgen with the changes of the configuration that
    belongs to `source`, then those of `settings`. more: other fields of a `MethodRequest`.

    Raises ValueError in one sentence for what the painter does not honour or cannot find.
    """
    own = checked("load", PresetOverrides, dict(settings))
    try:
        refuse_overrides("load", KIND, own)
    except ValueError as error:
        raise ConfigError(f"{str(error).rstrip('.')}.") from None
    alone = {"backbone": backbone, "methods": {KIND: Method(kind=KIND)}}
    config = configuration(source).model_copy(update=alone)
    return choose(config, MethodRequest(KIND, own.changes(), spelled=as_argument, **more))


def as_argument(name: str) -> str:
    """A field of a `MethodRequest` as the arguments of `load` are called."""
    return {"model": "load: adapter", "method": "load"}.get(name, f"load: {name}")

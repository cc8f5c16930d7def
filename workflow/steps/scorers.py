"""Builds the metrics that jobs name: learned scores of renders or meshes, and geometric rewards.

Modules of metrics are imported by name: a job depends on the code of its own metrics, not of all of them.
"""

from __future__ import annotations

from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from texgen.errors import damage_named
from texgen.shipped import located
from workflow.code_identity import code_version
from workflow.config import custom
from workflow.config.kinds import METRICS
from workflow.config.strict import Strict

DOWNLOADS = Path("resources")


def load_metric(
    block: Strict, device: str, training: bool = False, backend: str = "native", precision: str = "float32"
):
    """A learned score of images, the learned one of a textured mesh (reward3d), or a geometric reward.

    block: of a metric of the configuration. In training a score takes a few images at a time and computes its
    layers twice, so that its memory grows neither with the views nor with its depth; in evaluation it rounds
    its input to 8 bits, as official scorers do. Raises FileNotFoundError when weights are missing and cannot
    be downloaded.
    """
    if block.kind == "custom":
        return custom_metric(block, device)
    kind, settings = METRICS[block.kind], block.model_dump()
    metric = getattr(import_module(kind.module), kind.name)
    if kind.is_geometric:
        names = signature(metric).parameters.keys() & settings.keys()
        return metric(**{name: settings[name] for name in names})
    if backend == "official" and not training:
        return official_metric(settings)
    named = load_arguments(metric.load, settings)
    with damage_named(" or ".join(str(each) for each in named.values() if isinstance(each, Path))):
        return metric.load(
            **named,
            device=device,
            eight_bit=not training,
            max_batch=8 if training else 32,
            recompute=training,
            precision="float32" if training else precision,
        )


def custom_metric(block: Strict, device: str):
    """A reward or score of the user's; what it does not say of itself is filled in.

    A class that takes `device` is told it; one that is a torch module is moved there.
    """
    made = custom.load(block.file)
    takes = {each.name for each in custom.signature_of(block.file).parameters}
    metric = made(**block.arguments, **({"device": device} if "device" in takes else {}))
    if hasattr(metric, "to") and "device" not in takes:
        metric = metric.to(device)
    about = {
        "name": block.file.rpartition(":")[2],
        "higher_is_better": True,
        "typical_range": (0.0, 1.0),
        "version": code_version(files=[custom.path_of(block.file)]),
    }
    for name, value in about.items():
        if not hasattr(metric, name):
            setattr(metric, name, value)
    return metric


def load_arguments(load: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """What the loader of an image score takes, by the names of its parameters.

    source: the folder of the field clip or weights; tokenizer, base: that of the field tokenizer; head: the
    file or folder of an aesthetic head; any other that is a field of the block: its value. A loader that
    hands **options on to CLIP's takes the tokenizer among them.
    """
    folders = scorer_folders(settings)
    found: dict[str, Any] = {"source": folders.get("clip") or folders.get("weights")}
    found |= dict.fromkeys(("tokenizer", "base"), folders.get("tokenizer"))
    if settings.get("head") is not None:
        found["head"] = head_file(settings["head"])
    plain = {name: value for name, value in settings.items() if not isinstance(value, dict)}
    given = plain | found
    parameters = signature(load).parameters
    if "options" in parameters and not {"tokenizer", "base"} & parameters.keys() and "tokenizer" in folders:
        return {"source": given["source"], "tokenizer": folders["tokenizer"]}
    return {name: given[name] for name in parameters if name in given}


def official_metric(settings: dict[str, Any]):
    """The official package's score on the same weights, in its own environment, without gradient."""
    # By name, so that scores of our own do not depend on this code.
    client = import_module("rewards.official.client")
    folders = scorer_folders(settings)
    if settings["kind"] == "aesthetic":
        folders["head"] = head_file(settings["head"])
    named = {name: settings[name] for name in ("version", "prefix", "model") if name in settings}
    return client.OfficialScore(settings["kind"], folders, **named)


def scorer_folders(settings: dict[str, Any]) -> dict[str, Path]:
    """Folders of a score's weights and tokenizer; those of a hub are found, or downloaded and checked."""
    from rewards.checkpoints.published_files import wanted
    from rewards.checkpoints.store import fetch

    fields = ("clip", "weights", "tokenizer")
    given = {field: settings[field] for field in fields if settings.get(field) is not None}
    folders = {field: block["folder"] for field, block in given.items() if block["folder"] is not None}
    folders = {field: Path(located(folder)) for field, folder in folders.items()}
    return folders | {field: fetch(want) for field, want in wanted(settings).items()}


def head_file(head: dict[str, Any]) -> Path:
    """The file or folder of an aesthetic head; one given by address is downloaded once and checked."""
    if head["path"] is not None:
        return Path(located(head["path"]))
    from rewards.checkpoints.store import verify
    from texgen.mesh.sources import fetch_source
    from workflow.weights.published import head_places

    for place in head_places(head["url"], head["sha256"]):
        if place.is_file():
            verify(place, head["sha256"])
            return place
    return fetch_source(head["url"], head["sha256"], DOWNLOADS)

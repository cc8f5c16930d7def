"""Builds what settings files name: backbones, methods, metrics. Shared by the steps and the command line.

Modules of methods and metrics are imported by name, so that the code a job depends on (see
`workflow.provenance.code_version`) is that of its own method and metric, not of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texgen.errors import DamagedFileError, damage_named
from workflow.kinds import ADAPTER_FILE, CAMERAS_FILE, METHOD_MODULES, METRICS, glb_places
from workflow.provenance import content_hash, file_hash, folder_hash

if TYPE_CHECKING:
    from texgen.backbone import Backbone

DOWNLOADS = Path("resources")


def _pinned(weights: dict[str, Any]) -> str:
    """Folder of some weights; a hub id with a revision is downloaded as that revision."""
    if weights["folder"] is not None:
        return weights["folder"]
    if weights["revision"] is None:
        return weights["hub"]
    from huggingface_hub import snapshot_download

    return snapshot_download(weights["hub"], revision=weights["revision"])


def load_backbone(settings: dict[str, Any], device: str) -> Backbone:
    """The backbone of a settings file, on a device."""
    import torch

    from texgen.backbone import Backbone

    return Backbone.load(
        settings["folder"] or settings["hub"],
        {role: _pinned(weights) for role, weights in settings["controlnets"].items()},
        device=device,
        dtype=getattr(torch, settings["dtype"]),
        revision=settings["revision"],
        inpainting=_pinned(settings["inpainting"]) if settings.get("inpainting") else None,
    )


def put_on_adapter(backbone: Backbone, folder: Path, scale: float) -> None:
    """Makes a backbone the tuned model of a folder, for painting only; scale: the adapter's strength."""
    from texgen import lora

    backbone.load_lora(folder)
    backbone.set_lora_scale(scale)
    lora.merge(backbone.unet)


def weight_hashes(backbone: dict[str, Any], adapter: Path | None = None) -> dict[str, str]:
    """Hashes of a backbone's weights that lie in folders, and of the adapter file in a folder.

    Hub weights have none: they are told apart by id and revision, which stand in the settings.
    """
    parts = {
        "backbone": backbone,
        **{f"controlnet {role}": part for role, part in backbone["controlnets"].items()},
        **({"inpainting": backbone["inpainting"]} if backbone.get("inpainting") else {}),
    }
    hashes = {key: folder_hash(part["folder"]) for key, part in parts.items() if part["folder"] is not None}
    if adapter is not None:
        hashes["adapter"] = tensors_hash(adapter / ADAPTER_FILE)
        cameras = adapter / CAMERAS_FILE
        hashes["cameras"] = file_hash(cameras) if cameras.is_file() else "of the preset"
    return hashes


def tensors_hash(path: Path) -> str:
    """SHA-256 over names, types, shapes and values of a safetensors file.

    Not over its bytes: the order of its metadata differs from one writing to the next.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise FileNotFoundError(f"There is no adapter {path}; train the model first.")
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise DamagedFileError(
            f"{path} is no whole adapter ({error}); delete it and train the model again."
        ) from error
    return content_hash(
        [
            (name, str(tensor.dtype), list(tensor.shape), sha256(tensor.numpy().tobytes()).hexdigest())
            for name, tensor in sorted(tensors.items())
        ]
    )


def build_method(
    kind: str, backbone: Backbone, changes: dict[str, Any], adapter: Path | None = None
) -> Callable:
    """A method `(mesh, prompt, seed, progress=None) -> TextureResult`, its preset changed as configured.

    A baseline called X is the function X(backbone, **changes) of its module. adapter: folder of a tuned
    model; cameras that were learned with it are used instead of the preset's rig.
    """
    module = import_module(METHOD_MODULES[kind])
    if kind == "texgen":
        from texgen.finetune.learned_cameras import load_cameras
        from texgen.presets import get_preset

        cameras = None if adapter is None else load_cameras(adapter)
        return module.TexGen(backbone, get_preset("texgen", **changes), cameras=cameras)
    return getattr(module, kind)(backbone, **changes)


def method_parts(settings: dict[str, Any], device: str, work: Path | None = None) -> dict[str, Any]:
    """What some kinds of methods take besides their preset: the score of psd_like, precomputed files, an
    authors' program and a folder for its work.

    settings: of a texturing job, or its fields score, folder, official and assets.
    """
    if settings.get("score") is not None:
        return {"score": load_metric(settings["score"], device, training=True)}
    if settings.get("folder") is not None:
        return {"folder": settings["folder"], "assets": settings["assets"]}
    if settings.get("official") is not None:
        return {**settings["official"], "work": str(work)}
    return {}


def method_files(settings: dict[str, Any], asset: dict[str, Any]) -> dict[str, str]:
    """Hashes of what `method_parts` leads to: the score's weights in folders, an asset's own GLB, the commit
    of a checkout."""
    blocks = [part for part in (settings.get("score") or {}).values() if isinstance(part, dict)]
    folders = [block["folder"] for block in blocks if block.get("folder") is not None]
    hashes = {f"score {folder}": folder_hash(folder) for folder in folders}
    if settings.get("folder") is not None:
        for path in glb_places(settings["folder"], asset["asset"]):
            if path.is_file():
                hashes["glb"] = file_hash(path)
                break
    if settings.get("official") is not None:
        # By name, so that other methods do not depend on this code.
        health = import_module("baselines.official.health")
        hashes["checkout"] = health.revision(Path(settings["official"]["checkout"]).expanduser())
    return hashes


def load_metric(settings: dict[str, Any], device: str, training: bool = False):
    """A learned score of images, the learned one of a textured mesh (reward3d), or a geometric reward.

    In training a score takes a few images at a time and computes its layers twice, so that its memory grows
    neither with the views nor with its depth; in evaluation it rounds its input to 8 bits, as official
    scorers do. Raises FileNotFoundError when weights are missing and cannot be downloaded.
    """
    kind = METRICS[settings["kind"]]
    metric = getattr(import_module(kind.module), kind.name)
    if kind.is_geometric:
        names = signature(metric).parameters.keys() & settings.keys()
        return metric(**{name: settings[name] for name in names})
    if settings.get("backend") == "official" and not training:
        return official_metric(settings)
    positional, named = metric_arguments(settings)
    with damage_named(" or ".join(str(each) for each in positional if isinstance(each, Path))):
        return metric.load(
            *positional,
            **named,
            device=device,
            eight_bit=not training,
            max_batch=8 if training else 32,
            recompute=training,
            precision="float32" if training else settings.get("precision", "float32"),
        )


def metric_arguments(settings: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """What the loader of a kind of image score takes: folders of weights that are on this machine."""
    folders = scorer_folders(settings)
    tokenizer = {"tokenizer": folders.get("tokenizer")}
    arguments = {
        "aesthetic": lambda: ([folders["clip"], head_file(settings["head"])], {}),
        "clipscore": lambda: ([folders["clip"], settings["prefix"]], {}),
        "imagereward": lambda: ([folders["weights"]], tokenizer),
        "hpsv2": lambda: ([folders["weights"], settings["version"]], tokenizer),
        "pickscore": lambda: ([folders["weights"]], tokenizer),
        "cyclereward": lambda: ([folders["weights"], settings["model"]], tokenizer),
        "ict": lambda: ([folders["weights"], folders["tokenizer"]], {}),
        "hp": lambda: ([folders["weights"], folders["tokenizer"]], {}),
        "reward3d": lambda: ([folders["weights"], settings["variant"]], tokenizer),
    }
    return arguments[settings["kind"]]()


def official_metric(settings: dict[str, Any]):
    """The official package's score on the same weights, in its own environment, without gradient."""
    from rewards.official.client import OfficialScore

    folders = scorer_folders(settings)
    if settings["kind"] == "aesthetic":
        folders["head"] = head_file(settings["head"])
    named = {name: settings[name] for name in ("version", "prefix", "model") if name in settings}
    return OfficialScore(settings["kind"], folders, **named)


def scorer_folders(settings: dict[str, Any]) -> dict[str, Path]:
    """Folders of a score's weights and tokenizer; those of a hub are found, or downloaded and checked."""
    from rewards.checkpoints.sources import wanted
    from rewards.checkpoints.store import fetch

    fields = ("clip", "weights", "tokenizer")
    given = {field: settings[field] for field in fields if settings.get(field) is not None}
    folders = {field: Path(block["folder"]) for field, block in given.items() if block["folder"] is not None}
    return folders | {field: fetch(want) for field, want in wanted(settings).items()}


def head_file(head: dict[str, Any]) -> Path:
    """The file or folder of an aesthetic head; one given by address is downloaded once and checked."""
    if head["path"] is not None:
        return Path(head["path"])
    from rewards.checkpoints.store import verify
    from texgen.mesh_sources import fetch_source
    from workflow.weights import head_places

    for place in head_places(head["url"], head["sha256"]):
        if place.is_file():
            verify(place, head["sha256"])
            return place
    return fetch_source(head["url"], head["sha256"], DOWNLOADS)


def load_prepared(meshes: str | Path, name: str, device: str):
    """(working mesh, prepared geometry) of one mesh of the results folder."""
    from texgen.geometry.prepared import PreparedGeometry
    from texgen.mesh import load_mesh

    folder = Path(meshes) / name
    return load_mesh(folder / "mesh.npz").to(device), PreparedGeometry.load(folder / "geometry.npz")

"""Builds what settings files name: backbones, methods, metrics. Shared by the steps and the command line.

Modules of methods and metrics are imported by name, so that the code a job depends on (see
`workflow.provenance.code_version`) is that of its own method and metric, not of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.plan import ADAPTER_FILE, METHOD_MODULES, METRICS
from workflow.provenance import content_hash, folder_hash

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
    )


def weight_hashes(backbone: dict[str, Any], adapter: Path | None = None) -> dict[str, str]:
    """Hashes of a backbone's weights that lie in folders, and of the adapter file in a folder.

    Hub weights have none: they are told apart by id and revision, which stand in the settings.
    """
    parts = {
        "backbone": backbone,
        **{f"controlnet {role}": part for role, part in backbone["controlnets"].items()},
    }
    hashes = {key: folder_hash(part["folder"]) for key, part in parts.items() if part["folder"] is not None}
    if adapter is not None:
        hashes["adapter"] = tensors_hash(adapter / ADAPTER_FILE)
    return hashes


def tensors_hash(path: Path) -> str:
    """SHA-256 over names, types, shapes and values of a safetensors file.

    Not over its bytes: the order of its metadata differs from one writing to the next.
    """
    from safetensors.torch import load_file

    return content_hash(
        [
            (name, str(tensor.dtype), list(tensor.shape), sha256(tensor.numpy().tobytes()).hexdigest())
            for name, tensor in sorted(load_file(path).items())
        ]
    )


def build_method(kind: str, backbone: Backbone, changes: dict[str, Any]) -> Callable:
    """A method `(mesh, prompt, seed, progress=None) -> TextureResult`, its preset changed as configured.

    A baseline called X is the function X(backbone, **changes) of its module.
    """
    module = import_module(METHOD_MODULES[kind])
    if kind == "texgen":
        from texgen.presets import get_preset

        return module.TexGen(backbone, get_preset("texgen", **changes))
    return getattr(module, kind)(backbone, **changes)


def load_metric(settings: dict[str, Any], device: str, training: bool = False):
    """An image score (aesthetic, clipscore) or a texture reward (alignment).

    In training a score takes a few images at a time, so that its memory does not grow with the views; in
    evaluation it rounds its input to 8 bits, as official scorers do.
    """
    kind = METRICS[settings["kind"]]
    metric = getattr(import_module(kind.module), kind.name)
    if settings["kind"] == "alignment":
        return metric()
    clip = settings["clip"]
    arguments = {
        "aesthetic": lambda: [head_file(settings["head"])],
        "clipscore": lambda: [settings["prefix"]],
    }
    return metric.load(
        clip["folder"] or clip["hub"],
        *arguments[settings["kind"]](),
        device=device,
        revision=clip["revision"],
        eight_bit=not training,
        max_batch=8 if training else None,
    )


def head_file(head: dict[str, Any]) -> Path:
    """The file or folder of an aesthetic head; one given by address is downloaded once and checked."""
    if head["path"] is not None:
        return Path(head["path"])
    from texgen.mesh_sources import fetch_source

    return fetch_source(head["url"], head["sha256"], DOWNLOADS)


def load_prepared(meshes: str | Path, name: str, device: str):
    """(working mesh, prepared geometry) of one mesh of the results folder."""
    from texgen.geometry.uv_frames import PreparedGeometry
    from texgen.mesh import load_mesh

    folder = Path(meshes) / name
    return load_mesh(folder / "mesh.npz").to(device), PreparedGeometry.load(folder / "geometry.npz")

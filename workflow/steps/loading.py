"""Builds what jobs name: backbones, methods, meshes. Shared by the steps and the command line.

Modules that only some jobs run are imported by name, so that the code a job depends on (`Job.modules`) is
that of its own method, not of all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texgen.shipped import located
from texgen.storage.model_files import BACKBONE, CONTROLNET, INPAINTING, ModelFolder
from texgen.storage.result_records import check_adapter, checked_mesh
from workflow.config import custom
from workflow.config.kinds import ADAPTER_FILE, CAMERAS_FILE, METHODS, glb_places
from workflow.provenance import content_hash, file_hash

if TYPE_CHECKING:
    from texgen.diffusion.backbone import Backbone
    from workflow.config.strict import Weights
    from workflow.jobs.jobs import TextureJob


def model_folder(weights: Weights, parts: tuple[ModelFolder, ...]) -> str:
    """Folder of a diffusion model; one of a hub is found on this machine without asking the network, or
    downloaded at its revision."""
    from workflow.weights.diffusion_weights import find_or_download

    if weights.folder is not None:
        return located(weights.folder)
    return str(find_or_download(weights.hub, weights.revision, parts))


def load_backbone(block: Weights, device: str) -> Backbone:
    """The backbone of a job (`workflow.config.inputs.Backbone`), on a device."""
    import torch

    from texgen.diffusion.backbone import Backbone

    return Backbone.load(
        model_folder(block, BACKBONE),
        {role: model_folder(weights, CONTROLNET) for role, weights in block.controlnets.items()},
        device=device,
        dtype=getattr(torch, block.dtype),
        inpainting=None if block.inpainting is None else model_folder(block.inpainting, INPAINTING),
        compiled=block.compiled,
    )


def put_on_adapter(backbone: Backbone, folder: Path, scale: float) -> None:
    """Makes a backbone the tuned model of a folder, for painting only; scale: the adapter's strength."""
    from texgen.diffusion import lora

    check_adapter(folder)
    backbone.load_lora(folder)
    backbone.set_lora_scale(scale)
    lora.merge(backbone.unet)


def adapter_hashes(adapter: Path) -> dict[str, str]:
    """Hashes of the adapter in a folder, and of the cameras that were learned with it."""
    cameras = adapter / CAMERAS_FILE
    return {
        "adapter": tensors_hash(adapter / ADAPTER_FILE),
        "cameras": file_hash(cameras) if cameras.is_file() else "of the preset",
    }


def tensors_hash(path: Path) -> str:
    """SHA-256 over names, types, shapes and values of a safetensors file.

    Not over its bytes: the order of its metadata differs from one writing to the next.
    """
    from texgen.diffusion.lora import adapter_tensors

    if not path.is_file():
        raise FileNotFoundError(f"There is no adapter {path}; train the model first.")
    tensors = adapter_tensors(path, "delete it and train the model again")
    return content_hash(
        [
            (name, str(tensor.dtype), list(tensor.shape), sha256(tensor.numpy().tobytes()).hexdigest())
            for name, tensor in sorted(tensors.items())
        ]
    )


def build_method(
    kind: str,
    backbone: Backbone | None,
    changes: dict[str, Any],
    adapter: Path | None = None,
    file: str | None = None,
) -> Callable:
    """A method `(mesh, prompt, seed, progress=None) -> TextureResult`, its preset changed as configured.

    A method called X is the function X(backbone, **changes) of its module. adapter: folder of a tuned model;
    cameras that were learned with it are used instead of the preset's rig. file: FILE.py:NAME of a custom
    method.
    """
    if file is not None:
        return custom.load(file)(backbone, **changes)
    named = {} if adapter is None else learned_cameras(adapter)
    return getattr(import_module(METHODS[kind].module), kind)(backbone, **changes, **named)


@dataclass(frozen=True)
class Adapters:
    """What is put on a backbone before it paints. tuned: folder of a tuned model. beside: a .safetensors file
    that is added to the backbone under it, with the strength beside_scale."""

    tuned: Path | None = None
    beside: Path | None = None
    beside_scale: float = 1.0


def load_method(
    job: TextureJob, device: str, adapters: Adapters, work: Path | None = None
) -> Callable[..., Callable]:
    """Loads all that a job's method needs; returns build(**changes), which makes the method, with some of its
    settings changed. work: folder for the files of an authors' program."""
    changes = job.preset | method_parts(job, device, work)
    backbone = None
    if job.backbone is not None:
        backbone = load_backbone(job.backbone, device)
        if adapters.beside is not None:
            # By name, so that the workflow's methods do not depend on this code.
            import_module("texgen.diffusion.lora_bake").bake(
                backbone.unet, adapters.beside, adapters.beside_scale
            )
        if adapters.tuned is not None:
            put_on_adapter(backbone, adapters.tuned, job.lora_scale)

    def build(**more: Any) -> Callable:
        return build_method(job.kind, backbone, changes | more, adapters.tuned, job.file)

    return build


def learned_cameras(adapter: Path) -> dict[str, Any]:
    """The argument of the method with the cameras of an adapter, empty where none were learned."""
    # By name, so that untuned methods do not depend on this code.
    cameras = import_module("texgen.finetune.learned_cameras").load_cameras(adapter)
    return {} if cameras is None else {"cameras": cameras}


def method_parts(job: TextureJob, device: str, work: Path | None = None) -> dict[str, Any]:
    """What some kinds of methods take besides their preset: the score of psd_like, precomputed files, an
    authors' program and a folder for its work."""
    if job.score is not None:
        scorers = import_module("workflow.steps.scorers")
        return {"score": scorers.load_metric(job.score, device, training=True)}
    if job.folder is not None:
        return {"folder": job.folder, "assets": job.assets}
    if job.official is not None:
        return {**job.official.model_dump(), "work": str(work)}
    return {}


def asset_files(job: TextureJob, asset: dict[str, Any]) -> dict[str, str]:
    """Hashes of what is read besides weights: an asset's own GLB, the commit of a checkout."""
    hashes = {}
    if job.folder is not None:
        for path in glb_places(job.folder, asset["asset"]):
            if path.is_file():
                hashes["glb"] = file_hash(path)
                break
    if job.official is not None:
        # By name, so that other methods do not depend on this code.
        health = import_module("baselines.official.health")
        hashes["checkout"] = health.revision(Path(job.official.checkout).expanduser())
    return hashes


def load_prepared(meshes: str | Path, name: str, device: str):
    """(working mesh, prepared geometry) of one mesh of the results folder."""
    from texgen.geometry.prepared import PreparedGeometry
    from texgen.mesh.mesh import load_mesh

    folder = Path(meshes) / name
    checked_mesh(Path(meshes), name)
    return load_mesh(folder / "mesh.npz").to(device), PreparedGeometry.load(folder / "geometry.npz")

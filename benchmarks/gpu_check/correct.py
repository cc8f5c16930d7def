"""Does the device compute what the CPU does: textures, fills, predictions, visible faces, gradients."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu_check.models import ROLE, ROOT, torus
from benchmarks.gpu_check.record import psnr
from texgen.backprojection.fill import fill_index
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.guidance import Control
from texgen.errors import PlainError
from texgen.finetune.loss_scale import FIRST, LossScale
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import get_preset
from texgen.painting.views import Derivative
from texgen.render.atlas import build_atlas
from texgen.render.cameras import Cameras, rig_cameras
from texgen.render.rasterize import visible_faces

REFERENCE = Path(__file__).with_name("reference.npz")
MINIATURE = ROOT / "models/miniature/backbone"
SMALL = {"image_size": 128, "render_size": 128, "texture_size": 128, "steps": 4}
LEAST = {"float32": 60.0, "float16": 50.0}
"""PSNR in dB that a texture must have against the CPU's; measured on an H200: 74 and 66."""


def weights_hash() -> str:
    """Of the miniature's UNet, by which a stored reference is known to be of the weights that are here."""
    path = MINIATURE / "unet/diffusion_pytorch_model.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def painted(device: torch.device, dtype: torch.dtype, captured: bool = False) -> torch.Tensor:
    """A texture [3, T, T] of the torus by the shipped miniature, on the CPU."""
    backbone = Backbone.load(MINIATURE, device=device, dtype=dtype)
    if not captured:
        backbone.captured = None
    method = TexGen(backbone, get_preset("texgen", rig="tilted_2view", **SMALL))
    mesh = torus("torus", 48, 24)
    if captured:
        method(mesh, "a red brick torus", 0)
    return method(mesh, "a red brick torus", 0).texture.float().cpu()


def make_reference() -> None:
    """Paint on this machine's CPU and store it beside this file."""
    texture = painted(torch.device("cpu"), torch.float32)
    np.savez_compressed(
        REFERENCE, texture=(texture.numpy() * 65535).round().astype(np.uint16), weights=weights_hash()
    )


def reference() -> tuple[torch.Tensor, str]:
    """The CPU's texture and where it is from; painted now where the stored one is of other weights."""
    if REFERENCE.is_file():
        stored = np.load(REFERENCE)
        if str(stored["weights"]) == weights_hash():
            return torch.from_numpy(stored["texture"].astype(np.float32) / 65535), "stored"
    return painted(torch.device("cpu"), torch.float32), "painted now, because no stored one has these weights"


def textures(device: torch.device) -> dict[str, Any]:
    """The miniature's texture in every precision against the CPU's in float32, captured and not."""
    wanted, source = reference()
    out: dict[str, Any] = {"reference": source, "checks": {}}
    # A CPU, on which the program itself is tried, has no fast float16.
    for name, least in LEAST.items() if device.type == "cuda" else [("float32", LEAST["float32"])]:
        dtype = getattr(torch, name)
        plain = painted(device, dtype)
        out[f"{name}_psnr_db"] = psnr(plain, wanted)
        out["checks"][f"{name} texture within {least:.0f} dB of the CPU's"] = psnr(plain, wanted) >= least
        if device.type == "cuda":
            # Sums by atomic additions differ in their last digits from one painting to the next; capturing
            # must add nothing to that.
            again, captured = painted(device, dtype), painted(device, dtype, captured=True)
            out[f"{name}_repeated_psnr_db"] = repeated = psnr(again, plain)
            out[f"{name}_captured_psnr_db"] = replayed = psnr(captured, plain)
            out["checks"][f"{name} texture with captured predictions as near as a repeated one"] = (
                replayed >= min(repeated, 120.0) - 6.0
            )
    return out


def prediction(backbone: Backbone, side: int) -> dict[str, Any]:
    """A full-size prediction: captured against plain, to the bit; finite; replays counted."""
    arguments = prediction_inputs(backbone, side)
    own, backbone.captured = backbone.captured, None
    with torch.no_grad():
        plain = backbone.predict(*arguments)
        backbone.captured = own
        replays = 0
        if own is not None:
            same = [backbone.predict(*arguments) for _ in range(3)]
            replays = own.replays
    checks = {"finite": bool(plain.isfinite().all())}
    if own is not None:
        checks["captured equals plain to the bit"] = all(torch.equal(plain, each) for each in same)
        checks["was captured"] = replays > 0
    return {"checks": checks}


def prediction_inputs(backbone: Backbone, side: int) -> tuple[Any, ...]:
    """Arguments of `Backbone.predict` at an image side, on the backbone's device, from a fixed seed."""
    generator, device = torch.Generator().manual_seed(0), backbone.device
    small = side // backbone.latent_scale
    latents = torch.randn(1, 4, small, small, generator=generator).to(device)
    control = torch.rand(1, 6, side, side, generator=generator).to(device)
    text = backbone.encode_prompts(["", "a red brick torus"]).float()
    return latents, 481, text, [Control(ROLE, control)], 7.5


def filling(device: torch.device, size: int) -> dict[str, Any]:
    """The device's fill against scipy's: every texel copies a point that is as near."""
    mesh = torus("torus", 48, 24)
    atlas = build_atlas(mesh, size)
    painted_share = (torch.rand(1, size, size, generator=torch.Generator().manual_seed(0)) < 0.02).float()
    known = painted_share * atlas.mask
    on_device = fill_index(known.to(device), atlas.to(device)).cpu()
    on_cpu = fill_index(known, atlas)
    points, chart = atlas.position.reshape(-1, 3), atlas.mask[0] > 0.5
    own = points.reshape(size, size, 3)[chart]
    near = [(points[index[chart]] - own).norm(dim=-1) for index in (on_device, on_cpu)]
    worst = float((near[0] - near[1]).abs().max())
    return {"largest_difference_of_distances": worst, "checks": {"as near as scipy": worst < 1e-5}}


def rasterizers(device: torch.device, size: int) -> dict[str, Any]:
    """Warp on the device against Warp on the CPU, and nvdiffrast against Warp where it is installed."""
    mesh, cameras = torus("torus"), rig_cameras("front_short")
    on_cpu = visible_faces(mesh.vertices, mesh.faces, cameras, size)
    moved = mesh.to(device)
    on_device = visible_faces(moved.vertices, moved.faces, cameras, size).cpu()
    share = float((on_cpu == on_device).float().mean())
    out: dict[str, Any] = {"faces_equal_to_cpu": share, "checks": {"faces as on the CPU": share > 0.9999}}
    try:
        other = visible_faces(moved.vertices, moved.faces, cameras, size, "nvdiffrast").cpu()
    except PlainError as error:
        return out | {"nvdiffrast": str(error).split(";")[0]}
    seen = on_device >= 0
    agree = float((other == on_device)[seen].float().mean())
    out["nvdiffrast_agrees_on_the_object"] = agree
    out["checks"]["nvdiffrast sees the same faces on 97 % of the object"] = agree > 0.97
    return out


def gradients(backbone: Backbone, side: int) -> dict[str, Any]:
    """Gradients of a reward to the adapter in the backbone's precision, with and without a loss scale,
    against float32: cosine, ratio of norms, share that is exactly zero."""
    sizes = {"image_size": side, "render_size": side, "texture_size": side, "steps": 2}
    method = TexGen(backbone, get_preset("texgen", **sizes), cameras=Cameras.orbit([20.0, 80.0], [0.0, 10.0]))
    mesh, own = torus("torus", 48, 24), backbone.dtype

    def gradient(scale: float) -> torch.Tensor:
        from texgen.finetune.gradients import LastK

        for parameter in backbone.lora_parameters():
            parameter.grad = None

        def paint(gradient):
            return method.paint(mesh, "a red brick torus", 0, Derivative(gradient, soft=True))

        for texture, _ in LastK(1).paintings(paint, 0):
            weights = torch.linspace(-1, 1, texture.shape[-1], device=texture.device, dtype=texture.dtype)
            ((texture * weights).mean() * scale).backward()
        return torch.cat([p.grad.flatten().double() for p in backbone.lora_parameters()]) / scale

    found = {f"{str(own)[6:]} x {scale:g}": gradient(scale) for scale in (1.0, FIRST)}
    for module in backbone._modules():
        module.to(dtype=torch.float32)
    backbone.to()
    exact = gradient(1.0)
    for module in backbone._modules():
        module.to(dtype=own)
    for parameter in backbone.lora_parameters():
        parameter.data = parameter.data.float()
    backbone.to()
    out: dict[str, Any] = {"checks": {}}
    for name, each in found.items():
        cosine = float(torch.nn.functional.cosine_similarity(each, exact, dim=0))
        out[name] = {
            "cosine_to_float32": cosine,
            "norm_ratio": float(each.norm() / exact.norm()),
            "zero_share": float((each == 0).double().mean()),
            "finite": bool(each.isfinite().all()),
        }
    # What training does (`texgen.finetune.loss_scale`): 1,024 in float16, nothing in other formats.
    scale = LossScale.of(own).value
    used = out[f"{str(own)[6:]} x {scale:g}"]
    out["checks"][f"gradients with the loss scale of training, {scale:g}, are healthy"] = (
        used["finite"] and used["cosine_to_float32"] > 0.98
    )
    return out

"""A further adapter beside the tuned one: added to the UNet's weights for good, before that one is loaded.

Low-rank adapters add up, so that one which stays (few-step sampling, a style) can be part of the base, and
the one that is trained, scaled and switched off stays the only adapter of the UNet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from torch import Tensor

from texgen.diffusion import lora
from texgen.errors import DamagedFileError, damage_named


def bake(unet: UNet2DConditionModel, file: str | Path, scale: float = 1.0) -> None:
    """Add `scale` times an adapter to the weights of a UNet that has none loaded.

    file: a .safetensors file with the names of diffusers, peft or kohya. Raises ValueError where the UNet has
    an adapter already, FileNotFoundError for a missing file, DamagedFileError for one that cannot be read,
    does not fit the UNet, or changes the text encoder, too.
    """
    if lora.lora_layers(unet):
        raise ValueError("The UNet has an adapter already; add the further one before it.")
    state, strengths = _read(Path(file))
    with torch.random.fork_rng(devices=[]), damage_named(file):
        unet.load_lora_adapter(
            state, prefix="unet", adapter_name=lora.ADAPTER, local_files_only=True, **strengths
        )
    layers = {name for name, _ in lora.lora_layers(unet)}
    odd = sorted(name for name in _layers(state) if name not in layers)
    if odd or not layers:
        if layers:
            unet.unload_lora()
        first = f", first {odd[0]!r}" if odd else ""
        raise DamagedFileError(
            f"{file} has {len(odd)} layers that this UNet lacks{first}; give an adapter for this backbone."
        )
    lora.set_scale(unet, scale)
    lora.merge(unet)
    unet.unload_lora()
    del unet._folded_over  # what `unmerge` would put back; it stays as it is now


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors named as in diffusers, "unet." first, and what tells the strengths of their layers: the alphas
    of kohya's files, the metadata of diffusers'."""
    if not file.is_file():
        raise FileNotFoundError(f"There is no adapter {file}; give a .safetensors file.")
    state = lora.adapter_tensors(file, "put the whole file there again")
    text = [key for key in state if key.startswith(("lora_te", "text_encoder"))]
    if text:
        raise DamagedFileError(
            f"{file} changes the text encoder, too ({len(text)} tensors); give an adapter of the UNet alone."
        )
    with damage_named(file):
        state, alphas, metadata = StableDiffusionLoraLoaderMixin.lora_state_dict(
            str(file.parent), weight_name=file.name, local_files_only=True, return_lora_metadata=True
        )
    strengths = {"network_alphas": alphas} if alphas else {"metadata": _of_unet(metadata)}
    return _of_unet(state), strengths


def _of_unet(named: dict[str, Any] | None) -> dict[str, Any] | None:
    """The same with "unet." before names that lack it, as in files of the UNet alone."""
    if named is None:
        return None
    return {key if key.startswith("unet.") else f"unet.{key}": value for key, value in named.items()}


def _layers(state: dict[str, Tensor]) -> set[str]:
    """The names of the layers that an adapter's tensors belong to, as the UNet has them."""
    found = set()
    for key in state:
        name = key.removeprefix("unet.")
        for ending in (".lora_A.", ".lora.down."):
            if ending in name:
                found.add(name.partition(ending)[0])
    return found

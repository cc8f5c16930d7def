"""Opening the parts of a backbone from a folder or the hub, in the layout of diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from texgen.diffusion.hub_aliases import HUB_ALIASES
from texgen.errors import DamagedFileError, damage_named

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}

PINNED = re.compile(r"(\w[\w.-]*/[\w.-]+)@(.+)")


def open_components(
    source: str | Path,
    controlnets: Mapping[str, str | Path] | None,
    dtype: torch.dtype,
    local_files_only: bool,
    inpainting: str | Path | None,
) -> dict[str, Any]:
    """The arguments of `texgen.diffusion.backbone.Backbone`, on the CPU; `Backbone.load` says what each of
    these means.

    Raises FileNotFoundError when the source is a path that lacks one of the parts, DamagedFileError when one
    of them cannot be read.
    """

    def at(source: str | Path) -> tuple[str, bool, dict[str, Any]]:
        place, revision = pinned(source)
        where, local = resolve_source(place)
        options: dict[str, Any] = {"local_files_only": local_files_only or local}
        return where, local, options if revision is None else {**options, "revision": revision}

    where, local, options = at(source)
    if local:
        _check_layout(Path(where))
    if controlnets is None:
        found = sorted(Path(where).glob("controlnet_*")) if local else ()
        controlnets = {path.name.removeprefix("controlnet_"): path for path in found}
    vae_class = _autoencoder_class(where, options)

    def elsewhere(model_class: type, place: str | Path, part: str | None = None) -> nn.Module:
        where, _, options = at(place)
        return _open(model_class, where, part, torch_dtype=dtype, **options)

    nets = {role: elsewhere(ControlNetModel, place) for role, place in controlnets.items()}
    second = None if inpainting is None else elsewhere(UNet2DConditionModel, inpainting, "unet")
    unet = _open(UNet2DConditionModel, where, "unet", torch_dtype=dtype, **options)
    vae = _open(vae_class, where, "vae", torch_dtype=dtype, **options)
    theirs = {**options, "trust_remote_code": False}
    text_encoder = _open(CLIPTextModel, where, "text_encoder", dtype=dtype, **theirs)
    with damage_named(f"{where}/tokenizer"):
        tokenizer = CLIPTokenizer.from_pretrained(where, subfolder="tokenizer", **theirs)
    with damage_named(f"{where}/scheduler"):
        scheduler = DDIMScheduler.load_config(where, subfolder="scheduler", **options)
    return {
        "unet": unet,
        "controlnets": nets,
        "vae": vae,
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "scheduler_config": scheduler,
        "inpainting": second,
    }


def pinned(source: str | Path) -> tuple[str | Path, str | None]:
    """A source without its revision, and that of "owner/name@revision"; None for a folder and without one."""
    found = None if isinstance(source, Path) or Path(source).is_dir() else PINNED.fullmatch(source)
    return (source, None) if found is None else (found[1], found[2])


def resolve_source(source: str | Path) -> tuple[str, bool]:
    """(folder or hub id to open, whether it is a folder).

    Existing folders win over hub ids. Raises FileNotFoundError for a path that does not exist; "owner/name"
    is taken as a hub id, with moved ids replaced.
    """
    path = Path(source)
    if path.is_dir():
        return str(path), True
    text = str(source)
    looks_like_path = isinstance(source, Path) or path.is_absolute() or text.startswith(".")
    if looks_like_path or text.count("/") != 1:
        raise FileNotFoundError(
            f'There is no model folder {text}; give an existing folder or a hub id like "owner/name".'
        )
    return HUB_ALIASES.get(text, text), False


def _check_layout(folder: Path) -> None:
    for part in PARTS:
        if not (folder / part).is_dir():
            raise FileNotFoundError(
                f"The model folder {folder} has no {part}/; it must be in the diffusers "
                f"layout ({', '.join(PARTS)})."
            )


def _open(model_class: type, where: str, part: str | None = None, **options: Any) -> nn.Module:
    """One network of a folder or hub id. Raises DamagedFileError that names it when it cannot be read, or
    lacks a tensor: the libraries fill that with random numbers and only warn."""
    inside = {} if part is None else {"subfolder": part}
    place = where if part is None else f"{where}/{part}"
    with damage_named(place):
        net, report = model_class.from_pretrained(where, **inside, **options, output_loading_info=True)
    missing = sorted(key for key in report["missing_keys"] if not key.endswith("position_ids"))
    if missing:
        raise DamagedFileError(
            f"{place} lacks {len(missing)} weights, first {missing[0]!r}; put the whole files there again."
        )
    return net


def _autoencoder_class(where: str, options: dict) -> type[AutoencoderKL] | type[AutoencoderTiny]:
    with damage_named(f"{where}/vae"):
        config = AutoencoderKL.load_config(where, subfolder="vae", **options)
        name = config.get("_class_name", "AutoencoderKL")
    if name not in AUTOENCODERS:
        raise ValueError(
            f"The autoencoder of {where} is a {name}; supported are {' and '.join(AUTOENCODERS)}."
        )
    return AUTOENCODERS[name]

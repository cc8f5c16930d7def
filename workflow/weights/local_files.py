"""Where the weights of a configuration's blocks lie on this machine, and which files are read there.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from texgen.shipped import located, of_the_miniature
from workflow.config.file_metrics import FileScore
from workflow.config.inputs import BackboneWeights
from workflow.config.metrics import Head
from workflow.config.strict import Strict, Weights

ENDINGS = (".safetensors", ".pt", ".bin", ".pth")
UPSCALER = "upscaler"
"""The field of a preset that names a file of weights, and its role."""


def backbone_places(backbone: BackboneWeights) -> dict[str, str]:
    """Role -> folder of a backbone's parts; of those in folders, not of a hub's."""
    parts = {
        "backbone": backbone,
        **{f"controlnet {role}": part for role, part in backbone.controlnets.items()},
        **({"inpainting": backbone.inpainting} if backbone.inpainting is not None else {}),
    }
    return {role: located(part.folder) for role, part in parts.items() if part.folder is not None}


def metric_places(block: Strict, name: str) -> dict[str, str]:
    """ "<name> <field>" -> folder or file of everything that a metric loads from this machine."""
    found = {}
    for field, value in block:
        if isinstance(value, Weights) and value.folder is not None:
            found[f"{name} {field}"] = value.folder
        elif isinstance(value, Head) and value.path is not None:
            found[f"{name} {field}"] = value.path
    if isinstance(block, FileScore):
        found |= {f"{name} weights {Path(path).name}": path for path in block.files()}
    return {role: located(place) for role, place in found.items()}


def preset_places(preset: Mapping[str, Any]) -> dict[str, str]:
    """Role -> file of weights that a method's settings name."""
    return {UPSCALER: located(preset[UPSCALER])} if preset.get(UPSCALER) else {}


def any_of_the_miniature(places: dict[str, str]) -> bool:
    """Whether some of the weights are the small ones that come with the code, or that it trains."""
    return any(map(of_the_miniature, places.values()))


def read_in(role: str, place: str) -> list[str]:
    """Files of weights in a place; of a tokenizer all files count.

    A folder without any yields one that it should hold, so that Snakemake names what is missing.
    """
    path, field = Path(place), role.rpartition(" ")[2]
    if path.suffix in ENDINGS or field == UPSCALER:
        return [path.as_posix()]
    every = field == "tokenizer"
    files = sorted(each for each in path.rglob("*") if each.is_file() and (every or each.suffix in ENDINGS))
    wanted = {"tokenizer": "tokenizer_config.json", "head": "head.safetensors"}.get(
        field, "model.safetensors"
    )
    return [each.as_posix() for each in files] or [(path / wanted).as_posix()]

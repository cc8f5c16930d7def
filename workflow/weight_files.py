"""Weight files that a configuration names by folder or path, as inputs of the rules that load them.

Imports no torch.
"""

from __future__ import annotations

from pathlib import Path

from workflow.config_base import Weights
from workflow.config_metrics import Head


def weight_files(weights: Weights) -> list[str]:
    """Weight files of a model in a folder, as inputs of the rules that load it; none for a hub id.

    A folder without weights yields one file that it should hold, so that Snakemake names what is missing.
    """
    if weights.folder is None:
        return []
    folder = Path(weights.folder)
    endings = (".safetensors", ".pt", ".bin")
    files = sorted(path.as_posix() for path in folder.rglob("*") if path.suffix in endings)
    return files or [(folder / "model.safetensors").as_posix()]


def head_files(head: Head) -> list[str]:
    """The file of an aesthetic head, given as the file or as its folder; none for an address."""
    if head.path is None:
        return []
    path = Path(head.path)
    return [(path if path.suffix else path / "head.safetensors").as_posix()]

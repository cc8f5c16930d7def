"""Reading tensors from files, and building a model from them with nothing missing and nothing left over."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """State dict of a safetensors file, or of a pickled checkpoint, read with weights only and onto the CPU.

    A checkpoint that wraps its tensors as {"state_dict": ...} is unwrapped. Raises FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of weights.")
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=_mappable(path))
    return state["state_dict"] if "state_dict" in state else state


def _mappable(path: Path) -> bool:
    """Whether a checkpoint is a zip archive, as torch has written since 1.6, that can be memory mapped."""
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


def without(state: dict[str, Tensor], dropped: Iterable[str]) -> dict[str, Tensor]:
    """A state dict less the keys of an explicit list; keys of the list that are absent do no harm."""
    listed = set(dropped)
    return {key: tensor for key, tensor in state.items() if key not in listed}


def same_tensors(expected: dict[str, Tensor], state: dict[str, Tensor], where: str) -> None:
    """Raises ValueError that names a tensor which is missing, left over or of another shape."""
    both = set(state) & set(expected)
    for problem, keys in (
        ("is missing", set(expected) - set(state)),
        ("is unexpected", set(state) - set(expected)),
        ("has another shape", {key for key in both if state[key].shape != expected[key].shape}),
    ):
        if keys:
            raise ValueError(f"{where}: weight {min(keys)!r} {problem} (and {len(keys) - 1} more).")


def build_model(model_class, config, state: dict[str, Tensor], where: str):
    """A transformers model in float32 with exactly these tensors; ValueError names one that is amiss."""
    with torch.device("meta"):
        expected = model_class._from_config(config).state_dict()
    same_tensors(expected, state, where)
    floats = {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}
    return model_class.from_pretrained(None, config=config, state_dict=floats, dtype=torch.float32)

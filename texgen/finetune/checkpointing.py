"""Resumable state of a training run in one file: adapter weights, optimiser, random state, step, history."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from texgen.errors import PlainError
from texgen.storage.files import atomic_path, read_bytes

FORMAT = 3
# First line of the file; the SHA-256 is that of all bytes behind it, which torch wrote.
_HEAD = re.compile(rb"texreward checkpoint, sha256 ([0-9a-f]{64})\n")


class CheckpointError(PlainError):
    """A checkpoint that cannot be read, or that belongs to another run."""


@dataclass(frozen=True)
class Resumable:
    """Where a run can be taken up again. path: file for its state, outside the outputs of a workflow rule
    (those are deleted when a job is killed). identity: added to what must agree for it to be continued, e.g.
    the reward's version.
    """

    path: Path
    identity: str = ""


@dataclass(frozen=True, eq=False)
class Best:
    """The weights with the highest held-out reward: after which step, its reward, copies of the weights."""

    step: int
    reward: float
    parameters: list[Tensor]


@dataclass(frozen=True)
class Progressed:
    """How far a run is: steps done, the rows of its history, the best weights so far, the loss scale with the
    steps that it has held (`texgen.finetune.loss_scale`)."""

    step: int
    rows: list[dict[str, Any]]
    best: Best | None = None
    scale: tuple[float, int] | None = None


def save_checkpoint(
    path: str | Path,
    progressed: Progressed,
    identity: str,
    parameters: Sequence[Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Writes the state of a run, atomically: a kill leaves the earlier checkpoint whole.

    identity: text that is equal for runs whose steps are equal; checked when resuming.
    """
    best = progressed.best
    state = {
        "format": FORMAT,
        "identity": identity,
        "step": progressed.step,
        "parameters": [parameter.detach().cpu() for parameter in parameters],
        "optimizer": optimizer.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "history": json.dumps(progressed.rows),
        "best": None if best is None else (best.step, best.reward, [each.cpu() for each in best.parameters]),
        "scale": progressed.scale,
    }
    content = BytesIO()
    torch.save(state, content)
    digest = sha256(content.getbuffer()).hexdigest()
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(f"texreward checkpoint, sha256 {digest}\n".encode())
        stream.write(content.getbuffer())
        stream.flush()
        os.fsync(stream.fileno())


def load_checkpoint(
    path: str | Path, identity: str, parameters: Sequence[Parameter], optimizer: torch.optim.Optimizer
) -> Progressed | None:
    """Puts the stored state into parameters, optimiser and random generators; None where there is no
    checkpoint.

    Raises CheckpointError when the file is damaged or was written by a run with another identity.
    """
    try:
        state = _state(Path(path))
    except FileNotFoundError:
        return None
    if state.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version; delete it to start again.")
    if state["identity"] != identity:
        changed = _difference(state["identity"], identity)
        raise CheckpointError(
            f"{path}: written by a run with another {changed}; restore the setting, or delete it."
        )
    stored: list[Tensor] = state["parameters"]
    if [tuple(tensor.shape) for tensor in stored] != [tuple(parameter.shape) for parameter in parameters]:
        raise CheckpointError(f"{path}: holds an adapter of another shape; delete it to start again.")
    with torch.no_grad():
        for parameter, tensor in zip(parameters, stored, strict=True):
            parameter.copy_(tensor)
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    if state["cuda_rng"] and len(state["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda_rng"])
    best = None if state["best"] is None else Best(*state["best"])
    return Progressed(state["step"], json.loads(state["history"]), best, state.get("scale"))


def _state(path: Path) -> dict[str, Any]:
    """The stored state of a file whose content is what was written."""
    data = read_bytes(path)
    head = _HEAD.match(data)
    content = memoryview(data)[head.end() if head else 0 :]
    if head is None or sha256(content).hexdigest().encode() != head[1]:
        reason = "it is empty" if not data else "it was cut off or changed after it was written"
        raise CheckpointError(f"{path}: not a whole checkpoint, {reason}; delete it to start again.")
    return torch.load(BytesIO(content), map_location="cpu", weights_only=True)


def _difference(stored: str, current: str) -> str:
    """Names of the entries in which two identities (JSON objects) differ."""
    old, new = json.loads(stored), json.loads(current)
    return ", ".join(key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key))

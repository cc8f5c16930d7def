"""Adapters that a command names: folders, files, tuned models of a configuration, repositories of the hub.

Imports no torch.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rewards.checkpoints.store import WeightsMissing
from workflow.cli.checks import UsageError, below_root
from workflow.config.configuration import Config
from workflow.config.kinds import ADAPTER_FILE, CAMERAS_FILE

HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)@(?P<revision>[\w./-]+)(:(?P<file>[\w./-]+\.safetensors))?")
HUB_FORM = "owner/name@revision"


@dataclass(frozen=True)
class AdapterLocation:
    """Where an adapter is. folder: holds its file, and cameras that were learned with it. file: the name of
    its .safetensors file. name: for people."""

    folder: Path
    file: str
    name: str

    @property
    def path(self) -> Path:
        """The .safetensors file."""
        return self.folder / self.file


def find_tuned(config: Config, model: str, option: str) -> AdapterLocation:
    """A tuned model: a folder, a name of the configuration that the workflow has trained, or `HUB_FORM`.

    option: what it was given as, for messages. Raises UsageError, WeightsMissing.
    """
    for folder in (Path(model), below_root(config.results) / "models" / model):
        if (folder / ADAPTER_FILE).is_file():
            return AdapterLocation(folder.resolve(), ADAPTER_FILE, model)
    if model in config.models:
        raise UsageError(
            f"The model {model!r} is not trained yet; run `snakemake --cores all "
            f"{config.results}/models/{model}/{ADAPTER_FILE}`."
        )
    found = _of_hub(option, model)
    if found is not None:
        if found.file != ADAPTER_FILE:
            raise UsageError(f"{option} is {model!r}; a tuned model's file is {ADAPTER_FILE}, name no other.")
        return found
    raise UsageError(
        f"There is no model {model!r}; give a folder with {ADAPTER_FILE}, {HUB_FORM} of the hub"
        + (f" or one of {', '.join(config.models)}." if config.models else ".")
    )


def find_beside(given: str) -> AdapterLocation:
    """An adapter to add to the backbone: a .safetensors file, a folder with one, or `HUB_FORM[:FILE]`."""
    path = Path(given)
    if path.is_file() and path.suffix == ".safetensors":
        return AdapterLocation(path.parent.resolve(), path.name, given)
    if path.is_dir():
        files = sorted(each.name for each in path.glob("*.safetensors"))
        if ADAPTER_FILE in files or len(files) == 1:
            return AdapterLocation(path.resolve(), ADAPTER_FILE if ADAPTER_FILE in files else files[0], given)
        raise UsageError(
            f"--adapter is {given!r}, a folder with {len(files)} .safetensors files; name one of them."
        )
    found = _of_hub("--adapter", given)
    if found is None:
        raise UsageError(
            f"--adapter is {given!r}; there is no such file or folder, and one of the hub is written "
            f"{HUB_FORM}, or {HUB_FORM}:FILE.safetensors."
        )
    return found


def _of_hub(option: str, given: str) -> AdapterLocation | None:
    """The adapter of a repository at a revision, downloaded where it is not here yet; None where `given` has
    not the form of one. Raises UsageError without a revision, WeightsMissing where it cannot be had."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", given) and not Path(given).parent.is_dir():
        raise UsageError(
            f"{option} is {given!r}; there is no such folder, and one of the hub needs its revision, as "
            f"{given}@COMMIT, so that it stays the same."
        )
    form = HUB.fullmatch(given)
    if form is None:
        return None
    from huggingface_hub import snapshot_download

    file = form["file"] or ADAPTER_FILE
    try:
        folder = Path(
            snapshot_download(form["id"], revision=form["revision"], allow_patterns=[file, CAMERAS_FILE])
        )
    except Exception as error:  # the hub's client has many ways to say that it was not reached
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsMissing(
            f"{given} cannot be downloaded ({lines[0].rstrip('.')}); connect to the network, or give "
            f"{option} a folder of this machine."
        ) from None
    if not (folder / file).is_file():
        raise WeightsMissing(f"{given} has no {file}; name a file of it as {form['id']}@REVISION:FILE.")
    return AdapterLocation(folder, file, given)

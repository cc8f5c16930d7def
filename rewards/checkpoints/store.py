"""Finds published weights on this machine, downloads what is missing, checks what was downloaded.

A repository's files lie in `<weights>/<organisation>--<name>@<revision>/`, `<weights>` being the environment
variable TEXREWARD_WEIGHTS, else resources/weights; or in the hub's own cache. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from rewards.checkpoints.published_files import NeededFiles, WeightFile
from texgen.storage.files import write_text
from texgen.storage.model_files import SCORER, missing_in
from texgen.storage.plain_text import first_line

PATTERNS = ["*.json", "*.txt", "*.safetensors"]


class WeightsMissing(FileNotFoundError):
    """Weights are not here and cannot be downloaded, or are not what they should be; told in one sentence."""


def weights_root() -> Path:
    """Folder that weights are downloaded into."""
    return Path(os.environ.get("TEXREWARD_WEIGHTS") or "resources/weights")


def own_folder(want: NeededFiles) -> Path:
    """Where the files of a repository lie, or would lie, below the folder of weights."""
    revision = f"@{want.revision[:12]}" if want.revision else ""
    return weights_root() / (want.hub.replace("/", "--") + revision)


def find(want: NeededFiles) -> Path | None:
    """Folder with all the wanted files, ours before the hub's cache; None where some are missing."""
    if not want.files:
        return _find_snapshot(want)
    own = own_folder(want)
    if all((own / file.name).is_file() for file in want.files):
        return own
    from huggingface_hub import try_to_load_from_cache

    cached = [try_to_load_from_cache(want.hub, file.name, revision=want.revision) for file in want.files]
    if all(isinstance(path, str) for path in cached):
        return Path(cached[0]).parent
    return None


def missing(want: NeededFiles) -> list[str]:
    """Names of the wanted files that our folder lacks; of an unlisted repository its configuration."""
    if find(want) is not None:
        return []
    if not want.files:
        return ["config.json and its weights"]
    return [file.name for file in want.files if not (own_folder(want) / file.name).is_file()]


def fetch(want: NeededFiles, say: Callable[[str], None] = lambda text: None) -> Path:
    """Folder with all the wanted files; what is missing is downloaded (an interrupted download continues).

    Raises WeightsMissing when that is not possible, or when a file has another SHA-256 than it should.
    """
    folder = find(want)
    if folder is None:
        folder = _download(want, say)
    for file in want.files:
        if file.sha256 is not None:
            verify(folder / file.name, file.sha256)
    return folder


def _download(want: NeededFiles, say: Callable[[str], None]) -> Path:
    from huggingface_hub import hf_hub_download, snapshot_download

    try:
        if not want.files:
            say(f"downloading {want.hub}")
            return Path(snapshot_download(want.hub, revision=want.revision, allow_patterns=PATTERNS))
        folder = own_folder(want)
        for file in want.files:
            if not (folder / file.name).is_file():
                say(f"downloading {file.name} of {want.hub}")
                hf_hub_download(want.hub, file.name, revision=want.revision, local_dir=folder)
        return folder
    except Exception as error:  # the hub's client has many ways to say that it was not reached
        revision = want.revision or "its default revision"
        raise WeightsMissing(
            f"{want.hub} at {revision} cannot be downloaded ({first_line(error)}); {put_there(want)}"
        ) from error


def put_there(want: NeededFiles) -> str:
    """What to do without a network, as the end of a sentence."""
    return f"connect to the network, or put {', '.join(missing(want))} into {own_folder(want)}."


def _find_snapshot(want: NeededFiles) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(want.hub, "config.json", revision=want.revision)
    folders = [own_folder(want), *([Path(path).parent] if isinstance(path, str) else [])]
    return next((each for each in folders if each.is_dir() and not missing_in(each, SCORER)), None)


def verify(path: Path, sha256: str) -> None:
    """Compares a file with its SHA-256; a file that was found right once is not read again."""
    found = known_hash(path)
    if found != sha256.lower():
        raise WeightsMissing(
            f"{path} has the SHA-256 {found}, not {sha256}; delete it and download it again."
        )


def known_hash(path: Path) -> str:
    """SHA-256 of a file, remembered beside it with size and time of the file."""
    path = Path(path)
    state = path.stat()
    stamp = [state.st_size, state.st_mtime_ns]
    record_path = path.with_name(f".{path.name}.sha256.json")
    try:
        record = json.loads(record_path.read_text())
        if record["stamp"] == stamp:
            return record["sha256"]
    except (OSError, ValueError, KeyError):
        pass
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    try:
        write_text(record_path, json.dumps({"sha256": found, "stamp": stamp}))
    except OSError:
        pass  # a folder of weights may be read-only
    return found


def file_sizes(folder: Path, files: tuple[WeightFile, ...]) -> int:
    """Bytes of those files that are there."""
    return sum((folder / file.name).stat().st_size for file in files if (folder / file.name).is_file())

"""What a result depends on, as hashes; and how results are written so that none is ever half there."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.storage import records
from texgen.storage.files import atomic_path as atomic_path
from texgen.storage.files import read_bytes
from texgen.storage.files import write_text as write_text
from texgen.storage.records import hash_file as file_hash

ROOT = Path(__file__).resolve().parent.parent
# <job>.<digits of its content>.json
SETTINGS_NAME = re.compile(r"\.([0-9a-f]{10})\.json$")
PACKAGES = ("texreward", "torch", "diffusers", "transformers", "peft", "warp-lang", "numpy", "snakemake")


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON-like value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def textures_hash(runs: Iterable[dict[str, Any]]) -> str:
    """Hash of the textures of a method, by their records."""
    return content_hash([(run["asset"], run["status"], run["hash"]) for run in runs])


def place_hash(place: str | Path) -> str:
    """SHA-256 of a file, or of all files in a folder. Raises FileNotFoundError where there is neither."""
    return folder_hash(place) if Path(place).is_dir() else file_hash(place)


def place_hashes(places: dict[str, str]) -> dict[str, str]:
    """The same of several: role -> place to role -> hash; a place that has several roles is read once."""
    known = {place: place_hash(place) for place in dict.fromkeys(places.values())}
    return {role: known[place] for role, place in places.items()}


def folder_hash(folder: str | Path) -> str:
    """SHA-256 over names and bytes of all files below a folder; hidden files are left out."""
    folder = Path(folder)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return content_hash([(path.relative_to(folder).as_posix(), file_hash(path)) for path in files])


LONG_LISTS = ("assets", "validation_assets")
"""Fields of settings that a plan hashes once for many jobs."""


def settings_digest(settings: dict[str, Any], hashes: dict[str, str] | None = None) -> str:
    """The digits in the name of a settings file. hashes: those of its long lists, where they are known."""
    if hashes is None:
        hashes = {name: content_hash(settings[name]) for name in LONG_LISTS if name in settings}
    return content_hash({**settings, **hashes})[:10]


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings of a job.

    A file that the workflow wrote proves by its name that it holds what it was written with. One that was
    made by hand, under a name without such digits, is plain JSON. Raises DamagedFileError.
    """
    named = SETTINGS_NAME.search(Path(path).name)
    if named is None:
        return _plain_object(path)
    settings = records.read_record(path)
    if settings_digest(settings) != named[1]:
        raise DamagedFileError(
            f"{path} holds the settings of another job; delete it and run snakemake again, which writes it."
        )
    return settings


def _plain_object(path: str | Path) -> dict[str, Any]:
    data = read_bytes(path)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); write it again.") from error
    if not isinstance(found, dict) or not found:
        raise DamagedFileError(f"{path} holds no settings; give a JSON object with the fields of the job.")
    found.pop(records.SEAL, None)
    return found


def write_json(path: str | Path, value: dict[str, Any]) -> None:
    """Write a record atomically; see `texgen.storage.records`."""
    records.write_record(path, value)


def read_json(path: str | Path) -> dict[str, Any]:
    """Read a record that `write_json` wrote. Raises DamagedFileError when it was changed since."""
    return records.read_record(path)


def read_record(path: str | Path) -> dict[str, Any] | None:
    """A record that may be missing, or damaged, or be written at this moment: None then."""
    return records.find_record(path)


@cache
def git_revision() -> str | None:
    """Commit of the checkout, with `+` when files differ from it; None outside a checkout or without git."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return None
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions

"""What a result depends on, as hashes; and how results are written so that none is ever half there."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.files import atomic_path as atomic_path
from texgen.files import write_text

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("texreward", "torch", "diffusers", "transformers", "peft", "warp-lang", "numpy", "snakemake")


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON-like value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def textures_hash(runs: Iterable[dict[str, Any]]) -> str:
    """Hash of the textures of a method, by their records."""
    return content_hash([(run["asset"], run["status"], run["hash"]) for run in runs])


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def write_json(path: str | Path, value: Any) -> None:
    """Write a JSON file atomically, indented, keys in the order given."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read a JSON file. Raises DamagedFileError when it is cut off or no JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged ({error}); delete it and run again.") from error


def read_record(path: str | Path) -> dict[str, Any] | None:
    """A record that may be missing, or cut off, or be written at this moment: None then."""
    try:
        found = read_json(path)
    except (OSError, DamagedFileError):
        return None
    return found if isinstance(found, dict) else None


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

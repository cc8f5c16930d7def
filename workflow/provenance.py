"""What a result depends on, as hashes; and how results are written so that none is ever half there."""

from __future__ import annotations

import ast
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
# First-party code whose edits change results. The rest of `workflow` only moves files and strings about.
CODE_PREFIXES = ("texgen", "rewards", "baselines", "report", "workflow.steps")
PACKAGES = ("texreward", "torch", "diffusers", "transformers", "peft", "warp-lang", "numpy", "snakemake")


def content_hash(value: Any) -> str:
    """SHA-256 of a JSON-like value, independent of the order of keys."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def texture_inputs(settings: dict[str, Any]) -> str:
    """Hash of the settings that every texture of a method depends on, of a texturing job's settings file."""
    fields = ("method", "kind", "model", "lora_scale", "preset", "backbone", "score", "folder", "official")
    return content_hash({key: settings.get(key) for key in fields})


def textures_hash(runs: Iterable[dict[str, Any]]) -> str:
    """Hash of the textures of a method, by their records."""
    return content_hash([(run["asset"], run["status"], run["hash"]) for run in runs])


def file_hash(path: str | Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def folder_hash(folder: str | Path) -> str:
    """SHA-256 over names and bytes of all files below a folder; hidden files are left out."""
    folder = Path(folder)
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return content_hash([(path.relative_to(folder).as_posix(), file_hash(path)) for path in files])


def code_version(*modules: str) -> str:
    """Short hash of the source of modules and of every first-party module that they import, directly or not.

    Found by reading the import statements, so nothing is executed and torch is not loaded. Snakemake does not
    see edits of imported modules; as a rule parameter this hash makes it see them.
    """
    found: dict[str, Path] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        path = _module_path(name)
        if path is None or name in found:
            continue
        found[name] = path
        waiting += [other for other in _imports(path, name) if other.startswith(CODE_PREFIXES)]
    missing = [name for name in modules if name not in found]
    if missing:
        raise FileNotFoundError(f"There is no module {missing[0]!r} below {ROOT.name}/.")
    return content_hash([(name, file_hash(found[name])) for name in sorted(found)])[:12]


def _module_path(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


@cache
def _imports(path: Path, name: str) -> frozenset[str]:
    """Dotted names that a module may import, wherever in it: `from a import b` gives both a and a.b."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                kept = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*kept, *([base] if base else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    # A package's own __init__ runs before the module.
    return frozenset(names | {part for each in names | {name} for part in _parents(each)})


def _parents(name: str) -> Iterable[str]:
    parts = name.split(".")
    return (".".join(parts[:i]) for i in range(1, len(parts)))


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

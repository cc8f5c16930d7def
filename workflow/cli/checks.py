"""What the command line checks before anything is loaded: outputs, numbers, inputs. Imports no torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from texgen import shipped
from texgen.errors import PlainError
from texgen.mesh.formats import FORMATS, SOURCES, WRITTEN
from texgen.reading import orientation
from texgen.storage.plain_text import without_passwords

if TYPE_CHECKING:
    from workflow.config.configuration import Config

MOST_TEXELS = 8192


class UsageError(PlainError):
    """A request that cannot be met, told in one sentence."""


def check_output(option: str, given: str, endings: tuple[str, ...], inputs: tuple[Path, ...] = ()) -> Path:
    """The path to write. Raises UsageError where it cannot be written or would overwrite an input."""
    path = Path(given)
    try:
        if path.is_dir():
            raise UsageError(f"{option} is {given!r}, which is a folder; give the name of a file.")
        if path.suffix.lower() not in endings:
            raise UsageError(f"{option} is {given!r}; give a name that ends in {' or '.join(endings)}.")
        for each in inputs:
            if path.exists() and each.exists() and path.samefile(each):
                raise UsageError(f"{option} is {given!r}, which is read; choose another name.")
        folder = path.absolute().parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir():
            raise UsageError(f"{option} is {given!r}, but {folder} is a file, not a folder; choose another.")
        if not os.access(folder, os.W_OK | os.X_OK) or folder.is_relative_to("/proc"):
            raise UsageError(f"{option} is {given!r}, but {folder} cannot be written; choose another.")
        if path.exists() and not os.access(path, os.W_OK):
            raise UsageError(f"{option} is {given!r}, which cannot be written; choose another.")
    except OSError as error:  # e.g. a name that is too long
        raise UsageError(f"{option} is {given[:200]!r} ({error.strerror}); choose another name.") from None
    return path


def check_mesh_output(given: str, inputs: tuple[Path, ...] = ()) -> Path:
    """`check_output` of the textured mesh, with all files that its format consists of."""
    path = check_output("--out", given, WRITTEN, inputs)
    if path.suffix.lower() in (".obj", ".ply"):
        check_output("--out", str(path.with_suffix(".png")), (".png",), inputs)
    if path.suffix.lower() == ".obj":
        check_output("--out", str(path.with_suffix(".mtl")), (".mtl",), inputs)
    return path


def check_number(option: str, value: int | None, low: int, high: int) -> None:
    """Raises UsageError for a number outside of low to high; None is the default and passes."""
    if value is not None and not low <= value <= high:
        raise UsageError(f"{option} is {value}; give a whole number from {low} to {high}.")


def check_threads(value: int | None) -> None:
    """Raises UsageError for an impossible number of CPU threads."""
    check_number("--threads", value, 1, 1024)


def find_mesh(name: str, cache: Path, sha256: str = "") -> Path:
    """File of a mesh given as a path, a folder that holds one, or a source such as pymeshlab:bunny."""
    from texgen.mesh.sources import fetch_source

    try:
        if Path(name).is_file():
            return Path(name)
        if Path(name).is_dir():
            found = sorted(path for path in Path(name).iterdir() if path.suffix.lower() in FORMATS)
            if len(found) == 1:
                return found[0]
            named = ", ".join(path.name for path in found[:8]) or "none"
            raise UsageError(f"{name} is a folder with {len(found)} mesh files ({named}); name one of them.")
    except OSError as error:
        raise UsageError(f"{name[:200]!r} cannot be opened ({error.strerror}); check the path.") from None
    if name.partition(":")[0] not in SOURCES:
        raise UsageError(f"There is no mesh file {without_passwords(name)!r}.")
    return fetch_source(name, sha256, cache)


def below_root(path: str) -> Path:
    """A path of a configuration: from the working directory, else of what comes with the code."""
    place = Path(shipped.located(path))
    return place if place.exists() else shipped.root() / path


def located(block: Any) -> Any:
    """A block of the configuration with folders and paths that can be opened from the working directory."""
    found = {}
    for name, value in block:
        if isinstance(value, BaseModel):
            found[name] = located(value)
        elif isinstance(value, dict) and any(isinstance(part, BaseModel) for part in value.values()):
            found[name] = {key: located(part) for key, part in value.items()}
        elif name in ("folder", "path", "checkout", "python", "file") and isinstance(value, str):
            found[name] = str(below_root(value))
    return block.model_copy(update=found)


def with_sheets(config: Config) -> Config:
    """The same configuration with sheets that can be read from the working directory."""
    meshes = config.meshes.model_copy(update={"table": str(below_root(config.meshes.table))})
    return config.model_copy(update={"meshes": meshes, "prompts": str(below_root(config.prompts))})


def turns(up: str | None, front: str | None, rotate: str | None) -> str:
    """`texgen.reading.orientation.turns` of the options --up, --front and --rotate. Raises UsageError."""
    try:
        return orientation.turns(up, front, rotate)
    except orientation.OrientationError as error:
        raise UsageError(f"--{error.field} {error.reason}") from None


def orientation_line(rotate: str) -> str:
    """What is taken for up and front, for a person to check."""
    return orientation.orientation_line(orientation.rotation_matrix(rotate), "--up, --front and --rotate")

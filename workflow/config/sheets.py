"""The two sheets a user edits, `meshes.tsv` and `prompts.tsv`: reading and row checks.

Every problem is one `ConfigError` sentence that names the file, the row, the column and what is allowed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

from texgen.errors import PlainError
from texgen.mesh.formats import SOURCES, source_forms
from texgen.reading.orientation import OrientationError, turns
from texgen.reading.policies import POLICIES, UvPolicy
from texgen.storage.files import read_bytes
from texgen.storage.plain_text import without_passwords

SPLITS = ("evaluation", "training", "both")
"""both = trained on and evaluated, as some published protocols have it; the tables then say so."""
NAME = re.compile(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*")
# A folder is named mesh--prompt_id--seed, and file systems allow 255 bytes.
LONGEST_NAME = 100
_NAME_RULE = f"letters, digits and single '_' or '-' between them, {LONGEST_NAME} at most"
# Control characters and the line ends that only Unicode knows: they break sheets, logs and tables.
_UNPRINTABLE = ("Cc", "Zl", "Zp")


class ConfigError(PlainError):
    """A mistake in a file that a user edits, told in one sentence."""


@dataclass(frozen=True)
class MeshRow:
    """One row of meshes.tsv."""

    mesh: str  # unique name, used in paths
    source: str  # one of texgen.mesh.formats.SOURCES
    sha256: str  # of the downloaded file; required for https
    rotate: str  # how to turn the input so that +y is up and the front is +z; empty = as it is
    licence: str  # of the mesh, shown in reports
    split: str  # evaluation, training or both
    # These columns may be left out.
    uv: UvPolicy | Literal[""] = ""  # what becomes of its uvs; empty = as the configuration says
    up: str = ""  # axis of the file that points up, and
    front: str = ""  # that its front faces, instead of rotate

    def turns(self) -> str:
        """How the file is turned, in the words of `rotate`. Raises OrientationError."""
        return turns(self.up or None, self.front or None, self.rotate or None)


@dataclass(frozen=True)
class PromptRow:
    """One row of prompts.tsv."""

    prompt_id: str  # unique name, used in paths
    mesh: str  # a mesh name, or * for every mesh of the same split
    prompt: str
    split: str  # evaluation, training or both


SheetRow = TypeVar("SheetRow", MeshRow, PromptRow)


def _read_rows(path: Path, kind: type[SheetRow]) -> list[tuple[int, SheetRow]]:
    """Rows of a tab-separated file with the columns of `kind`, each with its line number.

    Columns that have a default may be left out.
    """
    columns = [field.name for field in fields(kind)]
    needed = [field.name for field in fields(kind) if field.default is MISSING]
    optional = [name for name in columns if name not in needed]
    try:
        # With or without the mark that Windows puts first; read_text would take a lone return for a line end.
        text = read_bytes(path).decode("utf-8-sig")
    except PlainError as error:
        raise ConfigError(str(error)) from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text.") from error
    # Quotes mean nothing, and only line feeds end rows.
    lines = [line.rstrip("\r").split("\t") for line in text.split("\n")]
    if not text.strip():
        raise ConfigError(f"{path}: is empty; its first line must hold the columns {', '.join(needed)}.")
    header = [name.strip() for name in lines[0]]
    unknown = [name for name in header if name not in columns]
    missing = [name for name in needed if name not in header]
    if unknown or missing or len(set(header)) != len(header):
        wrong = (
            f"unknown column {unknown[0]!r}"
            if unknown
            else (f"missing column {missing[0]!r}" if missing else "a column given twice")
        )
        beside = f", and if you like {', '.join(optional)}" if optional else ""
        raise ConfigError(f"{path}: {wrong}; the columns are {', '.join(needed)}{beside}, separated by tabs.")
    rows = []
    for number, cells in enumerate(lines[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(header):
            raise ConfigError(
                f"{path}, row {number}: has {len(cells)} cells, but there are {len(header)} columns; a tab "
                "starts a new cell."
            )
        for column, cell in zip(header, cells, strict=False):
            wrong = next((char for char in cell if unicodedata.category(char) in _UNPRINTABLE), None)
            if wrong is not None:
                raise ConfigError(
                    f"{path}, row {number}, {column}: holds the character U+{ord(wrong):04X}, which cannot "
                    "be printed; remove it."
                )
        cells = [cell.strip() for cell in cells] + [""] * (len(header) - len(cells))
        values: dict[str, Any] = dict(zip(header, cells, strict=True))
        rows.append((number, kind(**values)))
    if not rows:
        raise ConfigError(f"{path}: has no rows below its header.")
    return rows


def _check_name(path: Path, number: int, column: str, value: str, seen: dict[str, int]) -> None:
    if not NAME.fullmatch(value) or len(value) > LONGEST_NAME:
        raise ConfigError(
            f"{path}, row {number}, {column}: {value!r} is not a valid name; allowed are {_NAME_RULE}."
        )
    if value in seen:
        raise ConfigError(
            f"{path}, row {number}, {column}: {value!r} is also in row {seen[value]}; names are unique."
        )
    seen[value] = number


def _check_split(path: Path, number: int, value: str) -> None:
    if value not in SPLITS:
        raise ConfigError(
            f"{path}, row {number}, split: {value!r} is not a split; allowed are {', '.join(SPLITS)}."
        )


def read_meshes(path: str | Path) -> list[MeshRow]:
    """The checked rows of a mesh sheet, in file order. Raises `ConfigError`."""
    path = Path(path)
    rows, seen = _read_rows(path, MeshRow), {}
    for number, row in rows:
        _check_name(path, number, "mesh", row.mesh, seen)
        scheme, _, rest = row.source.partition(":")
        if scheme not in SOURCES or not rest:
            shown = without_passwords(row.source)
            raise ConfigError(
                f"{path}, row {number}, source: {shown!r} is not a source; allowed are {source_forms('and')}."
            )
        if row.sha256 and not re.fullmatch(r"[0-9a-f]{64}", row.sha256):
            raise ConfigError(
                f"{path}, row {number}, sha256: {row.sha256!r} is not a SHA-256 of 64 hexadecimal digits."
            )
        if scheme == "https" and not row.sha256:
            raise ConfigError(f"{path}, row {number}, sha256: is empty; an https source needs its SHA-256.")
        try:
            row.turns()
        except OrientationError as error:
            raise ConfigError(f"{path}, row {number}, {error.field}: {error.reason}") from None
        if row.uv and row.uv not in POLICIES:
            raise ConfigError(
                f"{path}, row {number}, uv: {row.uv!r} is not a policy; allowed are {', '.join(POLICIES)}, "
                "or nothing for the configuration's."
            )
        if not row.licence:
            raise ConfigError(
                f"{path}, row {number}, licence: is empty; write the mesh's licence, or 'none stated'."
            )
        _check_split(path, number, row.split)
    return [row for _, row in rows]


def _named_prompts(path: Path) -> Iterator[tuple[int, PromptRow]]:
    """Rows with their numbers, each checked when it is asked for: the first row that is wrong is named."""
    seen: dict[str, int] = {}
    for number, row in _read_rows(path, PromptRow):
        _check_name(path, number, "prompt_id", row.prompt_id, seen)
        if not row.prompt:
            raise ConfigError(f"{path}, row {number}, prompt: is empty; write what the texture should show.")
        yield number, row


def prompt_rows(path: str | Path) -> list[PromptRow]:
    """The rows of a prompt sheet without its mesh sheet: names and texts are checked, meshes and splits are
    not. Raises `ConfigError`."""
    return [row for _, row in _named_prompts(Path(path))]


def read_prompts(path: str | Path, meshes: list[MeshRow]) -> list[PromptRow]:
    """The checked rows of a prompt sheet, in file order; `meshes` are the rows they may name.

    A prompt that names a mesh must have that mesh's split: nothing is evaluated on what was trained on.
    """
    path = Path(path)
    splits, rows = {row.mesh: row.split for row in meshes}, []
    for number, row in _named_prompts(path):
        _check_split(path, number, row.split)
        if row.mesh != "*" and row.mesh not in splits:
            raise ConfigError(
                f"{path}, row {number}, mesh: {row.mesh!r} is not in the mesh sheet; "
                f"allowed are * and {', '.join(splits)}."
            )
        if row.mesh != "*" and splits[row.mesh] != row.split:
            raise ConfigError(
                f"{path}, row {number}, split: is {row.split}, but {row.mesh!r} is for {splits[row.mesh]}; "
                "the two must agree, so that evaluation stays held out."
            )
        rows.append(row)
    return rows

"""Records that prove themselves: JSON files with the hash of their own text and stamps of the files they
stand for.

A record's first entry is the SHA-256 of all bytes behind it. A stamp holds size, time and SHA-256 of a file:
where size and time are those of the stamp the file is believed, else it is hashed. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.storage.files import atomic_path, read_bytes

SEAL = "content_sha256"
FILES = "files"
AGAIN = "run snakemake again, which makes it again"
_HEAD = re.compile(rb'\{\n  "' + SEAL.encode() + rb'": "([0-9a-f]{64})"(,?)\n')
_SECOND = 1_000_000_000

Stamp = dict[str, Any]


def sealed(value: Mapping[str, Any]) -> bytes:
    """The bytes of a record: JSON, indented, keys in the order given, behind the hash of what follows it."""
    fields = {key: each for key, each in value.items() if key != SEAL}
    text = json.dumps(fields, indent=2, ensure_ascii=False)
    try:
        body = text[2:].encode("utf-8") if fields else b"}"
    except UnicodeEncodeError:  # lone surrogates, e.g. of a file name that is not UTF-8
        body = json.dumps(fields, indent=2)[2:].encode("ascii")
    body += b"\n"
    comma = b"," if fields else b""
    return b'{\n  "%s": "%s"%s\n' % (SEAL.encode(), hashlib.sha256(body).hexdigest().encode(), comma) + body


def write_record(path: Path | str, value: Mapping[str, Any]) -> None:
    """Write a record atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(sealed(value))


def is_sealed(data: bytes) -> bool:
    """Whether bytes are those of a record, unchanged since it was written."""
    head = _HEAD.match(data)
    return head is not None and hashlib.sha256(data[head.end() :]).hexdigest().encode() == head[1]


def is_whole(path: Path | str) -> bool:
    """Whether a file is a record that is unchanged since it was written."""
    try:
        return is_sealed(read_bytes(path))
    except (OSError, DamagedFileError):
        return False


def read_record(path: Path | str, remedy: str = f"delete it and {AGAIN}") -> dict[str, Any]:
    """The fields of a record.

    remedy: end of the sentence. Raises DamagedFileError when the file is not a record or was changed after it
    was written, OSError when it cannot be opened.
    """
    data = read_bytes(path)
    if not is_sealed(data):
        raise DamagedFileError(f"{path} is damaged: {_damage(data)}; {remedy}.")
    value = json.loads(data)
    del value[SEAL]
    return value


def _damage(data: bytes) -> str:
    if not data.strip():
        return "it is empty"
    if not data.strip(b"\0"):
        return "it holds zeros only"
    if _HEAD.match(data):
        return "it was cut off or changed after it was written"
    return "it is not a record with a hash of its content"


def find_record(path: Path | str) -> dict[str, Any] | None:
    """A record that may be missing, damaged or be written at this moment: None then."""
    try:
        return read_record(path)
    except (OSError, DamagedFileError):
        return None


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def stamp(path: Path | str) -> Stamp:
    """Size, time of the last change and SHA-256 of a file."""
    state = os.stat(path)
    return {"bytes": state.st_size, "mtime_ns": state.st_mtime_ns, "sha256": hash_file(path)}


def stamps(folder: Path | str, names: Iterable[str]) -> dict[str, Stamp]:
    """Stamps of files of a folder by name, as records keep them in their field `files`."""
    return {name: stamp(Path(folder) / name) for name in names}


def difference(path: Path | str, expected: Any) -> str | None:
    """How a file differs from its stamp, as the end of a sentence ("is missing"); None where it does not."""
    try:
        size, time, digest = expected["bytes"], expected["mtime_ns"], expected["sha256"]
    except (TypeError, KeyError):
        return "is not in its record"
    try:
        state = os.stat(path)
        if not stat.S_ISREG(state.st_mode):
            return "is a folder" if stat.S_ISDIR(state.st_mode) else "is a pipe or a device"
        if state.st_size != size:
            return f"has {state.st_size} bytes and had {size} when it was written"
        # Archives keep whole seconds only.
        if state.st_mtime_ns in (time, time - time % _SECOND) or hash_file(path) == digest:
            return None
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "was changed after it was written"


def check_files(
    folder: Path | str, record: Mapping[str, Any], names: Iterable[str], remedy: str = AGAIN
) -> None:
    """Raises DamagedFileError unless the named files of a folder are those that a record stands for."""
    for name in names:
        found = difference(Path(folder) / name, (record.get(FILES) or {}).get(name))
        if found is not None:
            raise DamagedFileError(f"{Path(folder) / name} {found}; {remedy}.")

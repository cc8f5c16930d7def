"""Text of mesh files: whatever encoding an editor saved it in, statement by statement."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from texgen.mesh.mesh import MeshError
from texgen.storage import files

# The longer mark first: that of UTF-32 begins like that of UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(content: bytes) -> str:
    """Text by its byte order mark, which is dropped; without one UTF-8, or UTF-16 if every other byte is 0.

    Bytes that are not text in that encoding become U+FFFD: names may be in any encoding, numbers never are.
    """
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding, errors="replace")
    head = content[:200]
    if len(head) >= 4 and b"\0" in head:
        if not any(head[0::2]) and any(head[1::2]):
            return content.decode("utf-16-be", errors="replace")
        if not any(head[1::2]) and any(head[0::2]):
            return content.decode("utf-16-le", errors="replace")
    return content.decode("utf-8", errors="replace")


def read_bytes(path: Path) -> bytes:
    """All of a file. Raises MeshError where it cannot be read."""
    try:
        return files.read_bytes(path)
    except OSError as error:
        raise MeshError(f"{path} cannot be read ({error.strerror}); check its permissions.") from error


def statements(text: str) -> Iterator[tuple[int, str]]:
    """(number of its first line from 1, statement): a backslash at a line's end continues it, a number sign
    begins a comment; empty lines are left out."""
    held, first = "", 0
    for number, line in enumerate(re.sub(r"\r\n?", "\n", text).split("\n"), start=1):
        if not held:
            first = number
        stripped = line.rstrip()
        if stripped.endswith("\\") and "#" not in stripped:
            held += stripped[:-1] + " "
            continue
        whole, held = held + line, ""
        whole = whole.partition("#")[0].strip() if "#" in whole else whole.strip()
        if whole:
            yield first, whole
    if held.strip():
        yield first, held.strip()


def number(word: str) -> float:
    """A number as programs write it, whatever their locale: a decimal comma is read as a point.

    Raises ValueError.
    """
    try:
        return float(word)
    except ValueError:
        if word.count(",") == 1 and "." not in word:
            return float(word.replace(",", "."))
        raise

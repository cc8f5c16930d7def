"""The container of a PLY file: its header, and the values of its elements. Knows nothing of meshes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from texgen.mesh.mesh import MeshError

TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"}
TYPES |= {"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"}
TYPES |= {"int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8"}


@dataclass(frozen=True)
class Property:
    """One property of an element; counts: type of a list's length, None where it is one value."""

    name: str
    kind: str
    counts: str | None


@dataclass(frozen=True)
class Element:
    """One kind of element: its name, how many, its properties in order."""

    name: str
    count: int
    properties: tuple[Property, ...]


def parse_header(path: Path, content: bytes) -> tuple[str, list[Element], int]:
    """(format word, elements, where the data begin). Raises MeshError."""
    end = content.find(b"end_header")
    if not content.startswith(b"ply") or end < 0:
        raise MeshError(f"{path} cannot be read as PLY (its header is incomplete); export the mesh again.")
    line = content.find(b"\n", end)
    body = len(content) if line < 0 else line + 1
    if content[end + 10 : end + 11] == b"\r" and content[end + 11 : end + 12] != b"\n":
        body = end + 11  # lines that end in a lone carriage return
    text = content[:end].decode("utf-8", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    form, elements = "", []
    for line_text in text.split("\n")[1:]:
        words = line_text.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format":
                form = words[1]
            elif words[0] == "element":
                elements.append((words[1], int(words[2]), []))
            elif words[0] == "property" and words[1] == "list":
                elements[-1][2].append(Property(words[4], TYPES[words[3]], TYPES[words[2]]))
            elif words[0] == "property":
                elements[-1][2].append(Property(words[2], TYPES[words[1]], None))
        except (IndexError, KeyError, ValueError):
            raise MeshError(
                f"{path} cannot be read as PLY ('{line_text.strip()[:60]}'); export the mesh again."
            ) from None
    if form not in ("ascii", "binary_little_endian", "binary_big_endian"):
        raise MeshError(f"{path} cannot be read as PLY (format '{form[:30]}'); export the mesh again.")
    return form, [Element(name, count, tuple(found)) for name, count, found in elements], body


class Data:
    """The values of a PLY file, element after element: columns, and for lists (lengths, all values)."""

    def __init__(self, path: Path, form: str, content: bytes, at: int) -> None:
        self.path, self.at = path, at
        self.order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(form)
        self.content = content
        self.numbers: np.ndarray | None = None
        if self.order is None:
            self.numbers = self._parsed(content[at:])
            self.at = 0

    def _parsed(self, content: bytes) -> np.ndarray:
        text = content.decode("ascii", errors="replace")
        if "," in text:
            text = text.replace(",", ".")  # decimal commas of some locales
        words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
        try:
            return np.array(words, dtype=np.float64)
        except ValueError as error:
            raise self.damage(str(error)[:80]) from None

    def damage(self, reason: str) -> MeshError:
        """The error for a file that ends early or lies."""
        return MeshError(f"{self.path} cannot be read as PLY ({reason}); export the mesh again.")

    def read(self, element: Element) -> dict[str, np.ndarray | tuple[np.ndarray, np.ndarray]]:
        """The element's columns [count] by name; a list property is (lengths [count], values [total])."""
        if all(each.counts is None for each in element.properties):
            table = self._table(element)
            return {each.name: table[each.name] for each in element.properties}
        fast = self._even_lists(element)
        return self._row_by_row(element) if fast is None else fast

    def _table(self, element: Element) -> dict[str, np.ndarray]:
        width = len(element.properties)
        if self.order is None:
            values = self.numbers[self.at : self.at + element.count * width]
            if len(values) < element.count * width:
                raise self.damage("it ends early")
            self.at += len(values)
            table = values.reshape(element.count, width)
            return {each.name: table[:, i] for i, each in enumerate(element.properties)}
        kinds = [(f"{i}", self.order + each.kind) for i, each in enumerate(element.properties)]
        kind = np.dtype(kinds)
        found = self._structured(kind, element.count)
        return {each.name: found[f"{i}"].astype(np.float64) for i, each in enumerate(element.properties)}

    def _structured(self, kind: np.dtype, count: int) -> np.ndarray:
        if self.at + kind.itemsize * count > len(self.content):
            raise self.damage("it ends early")
        found = np.frombuffer(self.content, kind, count, self.at)
        self.at += kind.itemsize * count
        return found

    def _even_lists(self, element: Element) -> dict | None:
        """All rows at once where each list is as long as in the first row; else None, and nothing is read."""
        start, lengths = self.at, {}
        if not element.count:
            return None
        first = self._row(element)
        lengths = {each.name: len(first[each.name]) for each in element.properties if each.counts}
        self.at = start
        if self.order is None:
            width = sum(1 + lengths[e.name] if e.counts else 1 for e in element.properties)
            if self.at + width * element.count > len(self.numbers):
                return None
            table = self.numbers[self.at : self.at + width * element.count].reshape(element.count, width)
            found, column = {}, 0
            for each in element.properties:
                if each.counts is None:
                    found[each.name] = table[:, column]
                    column += 1
                    continue
                length = lengths[each.name]
                if not (table[:, column] == length).all():
                    return None
                values = table[:, column + 1 : column + 1 + length].reshape(-1)
                found[each.name] = (table[:, column].astype(np.int64), values)
                column += 1 + length
            self.at += width * element.count
            return found
        kinds = []
        for i, each in enumerate(element.properties):
            if each.counts:
                kinds.append((f"n{i}", self.order + each.counts))
            kinds.append((f"v{i}", self.order + each.kind, (lengths[each.name],) if each.counts else ()))
        kind = np.dtype(kinds)
        if self.at + kind.itemsize * element.count > len(self.content):
            return None
        table = self._structured(kind, element.count)
        found = {}
        for i, each in enumerate(element.properties):
            values = table[f"v{i}"].astype(np.float64)
            if each.counts:
                if not (table[f"n{i}"] == lengths[each.name]).all():
                    self.at = start
                    return None
                found[each.name] = (table[f"n{i}"].astype(np.int64), values.reshape(-1))
            else:
                found[each.name] = values
        return found

    def _row_by_row(self, element: Element) -> dict:
        rows: dict[str, list] = {each.name: [] for each in element.properties}
        for _ in range(element.count):
            for name, value in self._row(element).items():
                rows[name].append(value)
        found = {}
        for each in element.properties:
            values = rows[each.name]
            if each.counts:
                joined = np.concatenate(values) if values else np.zeros(0)
                found[each.name] = (np.array([len(v) for v in values], dtype=np.int64), joined)
            else:
                found[each.name] = np.array(values, dtype=np.float64)
        return found

    def _row(self, element: Element) -> dict:
        row = {}
        for each in element.properties:
            if each.counts:
                length = self._take(each.counts, 1)[0]
                if not 0 <= length <= len(self.content) or length != int(length):
                    raise self.damage("a list has an impossible length")
                row[each.name] = self._take(each.kind, int(length))
            else:
                row[each.name] = float(self._take(each.kind, 1)[0])
        return row

    def _take(self, kind: str, count: int) -> np.ndarray:
        if self.order is None:
            values = self.numbers[self.at : self.at + count]
            self.at += count
            if len(values) < count:
                raise self.damage("it ends early")
            return values
        return self._structured(np.dtype(self.order + kind), count).astype(np.float64)

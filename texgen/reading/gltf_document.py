"""A glTF 2.0 file as its specification says: JSON, buffers, accessors. Knows nothing of meshes."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from texgen.mesh.mesh import MeshError
from texgen.reading.text import decode, read_bytes

COMPONENT_TYPES = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
# What normalised integers are divided by; the smallest signed one is clamped to -1.
DIVISORS = {5120: 127.0, 5121: 255.0, 5122: 32767.0, 5123: 65535.0}


class Document:
    """An open glTF or GLB file. `json` is its JSON; accessors are read when they are asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = read_bytes(path)
        self.binary: bytes | None = None
        if content[:4] == b"glTF":
            content = self._chunks(content)
        elif path.suffix.lower() == ".glb" and not content.lstrip().startswith(b"{"):
            raise MeshError(f"{path} cannot be read as GLB (it does not begin with glTF); export it again.")
        try:
            document = json.loads(decode(content))
        except (ValueError, RecursionError) as error:
            raise MeshError(f"{path} holds damaged JSON ({error}); export the mesh again.") from None
        if not isinstance(document, dict):
            raise MeshError(f"{path} holds no glTF document; export the mesh again.")
        self.json: dict[str, Any] = document
        version = str((document.get("asset") or {}).get("version", "2.0"))
        if not version.startswith("2."):
            raise MeshError(f"{path} is glTF {version}, which is not read; export it as glTF 2.0.")
        self._buffers: dict[int, bytes] = {}

    def _chunks(self, content: bytes) -> bytes:
        """The JSON of a GLB; its binary chunk is remembered."""
        version, total = (int.from_bytes(content[at : at + 4], "little") for at in (4, 8))
        if version != 2:
            raise MeshError(f"{self.path} is GLB version {version}; export it as glTF 2.0.")
        text, at = b"", 12
        while at + 8 <= min(total, len(content)):
            length, kind = int.from_bytes(content[at : at + 4], "little"), content[at + 4 : at + 8]
            chunk = content[at + 8 : at + 8 + length]
            if len(chunk) < length:
                raise MeshError(f"{self.path} is cut off; export the mesh again.")
            if kind == b"JSON" and not text:
                text = chunk
            elif kind == b"BIN\0" and self.binary is None:
                self.binary = chunk
            at += 8 + length + (-length % 4)
        return text

    def items(self, name: str) -> list[dict[str, Any]]:
        """A list of the document such as "nodes"; empty where there is none."""
        found = self.json.get(name) or []
        return [dict(each) for each in found]

    def item(self, name: str, index: int) -> dict[str, Any]:
        """One entry of such a list. Raises MeshError when there is none of that number."""
        found = self.json.get(name) or []
        if not 0 <= index < len(found):
            raise MeshError(
                f"{self.path} names {name}[{index}], of which it holds {len(found)}; export the mesh again."
            )
        return found[index]

    def buffer(self, index: int) -> bytes:
        """The bytes of a buffer: of the file itself, beside it, or in the JSON."""
        if index not in self._buffers:
            record = self.item("buffers", index)
            uri = record.get("uri")
            found = self._of_uri(uri) if uri is not None else self.binary if index == 0 else None
            if found is None:
                raise MeshError(f"{self.path}: buffer {index} has no data; export the mesh again.")
            if len(found) < int(record["byteLength"]):
                raise MeshError(
                    f"{self.path}: buffer {index} has {len(found)} bytes of {record['byteLength']}; export "
                    "the mesh again."
                )
            self._buffers[index] = found
        return self._buffers[index]

    def _of_uri(self, uri: str) -> bytes:
        if uri.startswith("data:"):
            head, _, data = uri.partition(",")
            try:
                return base64.b64decode(data) if head.endswith(";base64") else unquote(data).encode("latin-1")
            except (binascii.Error, ValueError) as error:
                raise MeshError(f"{self.path} holds a damaged data URI ({error}); export it again.") from None
        if len(urlsplit(uri).scheme) > 1:
            raise MeshError(
                f"{self.path} keeps its data at {uri[:120]}, which is not fetched; export it as one GLB."
            )
        # The standard asks for percent-encoding; some exporters write the name as it is.
        for name in dict.fromkeys((unquote(uri), uri)):
            place, folder = self.path.parent / name, self.path.parent.resolve()
            if not place.resolve().is_relative_to(folder):
                raise MeshError(
                    f"{self.path} names a glTF buffer outside its folder ({name[:99]}); put it there."
                )
            if place.is_file():
                return read_bytes(place)
        raise MeshError(
            f"{self.path} needs the file {unquote(uri)} beside it, which is missing; put it there, or export "
            "one GLB."
        )

    def view(self, index: int) -> tuple[bytes, int]:
        """The bytes of a buffer view, and its stride (0 = packed)."""
        record = self.item("bufferViews", index)
        start, length = int(record.get("byteOffset", 0)), int(record["byteLength"])
        content = self.buffer(int(record["buffer"]))
        if start < 0 or length < 0 or start + length > len(content):
            raise MeshError(f"{self.path}: buffer view {index} leaves its buffer; export the mesh again.")
        return content[start : start + length], int(record.get("byteStride", 0))

    def accessor(self, index: int, normalise: bool = True) -> np.ndarray:
        """[count] or [count, components] of an accessor.

        Normalised integers become floats in [-1, 1] or [0, 1], float64 like all floats; other integers become
        int64. Sparse values are put in, and an accessor without a view is zeros, as the specification says.
        """
        record = self.item("accessors", index)
        component, width = int(record["componentType"]), COMPONENTS[record["type"]]
        count = int(record["count"])
        if component not in COMPONENT_TYPES or count < 0:
            raise MeshError(f"{self.path}: accessor {index} is damaged; export the mesh again.")
        if "bufferView" in record:
            at = int(record.get("byteOffset", 0))
            values = self._values(int(record["bufferView"]), at, component, width, count, f"accessor {index}")
        else:
            values = np.zeros((count, width), dtype=COMPONENT_TYPES[component])
        if record.get("sparse"):
            values = self._sparse(record["sparse"], values, component, width, f"accessor {index}")
        if values.dtype.kind == "f":
            found = values.astype(np.float64)
        elif normalise and record.get("normalized"):
            found = np.maximum(values / DIVISORS.get(component, 2.0**32 - 1), -1.0)
        else:
            found = values.astype(np.int64)
        return found[:, 0] if width == 1 else found

    def _values(
        self, view: int, offset: int, component: int, width: int, count: int, what: str
    ) -> np.ndarray:
        content, stride = self.view(view)
        kind = np.dtype(COMPONENT_TYPES[component])
        stride = stride or kind.itemsize * width
        needed = offset + (count - 1) * stride + kind.itemsize * width if count else 0
        if offset < 0 or stride < kind.itemsize * width or needed > len(content):
            raise MeshError(f"{self.path}: {what} leaves its buffer view; export the mesh again.")
        if not count:
            return np.zeros((0, width), dtype=kind)
        return np.ndarray((count, width), kind, content, offset, (stride, kind.itemsize)).copy()

    def _sparse(self, record: dict, values: np.ndarray, component: int, width: int, what: str) -> np.ndarray:
        count, places, changed = int(record["count"]), record["indices"], record["values"]
        view, at = int(places["bufferView"]), int(places.get("byteOffset", 0))
        index = self._values(view, at, int(places["componentType"]), 1, count, what)[:, 0].astype(np.int64)
        if len(index) and (index.max() >= len(values) or index.min() < 0):
            raise MeshError(f"{self.path}: {what} has sparse values beyond its end; export the mesh again.")
        values = values.copy()
        view, at = int(changed["bufferView"]), int(changed.get("byteOffset", 0))
        values[index] = self._values(view, at, component, width, count, what)
        return values

"""Small GLB files with any accessor, mode and extension, written by hand for the readers' tests."""

from __future__ import annotations

import json

import numpy as np

COMPONENTS = {"int8": 5120, "uint8": 5121, "int16": 5122, "uint16": 5123, "uint32": 5125, "float32": 5126}
KINDS = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}


class Writer:
    """Collects accessors; `document` is the JSON to be completed by a test."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.document: dict = {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}

    def view(self, data: bytes, stride: int = 0) -> int:
        """A buffer view of some bytes."""
        self.blob += b"\0" * (-len(self.blob) % 4)
        record = {"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)}
        self.document["bufferViews"].append(record | ({"byteStride": stride} if stride else {}))
        self.blob += data
        return len(self.document["bufferViews"]) - 1

    def accessor(self, array: np.ndarray, normalised: bool = False, padding: int = 0, sparse=None) -> int:
        """An accessor of an array [N] or [N, C]. padding: bytes after each element. sparse: (indices, values)
        that the reader must put in; the array then holds what is there before."""
        array = np.asarray(array)
        table = array.reshape(len(array), -1)
        stride = table.itemsize * table.shape[1] + padding
        data = b"".join(row.tobytes() + b"\xee" * padding for row in table)
        record = {"componentType": COMPONENTS[str(table.dtype)], "type": KINDS[table.shape[1]]}
        record |= {"count": len(table), "bufferView": self.view(data, stride if padding else 0)}
        if normalised:
            record["normalized"] = True
        if sparse is not None:
            indices, values = sparse
            record["sparse"] = {
                "count": len(indices),
                "indices": {
                    "bufferView": self.view(np.asarray(indices, np.uint16).tobytes()),
                    "componentType": 5123,
                },
                "values": {"bufferView": self.view(np.asarray(values, table.dtype).tobytes())},
            }
        self.document["accessors"].append(record)
        return len(self.document["accessors"]) - 1

    def primitive(self, vertices, faces=None, mode: int = 4, **attributes: int) -> dict:
        """A primitive of float positions, with indices where faces are given."""
        found = {"attributes": {"POSITION": self.accessor(np.asarray(vertices, np.float32)), **attributes}}
        if faces is not None:
            found["indices"] = self.accessor(np.asarray(faces).reshape(-1).astype(np.uint16))
        return found | {"mode": mode}

    def scene(self, primitives: list[dict], **node) -> None:
        """One node with one mesh."""
        self.document["meshes"] = [{"name": "shape", "primitives": primitives}]
        self.document["nodes"] = [{"mesh": 0, **node}]
        self.document["scenes"], self.document["scene"] = [{"nodes": [0]}], 0

    def glb(self) -> bytes:
        """The file."""
        document = self.document | {"buffers": [{"byteLength": len(self.blob)}]}
        text = json.dumps(document).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self.blob) + b"\0" * (-len(self.blob) % 4)
        size = 12 + 8 + len(text) + 8 + len(binary)
        head = b"glTF" + (2).to_bytes(4, "little") + size.to_bytes(4, "little")
        chunks = len(text).to_bytes(4, "little") + b"JSON" + text
        return head + chunks + len(binary).to_bytes(4, "little") + b"BIN\0" + binary

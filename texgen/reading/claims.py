"""What the header of a mesh file claims, compared with the bytes that are there, before anything is read.

A file of 200 bytes can claim four thousand million vertices; a reader that believes it fills the memory.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from texgen.mesh.mesh import MeshError
from texgen.reading.text import decode

# A glTF may use its bytes more than once (accessors share views) and may leave out zeros. Genuine files stay
# far below these.
TIMES_ITS_SIZE = 32
ALWAYS_ALLOWED = 64 << 20
# Each part costs a reader some 0.4 ms and 8 kB: these are 8 s and 160 MB.
MOST_PARTS = 20_000
# Corners of polygons that are not convex, of which large ones cost more: some 15 s.
MOST_CUTS = 600_000
_LARGE = 2000
_HEADER_BYTES = 1 << 16
_COMPONENT_BYTES = {5120: 1, 5121: 1, 5122: 2, 5123: 2, 5125: 4, 5126: 4}
_COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}


def refuse_impossible_claims(path: Path) -> None:
    """Raise MeshError when a PLY, STL, GLB or glTF file claims more than it can hold.

    Other formats claim nothing that a reader allocates by.
    """
    kind = path.suffix.lower()
    if kind == ".ply":
        _check_ply(path)
    elif kind == ".stl":
        _check_stl(path)
    elif kind == ".glb":
        _check_gltf(path, _glb_json(path))
    elif kind == ".gltf":
        _check_gltf(path, path.read_bytes())


def refuse_costly_cuts(path: Path, work: float, corners: int, count: int) -> float:
    """Add `count` polygons of so many corners, not convex, to the work of a mesh so far; the new sum.

    Raises MeshError before they are cut when that would take longer than anybody waits.
    """
    work += count * corners * (1 + corners / _LARGE)
    if work > MOST_CUTS:
        raise MeshError(
            f"{path} has so many large polygons that are not convex that cutting them would take minutes; "
            "triangulate the mesh and export it again."
        )
    return work


def _check_ply(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "rb") as file:
        header = file.read(_HEADER_BYTES).partition(b"end_header")[0]
    for name, count in re.findall(rb"^\s*element\s+(\S+)\s+([+-]?\d+)", header, re.MULTILINE):
        if len(count) > 18 or not 0 <= int(count) <= size:  # an element takes a byte at least
            raise MeshError(
                f"{path} claims {_shown(count)} elements '{_shown(name)}' and has {size} bytes; the file is "
                "damaged or cut off, export the mesh again."
            )


def _check_stl(path: Path) -> None:
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(84)
    # Text, also as editors save it: with a mark, or two bytes a letter.
    if len(head) < 84 or decode(head).lstrip().startswith("solid"):
        return
    claimed = int.from_bytes(head[80:], "little")
    if 84 + 50 * claimed > size:
        raise MeshError(
            f"{path} claims {claimed} faces and has {size} bytes; the file is cut off, export the mesh again."
        )


def _glb_json(path: Path) -> bytes:
    """The JSON chunk of a GLB; empty where there is none, which the reader then reports."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(20)
        if len(head) < 20 or head[:4] != b"glTF":
            return b""
        total, length = int.from_bytes(head[8:12], "little"), int.from_bytes(head[12:16], "little")
        if total > size or length > size - 20:
            raise MeshError(
                f"{path} claims {max(total, length + 20)} bytes and has {size}; the file is cut off, export "
                "the mesh again."
            )
        return file.read(length)


def _check_gltf(path: Path, text: bytes) -> None:
    if not text:
        return
    try:
        document = json.loads(text.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError) as error:
        raise MeshError(f"{path} holds damaged JSON ({error}); export the mesh again.") from None
    try:
        lists = {
            name: _records(document, name)
            for name in ("accessors", "bufferViews", "buffers", "meshes", "nodes")
        }
        claims = [
            max(0, int(each["count"])) * _COMPONENT_BYTES[each["componentType"]] * _COMPONENTS[each["type"]]
            for each in lists["accessors"]
        ]
        claims += [max(0, int(each["byteLength"])) for each in lists["bufferViews"]]
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return  # the reader says what is wrong with it
    parts = sum(len(each.get("primitives") or ()) for each in lists["meshes"]) + len(lists["nodes"])
    if parts > MOST_PARTS:
        raise MeshError(
            f"{path} has {parts} primitives and nodes; at most {MOST_PARTS} can be read; join its parts and "
            "export it again."
        )
    size = path.stat().st_size + sum(_external_bytes(path, each.get("uri")) for each in lists["buffers"])
    if sum(claims) > ALWAYS_ALLOWED + TIMES_ITS_SIZE * size:
        raise MeshError(
            f"{path} claims {sum(claims)} bytes of data and has {size}; the file is damaged, export the mesh "
            "again."
        )


def _records(document: dict[str, Any], name: str) -> list[dict[str, Any]]:
    return [dict(each) for each in document.get(name, [])]


def _external_bytes(path: Path, uri: Any) -> int:
    if not isinstance(uri, str) or uri.startswith("data:"):
        return 0
    try:
        return (path.parent / uri).stat().st_size
    except (OSError, ValueError):
        return 0


def _shown(text: bytes) -> str:
    return text[:24].decode("ascii", errors="replace")

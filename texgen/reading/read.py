"""Mesh files to plain arrays, by their ending. Nothing here repairs anything; `mesh_io` does."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path

import numpy as np
import trimesh

from texgen.errors import PlainError
from texgen.mesh.formats import FORMATS
from texgen.mesh.mesh import MeshError
from texgen.mesh.parts import RawMesh
from texgen.reading.claims import refuse_impossible_claims
from texgen.reading.gltf import read_gltf
from texgen.reading.obj import read_obj
from texgen.reading.off import read_off
from texgen.reading.ply import read_ply
from texgen.reading.text import decode, read_bytes

# A scene may show one part many times, so that a small file becomes a huge mesh.
MOST_FACES = 10_000_000
# Where a program has set up no logging, Python prints warnings of libraries: of trimesh a traceback about
# normals that nobody reads. What is wrong with a file is said by what reads it.
logging.getLogger("trimesh").addHandler(logging.NullHandler())


def read_raw(path: Path | str) -> RawMesh:
    """Read a mesh file by its ending. Raises MeshError when it is missing, unreadable or without faces."""
    path = Path(path)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        known = ", ".join(FORMATS.values())
        raise MeshError(
            f"{path} does not end like a mesh format that can be read ({known}); convert it to one."
        )
    try:
        present = path.is_file()
    except OSError as error:  # e.g. a name that is too long
        raise MeshError(f"{str(path)[:200]} cannot be opened ({error.strerror}); check the path.") from error
    if not present:
        raise MeshError(f"There is no mesh file {path}; check the path.")
    if path.stat().st_size == 0:
        raise MeshError(f"{path} is empty; export the mesh again.")
    raw = _by_kind(path, kind)
    if len(raw.faces) == 0:
        if len(raw.vertices):
            raise MeshError(f"{path} holds {len(raw.vertices)} points and no faces; export it as a surface.")
        raise MeshError(f"{path} holds no faces; export the mesh again, with its geometry.")
    if raw.faces.min() < 0 or raw.faces.max() >= len(raw.vertices):
        raise MeshError(f"{path} has a face that names a vertex that does not exist; export the mesh again.")
    if len(raw.faces) > MOST_FACES:
        raise MeshError(f"{path} has more than {MOST_FACES:,} faces; simplify the mesh.")
    return raw


def _by_kind(path: Path, kind: str) -> RawMesh:
    readers = {
        ".obj": read_obj,
        ".off": read_off,
        ".ply": lambda path: read_ply(path, read_bytes(path)),
        ".stl": _read_stl,
    }
    try:
        refuse_impossible_claims(path)
        return readers[kind](path) if kind in readers else read_gltf(path, MOST_FACES)
    except (PlainError, MemoryError):
        raise
    except Exception as error:  # a damaged file makes a reader stumble in ways that nobody listed
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise MeshError(
            f"{path} cannot be read as {FORMATS[kind]} ({reason}); export the mesh again."
        ) from error


def _read_stl(path: Path) -> RawMesh:
    """STL holds triangles and nothing else; trimesh reads its two encodings."""
    content = read_bytes(path)
    if content[:3] == b"\xef\xbb\xbf" or content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        content = decode(content).encode("utf-8")  # text that an editor saved
    scene = trimesh.load_scene(BytesIO(content), file_type="stl", process=False)
    parts = [each for each in scene.geometry.values() if len(getattr(each, "faces", ()))]
    if not parts:
        return RawMesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    found = trimesh.util.concatenate(parts) if len(parts) > 1 else parts[0]
    notes = (f"{len(parts)} solids are merged into one.",) if len(parts) > 1 else ()
    return RawMesh(
        np.asarray(found.vertices, dtype=np.float64), np.asarray(found.faces, dtype=np.int64), notes=notes
    )

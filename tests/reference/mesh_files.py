"""Small valid mesh files of every format, as bytes."""

from __future__ import annotations

import json

import numpy as np
import trimesh

VERTICES = [(x, y, z) for x in (0, 2) for y in (0, 1) for z in (0, 1)]
QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def box() -> trimesh.Trimesh:
    """The box of `VERTICES` as triangles."""
    faces = [face for a, b, c, d in QUADS for face in ((a, b, c), (a, c, d))]
    return trimesh.Trimesh(np.array(VERTICES, dtype=float), faces, process=False)


def obj() -> bytes:
    """Quads with texture coordinates, a relative face and a material."""
    lines = ["mtllib box.mtl", *("v {} {} {}".format(*vertex) for vertex in VERTICES)]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1", "usemtl wood"]
    lines += ["f " + " ".join(f"{v + 1}/{t + 1}" for t, v in enumerate(quad)) for quad in QUADS[:-1]]
    lines += ["f " + " ".join(f"{v - 8}/{t - 4}/" for t, v in enumerate(QUADS[-1]))]
    return "\n".join(lines).encode() + b"\n"


def gltf() -> bytes:
    """One file, its buffer inside."""
    files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(box()), embed_buffers=True)
    return bytes(files["model.gltf"])


def valid_files() -> dict[str, bytes]:
    """File name -> content, one of each format and encoding."""
    files = {
        "box.obj": obj(),
        "ascii.ply": box().export(file_type="ply", encoding="ascii"),
        "binary.ply": box().export(file_type="ply"),
        "box.off": box().export(file_type="off"),
        "ascii.stl": box().export(file_type="stl_ascii"),
        "binary.stl": box().export(file_type="stl"),
        "box.glb": box().export(file_type="glb"),
        "box.gltf": gltf(),
    }
    json.loads(files["box.gltf"])
    return {name: text.encode() if isinstance(text, str) else text for name, text in files.items()}

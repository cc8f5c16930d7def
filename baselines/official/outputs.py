"""What an authors' program leaves: found, checked, carried back into the frame of the mesh it was given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from baselines.precomputed import TexturedPart, boxed, read_parts, surface_gap
from texgen.mesh.export import load_texture_png
from texgen.mesh.mesh import Mesh
from texgen.reading.read import read_raw

TOLERANCE = 0.005
"""Largest distance of the surfaces as a share of the longest side: programs only move and scale the mesh."""


def newest(folder: Path, *patterns: str) -> Path:
    """The file of the first pattern that matches anything, the newest of several.

    Raises FileNotFoundError with a sentence when there is none.
    """
    for pattern in patterns:
        found = sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime)
        if found:
            return found[-1]
    raise FileNotFoundError(f"it ended without an error but wrote no {folder.name}/{patterns[0]}.")


def read_result(path: Path, picture: Path | None, started: float) -> list[TexturedPart]:
    """The textured parts of a result: an OBJ with a picture (its material's when None), or a GLB.

    Raises FileNotFoundError and ValueError, each with a sentence, for missing or older files and for uvs that
    cannot be used.
    """
    for file in (path, picture):
        if file is None:
            continue
        if not file.is_file():
            raise FileNotFoundError(f"it ended without an error but wrote no {file.name}.")
        # File systems round times, some to a second.
        if file.stat().st_mtime < started - 2:
            raise ValueError(
                f"{file.name} is older than this run, so it was taken from a cache of another one; delete "
                "the program's caches and run again."
            )
    if path.suffix == ".glb":
        parts = read_parts(path)
    else:
        raw = read_raw(path)
        if raw.uvs is None or (raw.uv_faces < 0).any():
            raise ValueError(f"{path.name} has faces without uvs, so its texture cannot be placed.")
        picture = picture or picture_of(path)
        pairs, index = np.unique(
            np.stack([raw.faces.ravel(), raw.uv_faces.ravel()], axis=1), axis=0, return_inverse=True
        )
        faces = index.reshape(-1, 3)
        parts = [
            TexturedPart(raw.vertices[pairs[:, 0]], faces, raw.uvs[pairs[:, 1]], load_texture_png(picture))
        ]
    for part in parts:
        check_uvs(part, path.name)
    return parts


def check_uvs(part: TexturedPart, name: str) -> None:
    """Raises ValueError for uvs that are not finite, leave the picture, or cover nothing of it."""
    uvs = part.uvs
    if not np.isfinite(uvs).all():
        raise ValueError(f"{name} has uvs that are not numbers.")
    if uvs.min() < -0.01 or uvs.max() > 1.01:
        raise ValueError(
            f"{name} has uvs from {uvs.min():.2f} to {uvs.max():.2f}, which leave the picture; they are not "
            "those of an atlas."
        )
    a, b, c = (uvs[part.faces[:, corner]] for corner in range(3))
    area = np.abs((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).sum() / 2
    if area < 1e-4:
        raise ValueError(f"{name} has uvs that cover nothing of the picture; unwrapping the mesh has failed.")


def picture_of(path: Path) -> Path:
    """The picture that an OBJ's material names (map_Kd). Raises FileNotFoundError or ValueError."""
    library = next((words[1] for words in statements(path) if words[0] == "mtllib"), None)
    if library is None:
        raise ValueError(f"{path.name} names no material, so its picture is not known.")
    material = path.with_name(library)
    if not material.is_file():
        raise FileNotFoundError(f"it wrote {path.name} but not its material {library}.")
    name = next((words[1] for words in statements(material) if words[0] == "map_Kd"), None)
    if name is None:
        raise ValueError(f"{material.name} names no picture (map_Kd).")
    picture = path.with_name(name)
    if not picture.is_file():
        raise FileNotFoundError(f"it wrote {path.name} but not its picture {name}.")
    return picture


def statements(path: Path) -> list[list[str]]:
    """Keyword and rest of every line of an OBJ or MTL file that has both."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [words for words in (line.strip().split(maxsplit=1) for line in lines) if len(words) == 2]


def back_in_frame(parts: list[TexturedPart], mesh: Mesh) -> list[TexturedPart]:
    """The parts moved and scaled onto the working mesh that the program was given.

    Each program centres and scales by a rule of its own and exports the result. None turns the mesh, so equal
    boxes undo them all. Raises ValueError when the surfaces then differ: a mesh of an older run, or cut.
    """
    target = mesh.vertices.double().cpu().numpy()
    counts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    moved = boxed(np.concatenate([part.vertices for part in parts]), target)
    faces = np.concatenate([part.faces + start for part, start in zip(parts, counts, strict=False)])
    gap = surface_gap(moved, faces, target, mesh.faces.cpu().numpy())
    if gap > TOLERANCE:
        raise ValueError(
            f"the mesh that it wrote is not the one it was given ({gap:.1%} of the longest side apart): it "
            "is turned or mirrored, or comes from a cache of another run."
        )
    return [
        replace(part, vertices=moved[start:end])
        for part, start, end in zip(parts, counts[:-1], counts[1:], strict=True)
    ]

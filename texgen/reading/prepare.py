"""From a mesh file to the working mesh: cleaning, texture coordinates, normalisation.

What cannot be used is refused in one sentence; what was changed or deserves a look comes back as warnings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from texgen.mesh.mesh import Mesh, MeshError, area_weighted_normals
from texgen.mesh.parts import RawMesh
from texgen.reading.normals import corner_normals, face_claims
from texgen.reading.orientation import OrientationError, rotation_matrix
from texgen.reading.policies import POLICIES
from texgen.reading.read import read_raw
from texgen.reading.unwrap import DENSE_FACES, areas, chart_labels, unwrap
from texgen.reading.uv_layout import arrange
from texgen.reading.winding import turned_faces
from texgen.render.atlas import overlapping_share

# Relative to the longest side. Files in float32 repeat a position to about 1e-7 of it.
WELD_DISTANCE = 1e-6
DEGENERATE_AREA = 1e-12
TINY_CHART = 16 / 1024**2  # of the unit square: 16 texels at texture size 1024, one at 256
OVERLAP_NOTED = 0.005
# Within these, areas and volumes of a mesh neither overflow nor vanish.
LARGEST_COORDINATE, SMALLEST_SIDE = 1e30, 1e-30
# Welding lists all pairs of close positions. A mesh has a few per vertex; a heap of them means that one stray
# vertex makes the mesh seem large and everything else close together.
MOST_PAIRS_PER_VERTEX = 200


@dataclass(frozen=True)
class Preparation:
    """A working mesh with what was found on the way. charts: number of uv charts. unwrap_seconds: 0 when the
    file's uvs were kept. kept_uvs: whether they were."""

    mesh: Mesh
    warnings: list[str]
    charts: int
    unwrap_seconds: float
    kept_uvs: bool


def read_mesh(
    path: Path | str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """A cleaned mesh in the file's coordinates: triangles, welded, materials merged, faces without area gone.

    Returns vertices [V, 3] float64, faces [F, 3] int64, uvs [T, 2] float64 or None, uv_faces [F, 3] int64 or
    None (-1 where a corner has no uv). Raises MeshError with one sentence when the mesh cannot be used.
    """
    raw, _ = clean(read_raw(path), path)
    return raw.vertices, raw.faces, raw.uvs, raw.uv_faces


def prepare_mesh(
    path: Path | str,
    name: str,
    uv_policy: str = "auto",
    longest_side: float = 1.6,
    rotate: str = "",
    progress: Callable[[str], None] | None = None,
) -> tuple[Mesh, list[str]]:
    """The working mesh of a file, and warnings. See `prepare` for the arguments."""
    prepared = prepare(path, name, uv_policy, longest_side, rotate, progress)
    return prepared.mesh, prepared.warnings


def prepare(
    path: Path | str,
    name: str,
    uv_policy: str = "auto",
    longest_side: float = 1.6,
    rotate: str = "",
    progress: Callable[[str], None] | None = None,
) -> Preparation:
    """Read, clean, rotate, normalise (box centre to the origin, longest side as given) and map a mesh.

    uv_policy: see `uv_layout.arrange`; uvs that cannot be used are replaced by new ones, with a warning.
    rotate: see `texgen.reading.orientation`. progress: is told what begins, in a few words, where a mesh has
    so many faces that it takes long. Raises MeshError with one sentence when the mesh cannot be used.
    """
    if uv_policy not in POLICIES:
        raise ValueError(f"There is no uv policy {uv_policy!r}; choose one of {', '.join(POLICIES)}.")
    try:
        rotation = rotation_matrix(rotate)
    except OrientationError as error:
        raise MeshError(str(error)) from None
    raw = read_raw(path)
    tell = progress if progress is not None and len(raw.faces) > DENSE_FACES else _quiet
    tell(f"cleaning {len(raw.faces)} faces")
    raw, warnings = clean(raw, path)
    raw = replace(raw, structure=raw.structure.named(name))
    turned = raw.vertices @ rotation.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    centre, scale = (low + high) / 2, longest_side / float((high - low).max())
    vertices = (turned - centre) * scale

    layout = arrange(raw, uv_policy)
    warnings += layout.notes
    kept = layout.uvs is not None
    if kept:
        uvs, uv_faces, seconds = np.clip(layout.uvs, 0, 1), layout.uv_faces, 0.0
    else:
        if layout.problem is not None and raw.uvs is not None:
            warnings.append(f"The uvs {layout.problem}, so the mesh was unwrapped anew.")
        tell(f"unwrapping {len(raw.faces)} faces")
        unwrapping = unwrap(vertices, raw.faces)
        if unwrapping.note is not None:
            warnings.append(unwrapping.note)
        uvs, uv_faces, seconds = unwrapping.uvs, unwrapping.uv_faces, unwrapping.seconds

    working = torch.from_numpy(vertices).float()
    faces = torch.from_numpy(np.ascontiguousarray(raw.faces))
    normals, normal_faces = corner_normals(raw)
    second = {}
    if raw.second_uvs is not None:
        second = {
            "second_uvs": torch.from_numpy(raw.second_uvs).float(),
            "second_faces": torch.from_numpy(np.ascontiguousarray(raw.second_faces)),
        }
    mesh = Mesh(
        name=name,
        vertices=working,
        faces=faces,
        uvs=torch.from_numpy(np.ascontiguousarray(uvs)).float(),
        uv_faces=torch.from_numpy(np.ascontiguousarray(uv_faces)),
        vertex_normals=area_weighted_normals(working, faces),
        centre=torch.from_numpy(centre),
        scale=scale,
        rotation=torch.from_numpy(rotation),
        normals=torch.from_numpy(normals).float(),
        normal_faces=torch.from_numpy(np.ascontiguousarray(normal_faces)),
        part=torch.from_numpy(np.ascontiguousarray(raw.parts())),
        structure=raw.structure,
        **second,
    )
    labels = chart_labels(mesh.uv_faces.numpy())
    warnings += _uv_warnings(mesh, labels, kept)
    return Preparation(mesh, warnings, int(labels.max()) + 1, seconds, kept)


def _quiet(text: str) -> None:
    """A mesh of few faces is ready before anyone could read what begins."""


def clean(raw: RawMesh, path: Path | str) -> tuple[RawMesh, list[str]]:
    """Weld positions, drop faces without area and repeated ones, wind all alike and outwards; with warnings.

    uvs keep their corners, so seams survive the welding. Raises MeshError (naming `path`) when no surface is
    left or a coordinate is not finite.
    """
    used = np.unique(raw.faces)
    if not np.isfinite(raw.vertices[used]).all():
        raise MeshError(
            f"{path} has vertices that are not finite numbers; repair or delete them and export again."
        )
    largest = float(np.abs(raw.vertices[used]).max())
    side = 0.0 if largest > LARGEST_COORDINATE else float(np.ptp(raw.vertices[used], axis=0).max())
    if largest > LARGEST_COORDINATE or 0 < side < SMALLEST_SIDE:
        raise MeshError(
            f"{path} has coordinates that are too large or too close together for arithmetic; export it in "
            "metres or the like."
        )
    faces = np.searchsorted(used, raw.faces)
    vertices, index = _weld(raw.vertices[used], path)
    faces = index[faces]
    repeated = (faces == np.roll(faces, 1, axis=1)).any(axis=1)
    flat = repeated | (areas(vertices, faces) <= DEGENERATE_AREA * side**2)
    if flat.all():
        raise MeshError(f"{path} has no face with an area; export a surface with an extent.")
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    fresh = np.zeros(len(faces), dtype=bool)
    fresh[first] = True
    # A flat face has the vertices of no face with an area, so "first of its kind" never loses one of those.
    kept = ~flat & fresh
    warnings = list(raw.notes)
    if flat.any():
        warnings.append(f"{int(flat.sum())} faces without area were dropped.")
    if (~flat & ~fresh).any():
        warnings.append(f"{int((~flat & ~fresh).sum())} repeated faces were dropped.")
    result = replace(raw, vertices=vertices, faces=faces, notes=()).chosen(kept)
    turn, said = turned_faces(vertices, result.faces, face_claims(result))
    warnings += said
    result = result.turned(turn)
    used, corners = np.unique(result.faces, return_inverse=True)
    result = replace(result, vertices=vertices[used], faces=corners.reshape(-1, 3))
    result = _without_unused(result, "uvs", "uv_faces")
    result = _without_unused(result, "second_uvs", "second_faces")
    crowded = _edge_counts(result.faces) > 2
    if crowded.any():
        warnings.append(f"{int(crowded.sum())} edges have more than two faces (not manifold).")
    return result, warnings


def _weld(vertices: np.ndarray, path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Merge positions closer than `WELD_DISTANCE` of the longest side: (vertices, index of each old one)."""
    distinct, index = np.unique(vertices, axis=0, return_inverse=True)
    index = index.reshape(-1)
    near = WELD_DISTANCE * float(np.ptp(distinct, axis=0).max())
    if not near > 0:
        return distinct, index
    tree = cKDTree(distinct)
    if tree.count_neighbors(tree, near) > MOST_PAIRS_PER_VERTEX * len(distinct):
        raise MeshError(
            f"{path} has almost all its vertices within a millionth of its size; delete the stray vertices "
            "far away."
        )
    pairs = tree.query_pairs(near, output_type="ndarray")
    if not len(pairs):
        return distinct, index
    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(len(distinct),) * 2)
    _, labels = connected_components(graph, directed=False)
    _, first = np.unique(labels, return_index=True)
    return distinct[first], labels[index]


def _without_unused(raw: RawMesh, values: str, faces: str) -> RawMesh:
    """Without the uvs that no corner names; without the whole set where none is named."""
    corners, table = getattr(raw, faces), getattr(raw, values)
    if corners is None:
        return raw
    named = corners >= 0
    if not named.any():
        return replace(raw, **{values: None, faces: None})
    used, fresh = np.unique(corners[named], return_inverse=True)
    result = np.full_like(corners, -1)
    result[named] = fresh
    return replace(raw, **{values: table[used], faces: result})


def _edge_counts(faces: np.ndarray) -> np.ndarray:
    """How many faces each undirected edge has."""
    edges = np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), axis=1)
    return np.unique(edges, axis=0, return_counts=True)[1]


def _uv_warnings(mesh: Mesh, labels: np.ndarray, kept: bool) -> list[str]:
    warnings = []
    chart_areas = np.bincount(labels, weights=areas(mesh.uvs.numpy(), mesh.uv_faces.numpy()))
    tiny = int((chart_areas < TINY_CHART).sum())
    if tiny:
        warnings.append(
            f"{tiny} of {len(chart_areas)} uv charts are smaller than 16 texels of a 1024 texture."
        )
    if kept:
        share = overlapping_share(mesh)
        if share > OVERLAP_NOTED:
            warnings.append(
                f"At least {share:.0%} of the uv area is used by more than one face, as in mirrored layouts; "
                "those faces share their texture (uv unwrap gives each its own)."
            )
    return warnings

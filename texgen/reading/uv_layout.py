"""What becomes of a file's uvs: moved into the unit square, packed part beside part, or given up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from texgen.mesh.parts import RawMesh
from texgen.reading.unwrap import areas, chart_labels, uv_problem
from texgen.render.atlas import faces_at

TOLERANCE = 1e-4
# Share of the uv area of a part at which sharing texels with another part counts.
OVERLAP = 0.005
# More layouts than this beside each other leave each too few texels; the mesh is unwrapped as a whole.
MOST_CELLS = 16
# Between packed layouts, of the texture's side: two texels at 256.
GAP = 2 / 256


@dataclass(frozen=True, eq=False)
class Layout:
    """uvs: [T, 2] float64 in [0, 1] and uv_faces: [F, 3], both None where the mesh is to be unwrapped.
    problem: why it is, in words that follow "the uvs", or None. notes: what was done, one sentence each."""

    uvs: np.ndarray | None
    uv_faces: np.ndarray | None
    problem: str | None
    notes: tuple[str, ...] = ()


def arrange(raw: RawMesh, policy: str) -> Layout:
    """The layout of a cleaned mesh by a policy.

    "keep": the file's uvs, moved by whole tiles where they lie in others, and overlap is left. "pack": the
    layouts of the parts beside each other, at equal scale. "auto": as keep, but parts that share texels are
    packed, or unwrapped where there are more than `MOST_CELLS`. "unwrap": none of them.
    """
    if policy == "unwrap":
        return Layout(None, None, None)
    problem = uv_problem(raw.uvs, raw.uv_faces, areas(raw.vertices, raw.faces))
    if problem is not None:
        return Layout(None, None, problem)
    uvs, uv_faces, tile, problem, notes = _into_tiles(raw.uvs, raw.uv_faces)
    if problem is not None:
        return Layout(None, None, problem)
    group = np.unique(np.stack((raw.parts(), tile), axis=1), axis=0, return_inverse=True)[1].reshape(-1)
    count = int(group.max()) + 1
    if count == 1 or policy == "keep":
        return Layout(uvs, uv_faces, None, tuple(notes))
    cells = np.arange(count) if policy == "pack" else _cells(uvs, uv_faces, group, count)
    number = int(cells.max()) + 1
    if number == 1:
        return Layout(uvs, uv_faces, None, tuple(notes))
    if number > MOST_CELLS and policy == "auto":
        reason = f"of {count} parts share the unit square, too many to be packed"
        return Layout(None, None, reason, tuple(notes))
    notes.append(
        f"The uvs of {count} parts share the unit square; they were packed beside each other as {number} "
        "layouts (uv keep leaves them as they are, uv unwrap makes new ones)."
    )
    uvs, uv_faces = _packed(uvs, uv_faces, cells[group], number)
    return Layout(uvs, uv_faces, None, tuple(notes))


def _into_tiles(
    uvs: np.ndarray, uv_faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, str | None, list[str]]:
    """(uvs, uv_faces, tile of each face [F], problem, notes): every chart in the unit square."""
    used = uvs[np.unique(uv_faces)]
    low, high = used.min(axis=0), used.max(axis=0)
    one_tile = np.zeros(len(uv_faces), dtype=np.int64)
    if (low >= -TOLERANCE).all() and (high <= 1 + TOLERANCE).all():
        return uvs, uv_faces, one_tile, None, []
    span = f"u from {low[0]:.3g} to {high[0]:.3g}, v from {low[1]:.3g} to {high[1]:.3g}"
    label = chart_labels(uv_faces)
    charts = int(label.max()) + 1
    least, most = np.full((charts, 2), np.inf), np.full((charts, 2), -np.inf)
    for corner in range(3):
        np.minimum.at(least, label, uvs[uv_faces[:, corner]])
        np.maximum.at(most, label, uvs[uv_faces[:, corner]])
    tile = np.floor(least + TOLERANCE)
    if (most - tile <= 1 + TOLERANCE).all():
        # Corners belong to one chart each, so that a chart moves as a whole.
        move = np.zeros_like(uvs)
        move[uv_faces.reshape(-1)] = np.repeat(tile[label], 3, axis=0)
        number = np.unique(tile[label], axis=0, return_inverse=True)[1].reshape(-1)
        tiles = int(number.max()) + 1
        where = "another tile" if tiles == 1 else f"{tiles} tiles"
        note = f"The uvs lie in {where} ({span}); they were moved by whole tiles."
        return uvs - move, uv_faces, number, None, [note]
    if (high - low <= 1 + TOLERANCE).all():
        return uvs - low, uv_faces, one_tile, None, [f"The uvs lie across tiles ({span}); moved into one."]
    return uvs, uv_faces, one_tile, f"repeat over several tiles ({span})", []


def _cells(uvs: np.ndarray, uv_faces: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """[count]: which layouts can share a square; each goes to the first cell where it covers nobody."""
    if not shared_share(uvs, uv_faces, group) > OVERLAP:
        return np.zeros(count, dtype=np.int64)
    if count > MOST_CELLS**2:
        return np.arange(count)
    cells = np.zeros(count, dtype=np.int64)
    members: list[list[int]] = []
    for each in range(count):
        number = _free_cell(uvs, uv_faces, group, members, each)
        if number == len(members):
            members.append([])
        if number >= MOST_CELLS:
            return np.arange(count)  # too many; the caller gives the layouts up
        members[number].append(each)
        cells[each] = number
    return cells


def _free_cell(
    uvs: np.ndarray, uv_faces: np.ndarray, group: np.ndarray, members: list[list[int]], each: int
) -> int:
    """The first cell whose members share no texels with a group; their number when none is free."""
    for number, present in enumerate(members):
        faces = np.isin(group, [*present, each])
        if shared_share(uvs, uv_faces[faces], (group == each)[faces].astype(np.int64)) <= OVERLAP:
            return number
    return len(members)


def shared_share(uvs: np.ndarray, uv_faces: np.ndarray, group: np.ndarray) -> float:
    """The greatest share of a group's uv area, in [0, 1], that faces of other groups cover: a lower bound.

    group: [F] number of each face. Points inside each face are looked up; where another group's face is found
    on top, the place is shared.
    """
    points = np.array([[1 / 3, 1 / 3, 1 / 3], [0.6, 0.2, 0.2], [0.2, 0.6, 0.2], [0.2, 0.2, 0.6]])
    corners = uvs[uv_faces]
    area = areas(uvs, uv_faces)
    used = np.flatnonzero(area > 1e-14)
    if not len(used) or len(np.unique(group)) < 2:
        return 0.0
    samples = np.einsum("pk,fkc->pfc", points, corners[used])
    flat, places = (torch.from_numpy(np.ascontiguousarray(x)).float() for x in (uvs, samples.reshape(-1, 2)))
    found = faces_at(flat, torch.from_numpy(np.ascontiguousarray(uv_faces)), places)[0]
    found = found.numpy().reshape(len(points), -1)
    other = ((found >= 0) & (group[found] != group[used])).mean(axis=0) * area[used]
    # Of two layouts on each other one is always on top: what it hides is lost for the other one only.
    total = np.bincount(group[used], weights=area[used])
    return float((np.bincount(group[used], weights=other) / np.maximum(total, 1e-300)).max())


def _packed(
    uvs: np.ndarray, uv_faces: np.ndarray, cell: np.ndarray, number: int
) -> tuple[np.ndarray, np.ndarray]:
    """The layouts in a grid of squares, `cell` [F] by rows from below; corners of two cells are doubled."""
    columns = int(np.ceil(np.sqrt(number)))
    corners = np.stack((uv_faces.reshape(-1), np.repeat(cell, 3)), axis=1)
    pairs, index = np.unique(corners, axis=0, return_inverse=True)
    place = np.stack((pairs[:, 1] % columns, pairs[:, 1] // columns), axis=1)
    gap = GAP * columns / 2
    moved = (place + gap + np.clip(uvs[pairs[:, 0]], 0, 1) * (1 - 2 * gap)) / columns
    return moved, index.reshape(-1, 3)

"""Which meshes were textured, on which uvs, and how much of each layout overlaps."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from report.table.blocks import Block, Text
from report.table.numbers import ABSENT

OVERLAP_NOTED = 0.005


def meshes_block(folder: Path, meshes: Iterable[str]) -> Block | None:
    """A row per mesh from the records that `prepare_mesh` wrote; None where there are none.

    folder: results/meshes. All methods of a run share a mesh's uvs, whatever their own programs would do.
    """
    records = {}
    for name in meshes:
        path = folder / name / "mesh.json"
        if path.is_file():
            records[name] = json.loads(path.read_text(encoding="utf-8"))
    if not records:
        return None
    rows = [
        [
            Text(name),
            Text(str(record.get("faces", ABSENT))),
            Text({True: "the file's", False: "unwrapped"}.get(record.get("kept_uvs"), ABSENT)),
            Text(str(record.get("charts", ABSENT))),
            Text(_share(record.get("texture_coverage"))),
            Text(_share(record.get("uv_overlap"))),
        ]
        for name, record in records.items()
    ]
    notes = [
        "All methods texture a mesh on the same uvs, also those whose programs unwrap every mesh anew "
        "(Text2Tex, SyncMVD). Overlap: least share of the uv area whose texels belong to more than one face; "
        "there one colour serves two places of the surface, whichever method paints."
    ]
    stacked = [name for name, record in records.items() if (record.get("uv_overlap") or 0) > OVERLAP_NOTED]
    if stacked:
        notes.append(
            f"Overlapping uvs: {', '.join(stacked)}; `meshes: {{uv: unwrap}}` gives every mesh new ones."
        )
    header = ["Mesh", "Faces", "Uvs", "Charts", "Texels used", "Overlap"]
    return Block("Meshes and their uvs", header, rows, notes)


def _share(value: float | None) -> str:
    return ABSENT if value is None else f"{100 * value:.1f} %"

"""Measure coverage, seams, background and consistency of every texture: one row per asset and measure."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from report.columns import SCORE_COLUMNS
from texgen.storage.result_records import check_run, checked_mesh, read_run, write_score_record
from workflow import provenance
from workflow.config.kinds import METHODS
from workflow.runtime.step_errors import run_step


def background_of(run: dict[str, Any]) -> tuple[float, ...] | None:
    """The colour behind the views of a run, by its record; None where it is not one, or not known."""
    facts = METHODS[run["kind"]].load_facts()
    if facts is None:
        return None
    preset, own = facts.resolved(run["preset"])
    return None if getattr(own, "random_background", False) else preset.background


def measure(settings: dict[str, Any], results: Path) -> list[dict[str, Any]]:
    """All rows, mesh by mesh, so that each mesh is rasterised once; assets whose run failed have none."""
    from report import quality
    from texgen.mesh.export import load_texture_png
    from texgen.mesh.mesh import load_mesh
    from texgen.render.atlas import build_atlas

    rows = []
    surfaces: dict[tuple[str, int], quality.MeasuredSurface] = {}
    for asset in sorted(settings["assets"], key=lambda each: each["mesh"]):
        checked_mesh(results / "meshes", asset["mesh"])
        mesh = load_mesh(results / "meshes" / asset["mesh"] / "mesh.npz")
        for method in settings["methods"]:
            folder = results / "textures" / method / asset["asset"]
            run = read_run(folder.parent, asset["asset"])
            if run["status"] != "ok":
                continue
            check_run(folder.parent, run)
            texture = load_texture_png(folder / "texture.png")
            key = (asset["mesh"], texture.shape[-1])
            if key not in surfaces:
                atlas = build_atlas(mesh, key[1])
                surfaces = {key: quality.prepare_surface(mesh, atlas, settings["evaluation"]["rig"])}
            painted = load_texture_png(folder / "painted.png")[:1]
            seen = quality.MeasuredTexture(texture, painted, surfaces[key], background_of(run))
            measures = {name: each.of(seen) for name, each in quality.MEASURES.items()}
            whole = {"view": "texture", "azimuth": "", "elevation": "", "background": ""}
            rows += [
                {"metric": name, "method": method, **asset, **whole, "score": repr(value)}
                for name, value in measures.items()
                if value is not None
            ]
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the table")
    parser.add_argument("--results", type=Path, required=True, help="folder with meshes/ and textures/")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    from report import quality

    rows = measure(provenance.read_settings(options.settings), options.results)
    with provenance.atomic_path(options.out) as path, open(path, "w", newline="", encoding="utf-8") as stream:
        columns = ("metric", "method", *SCORE_COLUMNS)
        writer = csv.DictWriter(
            stream, columns, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        )
        writer.writeheader()
        writer.writerows(rows)
    # The table shows these columns, without loading what measures them.
    columns = [(name, *measure[:3]) for name, measure in quality.MEASURES.items()]
    write_score_record(options.out, {"rows": len(rows), "columns": columns})
    print(f"{options.out}: {len(rows)} measurements")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

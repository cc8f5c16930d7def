"""The gallery: every texture of a run in one HTML file that works offline."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from report.escaping import script_json
from report.gallery.embedded import FRAME_SIZE, FRAMES, Turntable, gltf_geometry, texture_image
from report.pages import template
from report.results import Results

VIEWER = Path(__file__).parents[1] / "vendor" / "model-viewer.min.js"


def gallery_page(results: Results) -> str:
    """The whole page: turntables, scores, filters, and two linked 3D viewers of a maintained library."""
    return template("gallery.html.j2").render(
        title=results.settings["title"],
        note=results.settings["note"],
        data=script_json(gallery_data(results)),
        viewer=VIEWER.read_text(encoding="utf-8").replace("</script", "<\\/script"),
        frames=FRAMES,
        size=FRAME_SIZE,
    )


def gallery_data(results: Results) -> dict[str, Any]:
    """Everything the page shows, as plain JSON; pictures and geometry are data: addresses."""
    metrics = {
        name: {**{key: facts[key] for key in ("label", "decimals")}, "up": facts["higher_is_better"]}
        for name, facts in results.metrics.items()
    }
    entries: list[dict[str, Any]] = []
    geometry: dict[str, Any] = {}
    # Mesh by mesh, so that one turntable's geometry is in memory at a time.
    for asset in sorted(results.assets, key=lambda each: each["mesh"]):
        name, mesh_name = asset["asset"], asset["mesh"]
        if mesh_name not in geometry:
            mesh = results.mesh(mesh_name)
            geometry[mesh_name] = gltf_geometry(mesh)
            turntable = Turntable(mesh)
        for method in results.methods:
            entry: dict[str, Any] = {"method": method, "asset": name}
            run = results.runs.get((method, name))
            if not results.done(method, name):
                entry["failed"] = str((run or {}).get("reason") or "not run")
            else:
                texture = results.texture(method, name)
                entry |= {"strip": turntable.strip(texture), "texture": texture_image(texture)}
                entry["scores"] = {
                    metric: value
                    for metric in results.metrics
                    if not math.isnan(value := results.asset_score(method, metric, name))
                }
            entries.append(entry)
    return {
        "methods": results.methods,
        "reference": results.reference,
        "trained_on": results.settings["trained_on"],
        "metrics": metrics,
        "assets": {asset["asset"]: asset for asset in results.assets},
        "licences": {mesh: facts["licence"] for mesh, facts in results.settings["meshes"].items()},
        "entries": entries,
        "geometry": geometry,
    }

"""Draw results/overview.png: one lit view of every texture, a row per asset and a column per method."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from texgen.storage.result_records import check_run, checked_mesh, read_run
from workflow import provenance
from workflow.runtime.step_errors import run_step


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the table")
    parser.add_argument("--results", type=Path, required=True, help="folder with meshes/ and textures/")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    parser.add_argument("--azimuth", type=float, default=30.0, help="degrees")
    parser.add_argument("--elevation", type=float, default=20.0, help="degrees, positive is above")
    parser.add_argument("--size", type=int, default=192, help="pixels per picture")
    options = parser.parse_args(arguments)

    from report.figures.contact_sheet import contact_sheet
    from report.pictures import MeshPictures
    from texgen.mesh.export import load_texture_png
    from texgen.mesh.mesh import load_mesh

    settings = provenance.read_settings(options.settings)
    rows, labels = [], []
    for asset in settings["assets"]:
        checked_mesh(options.results / "meshes", asset["mesh"])
        mesh = load_mesh(options.results / "meshes" / asset["mesh"] / "mesh.npz")
        look = MeshPictures(mesh, options.azimuth, options.elevation, options.size)
        row = []
        for method in settings["methods"]:
            path = options.results / "textures" / method / asset["asset"] / "texture.png"
            run = read_run(path.parent.parent, asset["asset"])
            check_run(path.parent.parent, run, ["texture.png"])
            row.append(look(load_texture_png(path))[0] if run["status"] == "ok" else None)
        rows.append(row)
        labels.append(asset["prompt"])
    contact_sheet(rows, labels, list(settings["methods"].values()), options.out)
    print(f"{options.out}: {len(rows)} assets, {len(settings['methods'])} methods")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

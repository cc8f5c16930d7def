"""Save the renders that scores are computed from, of one method, as PNG files with a list of them."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from report.columns import SCORE_COLUMNS
from texgen.storage.result_records import check_run, read_run, write_score_record
from workflow import provenance
from workflow.jobs.jobs import Protocol
from workflow.runtime.devices import pick_device
from workflow.runtime.locking import work_alone
from workflow.runtime.step_errors import run_step

# What a score says of a view, and the file instead of the score.
COLUMNS = (*SCORE_COLUMNS[:-1], "file")


def save(settings: dict[str, Any], meshes: Path, textures: Path, out: Path) -> list[dict[str, Any]]:
    """Write the pictures of all finished assets; returns the rows of the list."""
    import torch

    from rewards.base import Textured
    from texgen.mesh.export import load_texture_png, save_image
    from texgen.render.cameras import rig_cameras
    from workflow.steps.loading import load_prepared
    from workflow.steps.renders import Renders

    facts = settings["evaluation"]
    protocol = Protocol(**{name: facts[name] for name in Protocol.model_fields})
    cameras = rig_cameras(protocol.rig)
    device, renders, rows = pick_device(), Renders(limit=0), []
    for asset in sorted(settings["assets"], key=lambda each: each["mesh"]):
        folder = textures / asset["asset"]
        run = read_run(textures, asset["asset"])
        if run["status"] != "ok":
            continue
        check_run(textures, run, ["texture.png"])
        mesh, geometry = load_prepared(meshes, asset["mesh"], device)
        texture = load_texture_png(folder / "texture.png").to(device)
        textured = Textured(mesh, texture, torch.ones_like(texture[:1]), asset["prompt"], geometry)
        with torch.no_grad():
            pictures = renders.of(textured, asset["asset"], protocol)
        for background, images in pictures.items():
            for view, image in enumerate(images):
                file = Path(asset["asset"]) / f"{background}-{view:02d}.png"
                save_image(out / file, image.float() / 255)
                place = {
                    "view": view,
                    "azimuth": f"{float(cameras.azimuth[view]):g}",
                    "elevation": f"{float(cameras.elevation[view]):g}",
                }
                rows.append({**asset, **place, "background": background, "file": file.as_posix()})
    return rows


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the table")
    parser.add_argument("--meshes", type=Path, required=True, help="folder of prepared meshes")
    parser.add_argument("--textures", type=Path, required=True, help="folder of one method's textures")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets <asset>/ and renders.tsv")
    options = parser.parse_args(arguments)
    with work_alone(options.out):
        settings = provenance.read_settings(options.settings)
        rows = save(settings, options.meshes, options.textures, options.out)
        with (
            provenance.atomic_path(options.out / "renders.tsv") as path,
            open(path, "w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.DictWriter(
                stream, COLUMNS, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
            )
            writer.writeheader()
            writer.writerows(rows)
        write_score_record(options.out / "renders.tsv", {}, (row["file"] for row in rows))
    print(f"{options.out}: {len(rows)} renders")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

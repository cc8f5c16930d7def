"""Score the textures of one method by one metric: one row per asset, view and background."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workflow import provenance
from workflow.devices import claim_gpu, pick_device

COLUMNS = (
    "asset",
    "mesh",
    "prompt_id",
    "prompt",
    "seed",
    "view",
    "azimuth",
    "elevation",
    "background",
    "score",
)


def score_views(
    metric, textured, protocol: dict[str, Any], buffers: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Scores of the protocol's renders of one textured mesh; `buffers` keeps the last mesh's geometry."""
    from texgen.cameras import rig_cameras
    from texgen.render import geometry_buffer

    mesh, texture = textured.mesh, textured.texture
    cameras = rig_cameras(protocol["rig"]).to(texture.device, texture.dtype)
    size, supersample = protocol["size"], protocol["supersample"]
    if mesh.name not in buffers:
        buffers.clear()
        buffers[mesh.name] = geometry_buffer(mesh, cameras, size * supersample)
    for name, colour in protocol["backgrounds"].items():
        images = textured.render(cameras, size, tuple(colour), supersample, buffers[mesh.name])
        scores = metric(images, [textured.prompt] * len(images))
        for view, score in enumerate(scores.tolist()):
            yield {
                "view": view,
                "azimuth": f"{float(cameras.azimuth[view]):g}",
                "elevation": f"{float(cameras.elevation[view]):g}",
                "background": name,
                "score": repr(score),
            }


def score_asset(
    metric, kind: str, textured, protocol: dict[str, Any], buffers: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Rows of one asset without its identity. A metric of the texture itself gives one row."""
    if kind == "alignment":
        yield {
            "view": "texture",
            "azimuth": "",
            "elevation": "",
            "background": "",
            "score": repr(float(metric(textured))),
        }
    else:
        yield from score_views(metric, textured, protocol, buffers)


def score_method(
    settings: dict[str, Any], meshes: Path, textures: Path, threads: int
) -> list[dict[str, Any]]:
    """All rows of one method; assets whose run failed have none."""
    import torch

    from rewards.base import Textured
    from texgen.export import load_texture_png
    from workflow.steps.loading import load_metric, load_prepared

    torch.set_num_threads(threads)
    device = pick_device()
    metric = load_metric(settings, device)
    rows: list[dict[str, Any]] = []
    prepared: dict[str, Any] = {}
    buffers: dict[str, Any] = {}
    # Assets of one mesh one after the other, so that its geometry is loaded and rasterised once.
    for asset in sorted(settings["assets"], key=lambda each: each["mesh"]):
        folder = textures / asset["asset"]
        run = provenance.read_json(folder / "run.json")
        if run["status"] != "ok":
            print(f"{asset['asset']}: no texture, {run['reason']}")
            continue
        if asset["mesh"] not in prepared:
            prepared = {asset["mesh"]: load_prepared(meshes, asset["mesh"], device)}
        mesh, geometry = prepared[asset["mesh"]]
        textured = Textured(
            mesh=mesh,
            texture=load_texture_png(folder / "texture.png").to(device),
            painted=load_texture_png(folder / "painted.png")[:1].to(device),
            prompt=asset["prompt"],
            geometry=geometry,
        )
        with torch.no_grad():
            for row in score_asset(metric, settings["kind"], textured, settings["protocol"], buffers):
                rows.append({**asset, **row})
    order = {asset["asset"]: index for index, asset in enumerate(settings["assets"])}
    return sorted(rows, key=lambda row: order[row["asset"]])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the job")
    parser.add_argument("--meshes", type=Path, required=True, help="folder of prepared meshes")
    parser.add_argument("--textures", type=Path, required=True, help="folder of one method's textures")
    parser.add_argument("--out", type=Path, required=True, help="score file to write")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    options = parser.parse_args(arguments)
    claim = claim_gpu()
    settings = provenance.read_json(options.settings)
    rows = score_method(settings, options.meshes, options.textures, options.threads)
    with provenance.atomic_path(options.out) as path, open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(
            stream, COLUMNS, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        )
        writer.writeheader()
        writer.writerows(rows)
    print(f"{options.out}: {len(rows)} scores of {len({row['asset'] for row in rows})} assets")
    if claim is not None:
        claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Prepare one mesh: read, clean, normalise, unwrap, compute the fields that geometric rewards need.

Writes mesh.npz, geometry.npz, preview.png (four views, lit, with the uv squares) and mesh.json.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from texgen.mesh.formats import source_forms
from texgen.reading.orientation import (
    OrientationError,
    facing,
    orientation_line,
    rotation_matrix,
    turns,
)
from texgen.reading.policies import POLICIES
from texgen.storage.plain_text import terminal
from texgen.storage.records import FILES, stamps
from texgen.storage.result_records import MESH_FILES
from workflow import provenance
from workflow.jobs.jobs import MeshJob
from workflow.runtime.locking import work_alone
from workflow.runtime.step_errors import run_step

CACHE = Path("resources")
PREVIEW_SIZE = 192


def preview(mesh, size: int = PREVIEW_SIZE):
    """Four views (front, right, back, upper left) as one image [3, 2 * size, 2 * size].

    Grey by the angle to a light near the camera; the darker squares are 1/16 of the texture wide.
    """
    import torch

    from texgen.render.cameras import Cameras
    from texgen.render.images import geometry_buffer

    cameras = Cameras.orbit([0.0, 90.0, 180.0, -45.0], [10.0, 10.0, 10.0, 40.0])
    buffer = geometry_buffer(mesh, cameras, 2 * size)
    squares = (buffer.uv * 16).floor().sum(dim=-1, keepdim=True) % 2
    grey = (0.25 + 0.75 * buffer.cosine) * (1 - 0.18 * squares.permute(0, 3, 1, 2))
    image = torch.where(buffer.mask > 0, grey, torch.ones_like(grey)).expand(-1, 3, -1, -1)
    image = torch.nn.functional.avg_pool2d(image, 2)
    rows = [torch.cat((image[0], image[1]), dim=-1), torch.cat((image[2], image[3]), dim=-1)]
    return torch.cat(rows, dim=-2)


def prepare(job: MeshJob, out: Path, cache: Path = CACHE) -> dict[str, Any]:
    """Prepare the mesh of a settings file into a folder; returns what mesh.json holds."""
    from texgen.geometry.prepared import prepare_geometry
    from texgen.mesh.export import save_image
    from texgen.mesh.mesh import save_mesh
    from texgen.mesh.sources import fetch_source
    from texgen.painting.presets import PRESETS
    from texgen.reading.prepare import prepare as prepare_working_mesh
    from texgen.render.atlas import overlapping_share
    from texgen.storage.downloads import shown_source

    started = time.perf_counter()
    path = fetch_source(job.source, job.sha256, cache)
    prepared = prepare_working_mesh(
        path,
        job.mesh,
        uv_policy=job.uv,
        longest_side=job.longest_side,
        rotate=job.rotate,
        progress=lambda text: print(f"{job.mesh}: {text}", flush=True),
    )
    mesh = prepared.mesh
    up, front = facing(mesh.rotation.numpy())
    size = job.texture_size or PRESETS["texgen"].texture_size
    geometry = prepare_geometry(mesh, size)
    record = {
        "mesh": mesh.name,
        "source": shown_source(job.source),
        "file_sha256": provenance.file_hash(path),
        "licence": job.licence,
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "uvs": len(mesh.uvs),
        "kept_uvs": prepared.kept_uvs,
        "charts": prepared.charts,
        "unwrap_seconds": round(prepared.unwrap_seconds, 3),
        "texture_size": size,
        "texture_coverage": float(geometry.atlas.mask.mean()),
        "uv_overlap": overlapping_share(mesh),
        "centre": mesh.centre.tolist(),
        "scale": mesh.scale,
        "rotation": mesh.rotation.tolist(),
        "up": up,
        "front": front,
        "warnings": prepared.warnings,
    }
    save_mesh(mesh, out / "mesh.npz")
    geometry.save(out / "geometry.npz")
    save_image(out / "preview.png", preview(mesh))
    record[FILES] = stamps(out, MESH_FILES)
    record["settings_hash"] = provenance.content_hash(job.identity())
    record["seconds"] = round(time.perf_counter() - started, 3)
    provenance.write_json(out / "mesh.json", record)
    return record


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--settings", type=Path, help="settings file of the job, instead of the options below"
    )
    parser.add_argument("--mesh", help="name of the mesh")
    parser.add_argument("--source", help=source_forms())
    parser.add_argument("--sha256", default="", help="checksum of the file; required for https")
    parser.add_argument("--uv", choices=POLICIES, default="auto", help="what becomes of uvs")
    parser.add_argument("--up", help="axis of the file that points up, such as z (default: y)")
    parser.add_argument("--front", help="axis that its front faces (default: z, or -y where z is up)")
    parser.add_argument("--rotate", help="turns instead of --up and --front, such as x:-90,y:180")
    parser.add_argument("--texture-size", type=int, help="texels along a side of the texture")
    parser.add_argument("--longest-side", type=float, default=1.6, help="longest side of the working mesh")
    parser.add_argument("--licence", default="", help="licence of the mesh, for the record")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for downloads")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    options = parser.parse_args(arguments)
    if options.settings is not None:
        job = MeshJob.read(options.settings)
    elif options.mesh and options.source:
        names = ("mesh", "source", "sha256", "uv", "texture_size", "longest_side", "licence")
        try:
            rotate = turns(options.up, options.front, options.rotate)
        except OrientationError as error:
            parser.error(f"--{error.field} {error.reason}")
        job = MeshJob(rotate=rotate, **{name: getattr(options, name) for name in names})
    else:
        parser.error("give --settings, or --mesh and --source")
    from texgen.mesh.mesh import MeshError

    try:
        facts = orientation_line(rotation_matrix(job.rotate), "up, front and rotate")
        print(f"{job.mesh}: reading; {facts}", flush=True)
        with work_alone(options.out):
            record = prepare(job, options.out, options.cache)
    except (MeshError, OrientationError) as error:
        print(terminal(f"Mesh {job.mesh!r}: {error}"), file=sys.stderr)
        return 1
    for warning in record["warnings"]:
        print(f"{record['mesh']}: warning: {warning}")
    print(
        f"{record['mesh']}: {record['faces']} faces, {record['charts']} uv charts, "
        f"unwrapped in {record['unwrap_seconds']:.1f} s, prepared in {record['seconds']:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

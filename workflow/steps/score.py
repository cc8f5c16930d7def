"""Score the textures of one method by every metric: a file per metric, a row per asset, view and background.

Beside each score file lies a record with the hash of all that it depends on; a metric whose record is current
is kept, so that a new metric, or a killed job, does not repeat the others. A metric that was begun goes on
behind the last asset that it has scored.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from report.columns import SCORE_COLUMNS
from texgen.errors import DamagedFileError
from texgen.storage.result_records import check_run, checked_scores, read_run, write_score_record
from workflow import provenance
from workflow.jobs.jobs import Protocol, ScoreJob
from workflow.runtime.devices import claim_gpu, device_name, pick_device
from workflow.runtime.journal import Journal
from workflow.runtime.locking import work_alone
from workflow.runtime.progress import Pace
from workflow.runtime.step_errors import plain_sentence, run_step

# Meshes with their geometry that stay in memory from one metric to the next.
MESHES_KEPT = 8


def score_views(metric, textured, name: str, protocol: Protocol, renders) -> Iterator[dict[str, Any]]:
    """Scores of the protocol's renders of one textured mesh, which the `Renders` know as `name`."""
    from texgen.render.cameras import rig_cameras

    cameras = rig_cameras(protocol.rig)
    for background, images in renders.of(textured, name, protocol).items():
        images = images.to(textured.texture.device) / 255
        scores = metric(images, [textured.prompt] * len(images))
        for view, score in enumerate(scores.tolist()):
            yield {
                "view": view,
                "azimuth": f"{float(cameras.azimuth[view]):g}",
                "elevation": f"{float(cameras.elevation[view]):g}",
                "background": background,
                "score": repr(score),
            }


def score_asset(metric, textured, name: str, protocol: Protocol | None, renders) -> Iterator[dict[str, Any]]:
    """Rows of one asset without its identity. A metric of the texture itself gives one row."""
    if protocol is None:
        yield {
            "view": "texture",
            "azimuth": "",
            "elevation": "",
            "background": "",
            "score": repr(float(metric(textured))),
        }
    else:
        yield from score_views(metric, textured, name, protocol, renders)


def score_method(
    job: ScoreJob,
    prepared: Callable[[str], tuple[Any, Any]],
    textures: Path,
    threads: int,
    journal: Journal,
    renders,
) -> list[dict[str, Any]]:
    """All rows of one method; assets whose run failed have none. journal: the rows of finished assets.

    prepared: mesh and geometry by the mesh's name. renders: a `Renders` of this method's assets.
    """
    import torch

    from rewards.base import NotApplicable, Textured
    from texgen.mesh.export import load_texture_png
    from workflow.steps.scorers import load_metric

    torch.set_num_threads(threads)
    device = pick_device()
    metric = load_metric(job.block, device, backend=job.backend, precision=job.precision)
    pace = Pace(len(job.assets))
    # Assets of one mesh one after the other, so that it is rasterised once.
    for asset in sorted(job.assets, key=lambda each: each["mesh"]):
        label = f"{job.metric}: {asset['asset']}"
        if asset["asset"] in journal.found:
            pace.keep()
            print(f"{label}: kept", flush=True)
            continue
        folder = textures / asset["asset"]
        run = read_run(textures, asset["asset"])
        if run["status"] != "ok":
            pace.keep()
            print(f"{label}: no texture, {run.get('reason')}", flush=True)
            continue
        check_run(textures, run)
        pace.begin()
        mesh, geometry = prepared(asset["mesh"])
        textured = Textured(
            mesh=mesh,
            texture=load_texture_png(folder / "texture.png").to(device),
            painted=load_texture_png(folder / "painted.png")[:1].to(device),
            prompt=asset["prompt"],
            geometry=geometry,
        )
        rows: list[dict[str, Any]] = []
        try:
            with torch.no_grad():
                rows += score_asset(metric, textured, asset["asset"], job.protocol, renders)
            said = f"{len(rows)} scores"
        except NotApplicable as error:
            rows, said = [], f"no score, {error}"
        journal.add(asset["asset"], rows)
        print(f"{label}: {said} ({pace.finish()})", flush=True)
    found = journal.found
    return [{**asset, **row} for asset in job.assets for row in found.get(asset["asset"], ())]


def scores_hash(job: ScoreJob, textures: Path, code: str) -> str:
    """Hash of all that the scores of one method by one metric depend on."""
    runs = [read_run(textures, asset["asset"]) for asset in job.assets]
    return provenance.content_hash(
        {
            "job": job.identity(),
            "weights": provenance.place_hashes(job.places()),
            "textures": [(run["asset"], run["status"], run["hash"]) for run in runs],
            "code": code,
        }
    )


def is_current(out: Path, digest: str) -> bool:
    """Whether a score file and its record are there, whole and of this hash; says what is damaged."""
    if not out.with_suffix(".json").exists():
        return False
    try:
        return checked_scores(out).get("hash") == digest
    except (OSError, DamagedFileError) as error:
        print(f"{plain_sentence(error)} It is scored again now.", flush=True)
        return False


def write_scores(out: Path, rows: list[dict[str, Any]]) -> None:
    """Write a score file atomically."""
    with provenance.atomic_path(out) as path, open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(
            stream, SCORE_COLUMNS, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None
        )
        writer.writeheader()
        writer.writerows(rows)


def write_metric(
    job: ScoreJob,
    options: argparse.Namespace,
    code: str,
    prepared: Callable[[str], tuple[Any, Any]],
    renders,
) -> None:
    """Score one method by one metric and write the file and its record, unless they are current."""
    metric, method = job.metric, options.textures.name
    out = options.out / metric / f"{method}.tsv"
    digest = scores_hash(job, options.textures, code)
    if is_current(out, digest):
        print(f"{out}: kept", flush=True)
        return
    started = time.perf_counter()
    journal = Journal(out, digest)
    try:
        rows = score_method(job, prepared, options.textures, options.threads, journal, renders)
    except BaseException:
        journal.close(done=False)
        raise
    write_scores(out, rows)
    record = {
        "metric": metric,
        "method": method,
        "rows": len(rows),
        "seconds": time.perf_counter() - started,
        "device": device_name(pick_device()),
        "versions": provenance.package_versions(),
        "settings_hash": provenance.content_hash(job.identity()),
        "code": code,
        "textures_hash": provenance.textures_hash(
            read_run(options.textures, asset["asset"]) for asset in job.assets
        ),
        "hash": digest,
    }
    write_score_record(out, record)
    journal.close(done=True)
    print(f"{out}: {len(rows)} scores of {len({row['asset'] for row in rows})} assets", flush=True)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--settings", type=Path, nargs="+", required=True, help="settings, one per metric")
    parser.add_argument("--meshes", type=Path, required=True, help="folder of prepared meshes")
    parser.add_argument("--textures", type=Path, required=True, help="folder of one method's textures")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets <metric>/<method>.tsv")
    parser.add_argument("--code", nargs="+", required=True, help="metric=hash of its code, for every metric")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args(arguments)
    from workflow.steps.loading import load_prepared
    from workflow.steps.renders import Renders

    renders = Renders()
    prepared = lru_cache(MESHES_KEPT)(lambda name: load_prepared(options.meshes, name, pick_device()))
    method = options.textures.name
    codes = dict(each.split("=", 1) for each in options.code)
    with work_alone(options.out / method):
        claim = claim_gpu()
        for path in options.settings:
            job = ScoreJob.read(path)
            write_metric(job, options, codes[job.metric], prepared, renders)
        if claim is not None:
            claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

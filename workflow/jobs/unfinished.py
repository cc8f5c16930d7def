"""Jobs that have to run and that Snakemake takes for done: found before a run begins, to be made.

Snakemake asks for a file in the middle only where something behind it has to be made. And of a job that fails
it notes the parameters and inputs of today, as of one that ends well, before it deletes the outputs, or puts
the earlier ones back where a rule updates them. Where all that lies behind is there from an earlier run, the
next run would have nothing to do, and a table of earlier settings would stay. What is seen here is the state
of the disk, so it does not matter how a job has ended. Imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from texgen.storage.records import find_record
from workflow.jobs.plan import Plan
from workflow.jobs.products import outputs, score_table
from workflow.jobs.restored import manifest_path, textures_there

ENDS = ("table.md", "gallery/index.html", "overview.png", "figures", "turntables")
"""What is made last, below the results folder."""


def unfinished_jobs(plan: Plan) -> dict[str, str]:
    """Each job whose output is missing while something is there that is made from it, or whose scores are not
    those of today -> that output."""
    found: dict[str, str] = {}
    made = outputs(plan)
    for job, later in _made_from(plan, made):
        missing = next((path for path in made[job] if not path.exists()), None)
        if missing is not None and any(path.exists() for path in later):
            found[job] = str(missing)
    for method, table in _earlier_scores(plan):
        found.setdefault(f"score.{method}", str(table))
    return found


def _made_from(plan: Plan, made: dict[str, list[Path]]) -> Iterator[tuple[str, Iterable[Path]]]:
    """(job, files that are made from its outputs) of every job in the middle. made: the outputs of each."""
    results = Path(plan.config.results)
    ends = [results / name for name in ENDS]
    quality, distances, stages = made["quality"], made.get("distances", []), made.get("stages", [])
    yield from _made_from_meshes(plan, [*quality, *ends])
    for model in plan.models:
        users = [name for name in plan.methods if plan.config.methods[name].model == model]
        textures = [manifest_path(plan, name, shard) for name in users for shard in plan.shards]
        yield f"model.{model}", [*textures, *ends]
    for method in plan.methods:
        read = [*made[f"score.{method}"], *quality, *made[f"renders.{method}"], *stages, *ends]
        yield from ((f"texture.{method}.{shard}", read) for shard in plan.shards)
        yield f"score.{method}", ends
        yield f"renders.{method}", distances
    yield "quality", ends
    if distances:
        yield "distances", ends
    if stages:
        yield "stages", [results / "figures"]


def _made_from_meshes(plan: Plan, ends: list[Path]) -> Iterator[tuple[str, Iterable[Path]]]:
    results = Path(plan.config.results)

    @cache
    def shards() -> list[set[str]]:
        return [set(plan.meshes_of(plan.shard(shard))) for shard in plan.shards]

    def later(mesh: str) -> Iterator[Path]:
        for model in plan.models:
            if mesh in plan.model_meshes(model):
                yield results / "models" / model / "history.jsonl"
        for shard, meshes in zip(plan.shards, shards(), strict=True):
            if mesh in meshes:
                yield from (manifest_path(plan, method, shard) for method in plan.methods)
        yield from ends

    for mesh in plan.meshes:
        yield f"mesh.{mesh}", later(mesh)


def _earlier_scores(plan: Plan) -> Iterator[tuple[str, Path]]:
    """(method, table) of scores that a failed job would have replaced, and that Snakemake has put back: of
    other code, from before their weights, or of other textures."""
    for metric in plan.metrics:
        found = [(method, score_table(plan, metric, method)) for method in plan.methods]
        found = [(method, table) for method, table in found if table.is_file()]
        if not found:
            continue
        job = plan.score_job(metric)
        code, weights = job.code(), _latest(map(Path, job.files()))
        for method, table in found:
            record, written = find_record(table.with_suffix(".json")) or {}, table.stat().st_mtime_ns
            other = record.get("code") not in (None, code)
            # Weights of tomorrow are later than all that is scored today.
            other = other or written < weights <= time.time_ns()
            if other or _of_other_textures(plan, method, record, written):
                yield method, table


def _of_other_textures(plan: Plan, method: str, record: dict[str, Any], written: int) -> bool:
    """Whether textures were made later, at which Snakemake looks, and are others. See also
    `workflow.jobs.restored`."""
    if _latest(manifest_path(plan, method, shard) for shard in plan.shards) <= written:
        return False
    there = textures_there(plan, method)
    return there is not None and record.get("textures_hash") not in (None, there[1])


def _latest(paths: Iterable[Path]) -> int:
    """When the last one of some files was written, in nanoseconds; those that are missing do not count."""
    return max((path.stat().st_mtime_ns for path in paths if path.exists()), default=0)

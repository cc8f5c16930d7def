"""What earlier runs finished and something has damaged since: found before a run begins, to be made again.

Snakemake looks at declared outputs alone, and not at what they hold. This looks at every record of the plan
and at size and time of all that it stands for (`texgen.storage.records`). Each rule has a parameter `again`:
the last damage of its job that was found. A new one changes it, and Snakemake runs the job again, once.
Imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.storage.records import FILES, difference, find_record, write_record
from texgen.storage.result_records import (
    MESH,
    checked_mesh,
    checked_model,
    checked_scores,
    read_manifest,
)
from workflow.jobs.plan import Plan
from workflow.jobs.products import outputs, score_table
from workflow.jobs.restored import (
    Asked,
    first_run,
    manifest_path,
    other_settings,
    other_textures,
    textures_there,
)
from workflow.runtime.step_errors import plain_sentence

SELF_PROVING = ("quality", "renders", "distances", "stages")
"""Kinds of jobs whose one output has a record beside it, and no more to compare with."""
SHOWN = 5
"""Sentences per job; the rest is counted."""


class Damages:
    """The damages that were found so far in a results folder, by job, in one file of it."""

    def __init__(self, results: str | Path) -> None:
        self.path = Path(results) / "settings" / "damages.json"
        self.found: dict[str, str] = find_record(self.path) or {}
        self.fresh = False

    def again(self, *job: object) -> str:
        """What the rule of a job has as its parameter; empty where nothing was ever damaged."""
        return self.found.get(".".join(map(str, job)), "")

    def note(self, damaged: dict[str, list[str]]) -> list[str]:
        """Let damaged jobs run again, in this run; what to tell a user about it."""
        lines = []
        for job, sentences in damaged.items():
            self.found[job] = f"{time.time_ns()} {sentences[0]}"
            lines += sentences[:SHOWN]
            if len(sentences) > SHOWN:
                lines.append(f"{len(sentences) - SHOWN} more of {job}.")
        self.fresh = self.fresh or bool(damaged)
        return lines

    def save(self) -> None:
        """Keep what was noted for the runs to come; a dry run does not come here."""
        if self.fresh:
            write_record(self.path, self.found)
            self.fresh = False


def damaged_jobs(plan: Plan) -> dict[str, list[str]]:
    """Each job whose finished work is not whole -> a sentence per damage.

    What is missing altogether is Snakemake's to see, and is not named.
    """
    found: dict[str, list[str]] = {}
    for job, damages in finished_jobs(plan):
        sentences = list(damages())
        if sentences:
            found.setdefault(job, []).extend(sentences)
    return found


def finished_jobs(plan: Plan) -> Iterator[tuple[str, Callable[[], Iterator[str]]]]:
    """(name, what finds its damages) of every job of a plan whose outputs are there."""
    results = Path(plan.config.results)
    for mesh in plan.meshes:
        if (results / "meshes" / mesh / "mesh.npz").exists():
            yield f"mesh.{mesh}", partial(_damaged_mesh, plan, mesh)
    for model in plan.models:
        folder = results / "models" / model
        if (folder / "history.jsonl").exists():
            yield f"model.{model}", partial(_said, partial(checked_model, folder))
    for method in plan.methods:
        for shard in plan.shards:
            path = manifest_path(plan, method, shard)
            if path.exists():
                yield f"texture.{method}.{shard}", partial(_damaged_textures, plan, method, shard)
    there = cache(partial(textures_there, plan))
    asked = {name: Asked(plan, f"score.{name}", plan.score_job(name)) for name in plan.metrics}
    for method in plan.methods:
        for metric in plan.metrics:
            path = score_table(plan, metric, method)
            if path.exists():
                yield f"score.{method}", partial(_damaged_scores, asked[metric], path, there)
    for job, paths in outputs(plan).items():
        if job.partition(".")[0] in SELF_PROVING and paths[0].exists():
            yield job, partial(_said, partial(checked_scores, paths[0]))


def _said(
    check: Callable[[], dict[str, Any]], *more: Callable[[dict[str, Any]], str | None]
) -> Iterator[str]:
    """What is wrong with a record, or else what others find in it."""
    try:
        record = check()
    except (DamagedFileError, OSError) as error:
        yield plain_sentence(error) or str(error)
    else:
        yield from filter(None, (find(record) for find in more))


def _damaged_mesh(plan: Plan, mesh: str) -> Iterator[str]:
    folder = Path(plan.config.results) / "meshes"
    asked = Asked(plan, f"mesh.{mesh}", plan.mesh_job(mesh))
    yield from _said(
        partial(checked_mesh, folder, mesh), partial(other_settings, asked, folder / mesh / MESH)
    )


def _damaged_scores(
    asked: Asked, table: Path, there: Callable[[str], tuple[int, str] | None]
) -> Iterator[str]:
    yield from _said(
        partial(checked_scores, table),
        partial(other_settings, asked, table),
        lambda record: other_textures(asked, table, there(table.stem), record),
    )


def _damaged_textures(plan: Plan, method: str, shard: int) -> Iterator[str]:
    """Damages of one texturing job; where its files are whole, whether they are of its settings."""
    path = manifest_path(plan, method, shard)
    try:
        entries = read_manifest(path, method)
    except (DamagedFileError, OSError) as error:
        yield plain_sentence(error) or str(error)
        return
    found = list(damaged_assets(path.parent, entries))
    yield from found
    if not found:
        run = first_run(path.parent, entries)
        asked = Asked(plan, f"texture.{method}.{shard}", plan.texture_job(method, shard))
        yield from filter(None, [other_settings(asked, path, run)])


def damaged_assets(textures: Path, entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Damages of the assets of one texturing job, by the stamps in its manifest."""
    for entry in entries:
        folder = textures / entry["asset"]
        for name, stamp in entry[FILES].items():
            reason = difference(folder / name, stamp)
            if reason is not None:
                yield f"{folder / name} {reason}; this asset is made again."

"""What earlier runs finished and something has damaged since: found before a run begins, to be made again.

Snakemake looks at declared outputs alone, and not at what they hold. This looks at every record of the plan
and at size and time of all that it stands for (`texgen.storage.records`). Each rule has a parameter `again`:
the last damage of its job that was found. A new one changes it, and Snakemake runs the job again, once.
Imports no torch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from texgen.errors import DamagedFileError
from texgen.storage.records import FILES, difference, find_record, write_record
from texgen.storage.result_records import checked_mesh, checked_model, checked_scores, read_manifest
from workflow.jobs.plan import Plan
from workflow.runtime.step_errors import plain_sentence

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
            yield f"mesh.{mesh}", partial(_said, partial(checked_mesh, results / "meshes", mesh))
    for model in plan.models:
        folder = results / "models" / model
        if (folder / "history.jsonl").exists():
            yield f"model.{model}", partial(_said, partial(checked_model, folder))
    for method in plan.methods:
        for shard in plan.shards:
            path = results / "textures" / method / f"shard-{shard}.json"
            if path.exists():
                yield f"texture.{method}.{shard}", partial(_damaged_assets, path, method)
    for method in plan.methods:
        for metric in plan.metrics:
            path = results / "scores" / metric / f"{method}.tsv"
            if path.exists():
                yield f"score.{method}", partial(_said, partial(checked_scores, path))
    if (results / "quality.tsv").exists():
        yield "quality", partial(_said, partial(checked_scores, results / "quality.tsv"))


def _said(check: Callable[[], object]) -> Iterator[str]:
    try:
        check()
    except (DamagedFileError, OSError) as error:
        yield plain_sentence(error) or str(error)


def _damaged_assets(manifest: Path, method: str) -> Iterator[str]:
    """Damages of the assets of one texturing job, by the stamps in its manifest."""
    try:
        entries = read_manifest(manifest, method)
    except (DamagedFileError, OSError) as error:
        yield plain_sentence(error) or str(error)
        return
    for entry in entries:
        folder = manifest.parent / entry["asset"]
        for name, stamp in entry[FILES].items():
            reason = difference(folder / name, stamp)
            if reason is not None:
                yield f"{folder / name} {reason}; this asset is made again."

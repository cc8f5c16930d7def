"""Links that lead to themselves among the files of a run, at which Snakemake ends in a traceback. Imports no
torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from workflow.jobs.jobs import Job
from workflow.jobs.plan import Plan

DEEPEST = 3
"""Declared outputs lie at most so deep in a results folder; files of single assets lie deeper."""


def refuse_link_loops(plan: Plan) -> None:
    """Raises OSError, which names it, where an input or an output of a run is a link that leads to itself."""
    for path in _inputs(plan):
        if os.path.islink(path):
            _ask(path)
    results = Path(plan.config.results)
    if os.path.lexists(results):
        _ask(results)
    if results.is_dir():
        _search(results, DEEPEST)


def _inputs(plan: Plan) -> Iterator[str]:
    for row in plan.mesh_rows:
        scheme, _, path = row.source.partition(":")
        if scheme == "file":
            yield path
    jobs: list[Job] = [plan.texture_job(method) for method in plan.methods]
    jobs += [plan.score_job(metric) for metric in plan.metrics]
    jobs += [plan.train_job(model) for model in plan.models]
    yield from dict.fromkeys(path for job in jobs for path in job.files())


def _search(folder: Path, depth: int) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                _ask(entry.path)
            elif depth > 1 and entry.is_dir():
                _search(Path(entry.path), depth - 1)


def _ask(path: Path | str) -> None:
    """Raises OSError for what leads to itself; what leads nowhere is missing, and Snakemake knows that."""
    try:
        os.stat(path)
    except FileNotFoundError:
        pass

"""Finished work that is whole and yet of another run: put back from a backup, or copied from another folder.

Snakemake believes an output that is late enough, and a record that stands for its files says nothing about
the settings of today. These compare a record with the job that it should be of. What has changed settings is
not named: its settings file is not there yet, and Snakemake runs it again by itself. Imports no torch.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.storage.records import find_record
from texgen.storage.result_records import RUN, read_manifest
from workflow.jobs.jobs import Job
from workflow.jobs.plan import Plan
from workflow.provenance import content_hash, textures_hash

Entry = dict[str, Any]


class Asked:
    """What the configuration asks of a job today, computed when it is needed, once. stem: of its settings."""

    def __init__(self, plan: Plan, stem: str, job: Job) -> None:
        self.plan, self.stem, self.job = plan, stem, job

    @cached_property
    def digest(self) -> str:
        """The hash that records of it have as `settings_hash`."""
        return content_hash(self.job.identity())

    @cached_property
    def has_run(self) -> bool:
        """Whether there was a run with just these settings."""
        return self.plan.settings_path(self.stem, self.job.record()).exists()


def other_settings(asked: Asked, path: Path, record: Entry) -> str | None:
    """A sentence where a record tells other settings than its job has, which has run with these before.

    path: what the sentence names. A record without a hash of its settings is believed.
    """
    if record.get("settings_hash") in (None, asked.digest) or not asked.has_run:
        return None
    return f"{path} was made with other settings, as of another run; it is made again."


def other_textures(asked: Asked, table: Path, there: tuple[int, str] | None, record: Entry) -> str | None:
    """A sentence where scores are late enough to be believed and not of the textures that are there.

    there: `textures_there` of the method.
    """
    if there is None or record.get("textures_hash") in (None, there[1]) or not asked.has_run:
        return None
    if table.stat().st_mtime_ns < there[0]:
        return None
    return f"{table} has the scores of other textures, as of another run; they are scored again."


def textures_there(plan: Plan, method: str) -> tuple[int, str] | None:
    """(time of the last manifest, hash) of the textures of a method; None where they are not whole."""
    paths = [manifest_path(plan, method, shard) for shard in plan.shards]
    try:
        entries = {entry["asset"]: entry for path in paths for entry in read_manifest(path, method)}
        digest = textures_hash(entries[asset.name] for asset in plan.assets)
        return max(path.stat().st_mtime_ns for path in paths), digest
    except (OSError, DamagedFileError, KeyError):  # what is wrong there is named there
        return None


def manifest_path(plan: Plan, method: str, shard: int) -> Path:
    """The manifest of a texturing job."""
    return Path(plan.config.results) / "textures" / method / f"shard-{shard}.json"


def first_run(folder: Path, entries: list[Entry]) -> Entry:
    """The record of the first asset of a manifest, which has the settings of all; empty = there is none."""
    return (find_record(folder / entries[0]["asset"] / RUN) or {}) if entries else {}

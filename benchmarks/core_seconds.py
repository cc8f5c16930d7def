"""What the jobs of a run cost, by step, from the notes of the process that they were forks of.

    PYTHONPATH=. python -m benchmarks.core_seconds results

Core-seconds are user + system, of a job and of all that it started; `libraries` is what loading them cost.
Only runs on one machine without a GPU note it (`workflow.runtime.warm`); a file that several runs wrote
holds the jobs of all of them.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path


def by_step(notes: Path) -> list[tuple[str, int, float, float]]:
    """(step, jobs, core-seconds, largest peak memory in MB), the dearest first."""
    found: dict[str, list[dict]] = defaultdict(list)
    for line in notes.read_text(encoding="utf-8").splitlines():
        job = json.loads(line)
        found[job["step"]].append(job)
    rows = [
        (
            step,
            len(jobs),
            sum(job["core_seconds"] for job in jobs),
            max(job.get("peak_kilobytes", 0) for job in jobs) / 1000,
        )
        for step, jobs in found.items()
    ]
    return sorted(rows, key=lambda row: -row[2])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="results folder of a run")
    options = parser.parse_args(arguments)
    rows = by_step(options.results / "benchmarks" / "jobs.jsonl")
    print("| step | jobs | core-seconds | each | peak MB |\n|---|---:|---:|---:|---:|")
    for step, jobs, seconds, peak in rows:
        print(f"| {step} | {jobs} | {seconds:,.1f} | {seconds / jobs:.1f} | {peak:,.0f} |")
    print(f"| all | {sum(row[1] for row in rows)} | {sum(row[2] for row in rows):,.1f} | | |")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

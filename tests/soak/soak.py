"""The long form of the reliability tests, `make soak`: a line per finding, and the figures as JSON.

    PYTHONPATH=.:tests python tests/soak/soak.py --folder DIR [--damages 532] [--kills 400] [--seconds 600]
    PYTHONPATH=.:tests python tests/soak/soak.py --folder DIR --minutes 20

A tiny project, with real models of a few thousand weights, is made and run in the folder; then

- runs are interrupted at random moments by random signals, to everything or to one process, until a table is
  there, which must be that of an undisturbed run, with no asset made twice (`reference.interruptions`);
- every record is damaged in every way, some in one run, each judged by name (`reference.damaged_runs`);
- readers of what users hand in are searched for bytes that make them stumble, for so many seconds.

Most runs are of forked jobs, or in this process, so that one costs a second of the processor; a share of both
goes through snakemake. With --minutes each part ends when its share of the time is over; what it did counts.
Exit status 1 when anything was found.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

from reference.damaged_runs import DamagedRuns, all_cases, batches, through_snakemake
from reference.forked_run import load_steps
from reference.hostile_inputs import search_inputs
from reference.interruptions import TABLE, Interruptions, make_victim, start_snakemake
from reference.local_run import run_again
from reference.soak_figures import Figures
from reference.tiny_project import make_tiny, score_cells, scores, write_tiny_models

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("texgen", "rewards", "baselines", "report", "workflow", "texreward", "config", "profiles")
SHARES = {"kills": 0.35, "damages": 0.3, "snakemake": 0.3, "inputs": 0.05}
"""Of the time that --minutes gives."""


def make_project(folder: Path) -> Path:
    """A copy of the project with a tiny configuration, run once up to its table; kept for its commit."""
    project, made = folder / "project", folder / "project.commit"
    made_of = made.read_text() if made.is_file() else ""
    known = made_of == commit() and made_of and not made_of.endswith("dirty")
    if not known or not (project / "results" / "table.csv").is_file():
        shutil.rmtree(project, ignore_errors=True)
        for name in COPIED:
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", project)
        if not (folder / "models").exists():
            write_tiny_models(folder / "models")
        make_tiny(project, folder / "models")
        done = start_snakemake(project, TABLE, folder / "first.log").wait()
        if done:
            sys.exit(f"The undisturbed run failed; see {folder / 'first.log'}.")
        made.write_text(commit())
    return project


def warm_up(project: Path) -> None:
    """Run everything once in this process, so that forks of it find loaded what is loaded late."""
    os.chdir(project)
    outcome = run_again()
    if outcome.sentence:
        sys.exit(f"The first run in this process failed: {outcome.sentence}")


def commit() -> str:
    """Of the checkout that is tested; "" where there is none."""
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    return done.stdout.strip()


def damages(project: Path, options: argparse.Namespace, shares: dict[str, float], figures: Figures) -> None:
    """Batches of damages; every so many of them through snakemake."""
    runs = DamagedRuns(project, figures)
    every = options.snakemake_every
    todo = batches(all_cases(options.seed), options.batch, options.seed)
    done = 0
    for number, batch in enumerate(todo):
        if done >= options.damages or runs.clock.seconds() > shares.get("damages", math.inf):
            break
        if every and number % every == every - 1:
            # It judges itself: of small files that are newer it compares the content, `run_again` does not.
            runs.batch(batch, through_snakemake, "through snakemake", through_snakemake)
        else:
            runs.batch(batch, run_again, "in one process")
        done += len(batch)
    runs.restore()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where to work; kept")
    parser.add_argument("--damages", type=int, default=570, help="damaged records, 0 for none")
    parser.add_argument("--batch", type=int, default=5, help="damages that meet in one run")
    parser.add_argument("--snakemake-every", type=int, default=8, help="batches of which one is snakemake's")
    parser.add_argument("--kills", type=int, default=400, help="interruptions of forked jobs, 0 for none")
    parser.add_argument("--snakemake-kills", type=int, default=40, help="of whole runs of snakemake")
    parser.add_argument("--seconds", type=float, default=600, help="of searching all readers' bytes")
    parser.add_argument("--minutes", type=float, help="for all of it, shared out; default: no limit")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        parser.error(f"--minutes {options.minutes:g} is not a time; give minutes above 0.")
    shares = {part: 60 * options.minutes * share for part, share in SHARES.items()} if options.minutes else {}
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    figures = Figures(folder / "figures.json", commit=commit(), seed=options.seed)
    if options.damages or options.kills or options.snakemake_kills:
        project = make_project(folder)
        expected = scores(project), score_cells(project)
        load_steps()
        if options.kills:
            victim = make_victim(project, "killed")
            warm_up(victim)
            rounds = Interruptions(victim, expected, figures, "interruptions forked", options.seed)
            rounds.forked(options.kills, shares.get("kills", math.inf))
        if options.damages:
            damages(project, options, shares, figures)
        if options.snakemake_kills:
            victim = make_victim(project, "killed-snakemake", 0.3)
            rounds = Interruptions(victim, expected, figures, "interruptions of snakemake", options.seed)
            rounds.snakemake(options.snakemake_kills, shares.get("snakemake", math.inf))
    seconds = min(options.seconds, shares.get("inputs", math.inf))
    if seconds:
        search_inputs(folder, seconds, figures)
    print(figures.path.read_text())
    return int(bool(figures.problems))


if __name__ == "__main__":
    sys.exit(main())

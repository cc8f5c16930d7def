"""The long form of the reliability tests, `make soak`: a line per finding, and the figures as JSON.

    PYTHONPATH=.:tests python tests/soak/soak.py --folder DIR [--damages 570] [--kills 200] [--seconds 600]
    PYTHONPATH=.:tests python tests/soak/soak.py --folder DIR --minutes 20

A tiny project, with real models of a few thousand weights, is made and run in the folder; then

- every record is damaged in every way, and the next run must give the same table or end with a sentence;
- runs are interrupted at random moments by random signals, to everything or to one process, until a table is
  there, which must be that of an undisturbed run, with no asset made twice;
- readers of what users hand in are searched for bytes that make them stumble, for so many seconds.

With --minutes each part ends when its share of the time is over, and what it did until then is what counts.
Exit status 1 when anything was found.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

import psutil
from reference.damages import DAMAGES, KINDS, damage
from reference.hostile_inputs import search_inputs
from reference.local_run import run_again
from reference.tiny_project import finished, make_tiny, score_cells, scores, slow_down, write_tiny_models

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("texgen", "rewards", "baselines", "report", "workflow", "texreward", "config", "profiles")
TABLE = "results/table.md"
SHARES = {"damages": 0.35, "kills": 0.45, "inputs": 0.2}
"""Of the time that --minutes gives."""
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def make_project(folder: Path) -> Path:
    """A copy of the project with a tiny configuration, run once up to its table; kept."""
    project = folder / "project"
    if not (project / "results" / "table.csv").is_file():
        shutil.rmtree(project, ignore_errors=True)
        for name in COPIED:
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "Snakefile", project)
        if not (folder / "models").exists():
            write_tiny_models(folder / "models")
        make_tiny(project, folder / "models")
        done = start(project, TABLE, folder / "first.log").wait()
        if done:
            sys.exit(f"The undisturbed run failed; see {folder / 'first.log'}.")
    return project


def start(project: Path, target: str, log: Path) -> subprocess.Popen:
    """A run in a process group of its own."""
    with open(log, "w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", target],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class Figures:
    """What was done and what was found."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.values: dict = {}
        self.problems: list[str] = []

    def problem(self, text: str) -> None:
        self.problems.append(text)
        print(f"PROBLEM {text}", flush=True)

    def note(self, **values: object) -> None:
        self.values |= values
        text = json.dumps({**self.values, "problems": self.problems}, indent=1)
        self.path.write_text(text + "\n")


def damages(project: Path, most: int, seed: int, figures: Figures, seconds: float = math.inf) -> None:
    """Every damage of every record, as long as there is time; both files of a kind are damaged in turn."""
    os.chdir(project)
    whole = project.parent / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    shutil.copytree("results", whole, symlinks=True)
    expected = scores(project), score_cells(project)
    cases = [(kind, how, swapped) for swapped in (False, True) for kind in KINDS for how in DAMAGES]
    random.Random(seed).shuffle(cases)
    counts: Counter[str] = Counter()
    began = time.monotonic()
    for kind, how, swapped in cases[:most]:
        if time.monotonic() - began > seconds:
            break
        shutil.rmtree("results")
        shutil.copytree(whole, "results", symlinks=True)
        label = f"{kind}{' (the other file)' if swapped else ''}, {how}"
        damage(Path("results"), kind, how, swapped)
        try:
            outcome = run_again()
        except BaseException:
            if isinstance(sys.exc_info()[1], KeyboardInterrupt):
                raise
            figures.problem(f"{label}: traceback: {traceback.format_exc()[-600:]}")
            counts["traceback"] += 1
            continue
        same = outcome.sentence or (scores(project), score_cells(project)) == expected
        if not same:
            figures.problem(f"{label}: another number, jobs {outcome.ran}")
        good = "sentence" if outcome.sentence else "made again" if outcome.ran else "kept"
        state = good if same else "silent change"
        if outcome.sentence and len(outcome.sentence.splitlines()) != 1:
            figures.problem(f"{label}: no single sentence: {outcome.sentence}")
        counts[state] += 1
        print(f"{state:13s} {label}: {outcome.sentence or outcome.ran}", flush=True)
        figures.note(
            damages={**counts, "all": sum(counts.values()), "seconds": round(time.monotonic() - began)}
        )
    shutil.rmtree("results")
    shutil.copytree(whole, "results", symlinks=True)


def kills(project: Path, most: int, seed: int, figures: Figures, seconds: float = math.inf) -> None:
    """Random interruptions of whole runs; when the time is over the last run goes on to its table."""
    rng = random.Random(seed)
    expected = scores(project), score_cells(project)
    victim = project.parent / "killed"
    shutil.rmtree(victim, ignore_errors=True)
    shutil.copytree(project, victim, symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake"))
    slow_down(victim, 0.3)
    done, rounds, lost, redone, tracebacks = 0, 0, 0, 0, 0
    kinds: Counter[str] = Counter()
    began = time.monotonic()

    def enough() -> bool:
        return done >= most or time.monotonic() - began > seconds

    while not enough():
        known: dict[str, int] = {}
        shutil.rmtree(victim / "results", ignore_errors=True)
        shutil.rmtree(victim / ".snakemake", ignore_errors=True)
        for _ in range(40):
            log = victim.parent / "killed.log"
            run = start(victim, TABLE, log)
            end = time.monotonic() + rng.uniform(2, 60)
            while run.poll() is None and (time.monotonic() < end or enough()):
                time.sleep(0.1)
            if run.poll() is None:
                kinds[interrupt(run, victim, rng)] += 1
                done += 1
            said = log.read_text(errors="replace")
            tracebacks += "Traceback" in said
            now = finished(victim)
            for path in known:
                if now.get(path) != known[path]:
                    lost, redone = lost + (path not in now), redone + (path in now)
                    what = "made again" if path in now else "lost"
                    figures.problem(f"interruption {done}: {path} was {what}")
            known = now
            if run.returncode == 0:
                break
        rounds += 1
        if run.returncode != 0 or (scores(victim), score_cells(victim)) != expected:
            figures.problem(f"round {rounds}: another table, or none; see {log}")
        left = [
            path
            for path in (victim / "results").rglob(".*")
            if path.is_file() and not path.name.endswith(".lock")
        ]
        if left:
            figures.problem(f"round {rounds}: temporary files stay: {left}")
        counts = {"all": done, "rounds": rounds, "lost": lost, "redone": redone, "tracebacks": tracebacks}
        spent = round(time.monotonic() - began)
        figures.note(interruptions={**counts, **kinds, "seconds": spent})
        print(f"{done} interruptions, {rounds} rounds", flush=True)


def interrupt(run: subprocess.Popen, victim: Path, rng: random.Random) -> str:
    """Send a random signal to all of a run, to snakemake, or to one job; wait until nothing is left of it."""
    number = rng.choice(SIGNALS)
    jobs = [each for each in psutil.process_iter(["cmdline", "cwd"]) if works_in(each, victim)]
    target = rng.choice(["all", "all", "snakemake", "job"] if jobs else ["all", "snakemake"])
    if target == "job":
        _send(rng.choice(jobs), number)
        time.sleep(2)
        number = signal.SIGKILL
    if target == "snakemake":
        os.kill(run.pid, number)
    else:
        os.killpg(run.pid, number)
    try:
        run.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    # What outlives its snakemake is left alone, as on a cluster: the next run waits for it.
    return f"{signal.Signals(number).name} to {target}"


def works_in(process: psutil.Process, folder: Path) -> bool:
    words = process.info["cmdline"] or []
    return process.info["cwd"] == str(folder) and any(word.startswith("workflow.steps.") for word in words)


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where to work; kept")
    parser.add_argument("--damages", type=int, default=570, help="damaged records, 0 for none")
    parser.add_argument("--kills", type=int, default=200, help="interruptions, 0 for none")
    parser.add_argument("--seconds", type=float, default=600, help="of searching each reader's bytes")
    parser.add_argument("--minutes", type=float, help="for all of it, shared out; default: no limit")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.minutes is not None and not 0 < options.minutes < math.inf:
        parser.error(f"--minutes {options.minutes:g} is not a time; give minutes above 0.")
    shares = {part: 60 * options.minutes * share for part, share in SHARES.items()} if options.minutes else {}
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    figures = Figures(folder / "figures.json")
    if options.damages or options.kills:
        project = make_project(folder)
        if options.damages:
            damages(project, options.damages, options.seed, figures, shares.get("damages", math.inf))
        if options.kills:
            kills(project, options.kills, options.seed, figures, shares.get("kills", math.inf))
    seconds = shares.get("inputs", options.seconds)
    if seconds:
        search_inputs(folder, seconds, figures)
    print(figures.path.read_text())
    return int(bool(figures.problems))


if __name__ == "__main__":
    sys.exit(main())

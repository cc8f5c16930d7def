"""Runs that are interrupted at random until their table is there, which must be that of an undisturbed run.

Judged after each interruption: no asset that was finished is lost or made again, no traceback is printed.
Judged after each round: scores and table are the undisturbed ones, the training has each of its steps once,
no temporary file stays, and one more run has nothing to do.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from reference.forked_run import ForkedRun, Writings
from reference.soak_figures import Clock, Figures
from reference.tiny_project import (
    TRAINING_STEPS,
    finished,
    score_cells,
    scores,
    slow_down,
    trained_steps,
)

TABLE = "results/table.md"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
JOBS = ("workflow.steps.", "workflow.runtime.warm_server")
MOST = 60
"""Runs of a round; the last one is left alone."""
LONGEST = 600.0
"""Seconds after which a run hangs."""


def start_snakemake(project: Path, target: str, log: Path) -> subprocess.Popen:
    """A run of snakemake in a process group of its own."""
    with open(log, "w") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", "--cores", "2", target],
            cwd=project,
            env={**os.environ, "PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"},
            stdout=out,
            stderr=subprocess.STDOUT,
            process_group=0,  # and no session of its own, which would have a priority of its own
        )


class Interruptions:
    """Rounds of interrupted runs of one project, and what was found in them.

    expected: scores and table of an undisturbed run. part: the name of the counts in the figures.
    """

    def __init__(self, victim: Path, expected: tuple, figures: Figures, part: str, seed: int) -> None:
        self.victim, self.expected, self.figures, self.part = victim, expected, figures, part
        self.rng = random.Random(seed)
        self.kinds: Counter[str] = Counter()
        self.counts: Counter[str] = Counter(all=0, rounds=0, runs=0, lost=0, redone=0, tracebacks=0)
        self.clock = Clock()
        self.log = victim.parent / f"{part.split()[-1]}.log"

    def forked(self, most: int, seconds: float) -> None:
        """Interrupt runs of forked jobs; half of the kills come before a random change of the disk."""
        writings = Writings()
        length = self._undisturbed(lambda: self._start_forked(writings), self._forked_rests)
        total = writings.count()
        self.counts["writings of a run"] = total

        def once(last: bool) -> int:
            at_writing = not last and self.rng.random() < 0.5
            alone = self.rng.random() < 0.3
            # Within half of a run, so that most are met, also where much is finished.
            writings.arm(self.rng.randrange(total // 2) if at_writing else -1, alone)
            run = self._start_forked(writings, arm=False)
            if at_writing:
                run.wait(LONGEST)
                if writings.count() > 0 and run.returncode not in (0,):
                    self.kinds[f"SIGKILL of {'the job' if alone else 'all'} before a writing"] += 1
                    self.counts["all"] += 1
                _wait_for_group(run.pid)
                return run.returncode
            end = LONGEST if last else self.rng.uniform(0, length / 2)
            return self._interrupt_at(run, end, last, run.jobs)

        self._rounds(most, seconds, once, self._forked_rests)

    def snakemake(self, most: int, seconds: float) -> None:
        """Interrupt runs of snakemake itself."""

        def start() -> subprocess.Popen:
            return start_snakemake(self.victim, TABLE, self.log)

        def rests() -> None:
            status = start().wait(LONGEST)
            said = self.log.read_text(errors="replace")
            if status or "Nothing to be done" not in said:
                self.figures.problem(f"{self.part}: a run after the last had something to do: {said[-1500:]}")

        def begun() -> subprocess.Popen:
            """A run whose first job is chosen: until then Ctrl-C ends in a traceback of snakemake's own."""
            run, end = start(), time.monotonic() + LONGEST
            while run.poll() is None and time.monotonic() < end:
                if "Select jobs to execute" in self.log.read_text(errors="replace"):
                    break
                time.sleep(0.02)
            return run

        length = self._undisturbed(begun, rests)
        self.counts["tenths of a second of a run"] = round(10 * length)

        def once(last: bool) -> int:
            run = begun()
            # Within the first part of a run, so that most are met, also where much is finished.
            end = LONGEST if last else self.rng.uniform(0, 0.6 * length)
            return self._interrupt_at(run, end, last, self._steps)

        self._rounds(most, seconds, once, rests)

    def _undisturbed(self, start: Callable[[], Any], rests: Callable[[], None]) -> float:
        """Seconds of a run that nobody disturbs, which is judged like a round and does not count as one."""
        self._clear()
        run, began = start(), time.monotonic()
        status = run.wait(LONGEST)
        length = time.monotonic() - began
        self._look({}, status)
        self._end_round(status, rests)
        self.counts["rounds"] = 0
        return length

    def _start_forked(self, writings: Writings, arm: bool = True) -> ForkedRun:
        if arm:
            writings.arm(-1)
        return ForkedRun(self.victim, self.log, writings)

    def _forked_rests(self) -> None:
        """One more run, which must find nothing to do."""
        run = self._start_forked(Writings())
        run.wait(LONGEST)
        said = self.log.read_text(errors="replace")
        if run.returncode or " begins" in said:
            self.figures.problem(f"{self.part}: a run after the last had something to do: {said[-500:]}")

    def _rounds(
        self, most: int, seconds: float, once: Callable[[bool], int], rests: Callable[[], None]
    ) -> None:
        def enough() -> bool:
            return self.counts["all"] >= most or self.clock.seconds() > seconds

        while not enough():
            self._clear()
            known: dict[str, int] = {}
            for turn in range(MOST):
                status = once(enough() or turn == MOST - 1)
                known = self._look(known, status)
                self.note()
                if status == 0:
                    break
            self._end_round(status, rests)

    def _clear(self) -> None:
        for name in ("results", ".snakemake", "begun"):
            shutil.rmtree(self.victim / name, ignore_errors=True)

    def _look(self, known: dict[str, int], status: int) -> dict[str, int]:
        """What is finished after a run; a problem for each asset that was known and is not as it was."""
        self.counts["runs"] += 1
        said = self.log.read_text(errors="replace")
        if "Traceback" in said:
            self.counts["tracebacks"] += 1
            self.figures.problem(f"{self.part} {self.counts['all']}: traceback: {said[-1500:]}")
        now = finished(self.victim)
        for path in known:
            if now.get(path) != known[path]:
                what = "redone" if path in now else "lost"
                self.counts[what] += 1
                self.figures.problem(f"{self.part} {self.counts['all']}: {path} was {what}")
        return now

    def _end_round(self, status: int, rests: Callable[[], None]) -> None:
        self.counts["rounds"] += 1
        name = f"{self.part}, round {self.counts['rounds']}"
        if status != 0 or (scores(self.victim), score_cells(self.victim)) != self.expected:
            kept = self.log.with_suffix(f".{self.counts['rounds']}.log")
            shutil.copy(self.log, kept)
            self.figures.problem(f"{name}: another table, or none; see {kept}")
        elif trained_steps(self.victim) != list(range(TRAINING_STEPS + 1)):
            self.figures.problem(f"{name}: trained steps {trained_steps(self.victim)}")
        hidden = (path for path in (self.victim / "results").rglob(".*") if path.is_file())
        left = [str(path) for path in hidden if not path.name.endswith(".lock")]
        if left:
            self.figures.problem(f"{name}: temporary files stay: {left}")
        rests()
        self.note()
        print(f"{self.part}: {self.counts['all']}, {self.counts['rounds']} rounds", flush=True)

    def note(self) -> None:
        counts = {**self.counts, "kinds": dict(sorted(self.kinds.items())), **self.clock.spent()}
        self.figures.note(**{self.part: counts})

    def _interrupt_at(self, run, seconds: float, last: bool, jobs: Callable[[], list]) -> int:
        """Let a run go on for so long, interrupt it, wait until nothing is left of it; its status."""
        end = time.monotonic() + seconds
        while run.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if run.poll() is None and last:
            os.killpg(run.pid, signal.SIGKILL)
            self.figures.problem(f"{self.part}: a run that nobody disturbed did not end in {seconds:g} s")
        elif run.poll() is None:
            self.kinds[self._interrupt(run, jobs())] += 1
            self.counts["all"] += 1
        return run.wait(60)

    def _interrupt(self, run, jobs: list[psutil.Process]) -> str:
        """A random signal to all of a run, to what starts its jobs, or to one job, which SIGKILL follows."""
        number = self.rng.choice(SIGNALS)
        target = self.rng.choice(["all", "all", "its head", "a job"] if jobs else ["all", "its head"])
        if target == "a job":
            _send(self.rng.choice(jobs), number)
        elif target == "its head":
            _send(psutil.Process(run.pid), number)
        else:
            os.killpg(run.pid, number)
        # snakemake lets running jobs end; what outlives it goes on, as on a cluster: the next run waits. One
        # that has lost a job ends by itself, or is killed soon after.
        soon = target == "a job" and self.rng.random() < 0.5
        patience = self.rng.uniform(0, 2) if soon else 60
        end = time.monotonic() + patience
        while run.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
        if target == "all":
            _wait_for_group(run.pid)
        return f"{signal.Signals(number).name} to {target}"

    def _steps(self) -> list[psutil.Process]:
        """What works in the victim's folder beside snakemake: steps, forks, and what they are forks of."""
        found = []
        for each in psutil.process_iter(["cmdline", "cwd"]):
            words = each.info["cmdline"] or []
            if each.info["cwd"] == str(self.victim) and any(word.startswith(JOBS) for word in words):
                found.append(each)
        return found


def _wait_for_group(group: int, seconds: float = 20) -> None:
    """Wait until no process of a killed group is there: large ones take their time to go."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        pass


def make_victim(project: Path, name: str, slowed: float = 0.0) -> Path:
    """A copy of a project without its results; every asset and training step takes that much longer."""
    victim = project.parent / name
    shutil.rmtree(victim, ignore_errors=True)
    shutil.copytree(
        project, victim, symlinks=True, ignore=shutil.ignore_patterns("results", ".snakemake", "begun")
    )
    if slowed:
        slow_down(victim, slowed)
    return victim

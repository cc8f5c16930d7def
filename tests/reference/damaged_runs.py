"""Records that are damaged, several of one run at a time, and what the next run makes of each.

Damages of a batch meet in one run, so each is judged by itself:

- it was *told*: the search before the run, or a job, named the file, or the job that makes it; where only
  Snakemake sees it (a declared output that is gone) its job ran; a settings file was written again; a
  checkpoint or a benchmark was *read* by its job, which ended well;
- or the run ended with a *sentence* that names the file. It counts for that file, which is put back, and the
  run starts again with the rest of the batch, so that no damage hides behind another one's sentence.

Judged of the whole batch: scores, table and every file that two runs write alike are those of the undisturbed
run, byte for byte; every record proves itself; one more run has nothing to do; no traceback is printed; no
file is left beside.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reference.damages import DAMAGES, JOBS, KINDS, damage, damaged_path
from reference.interruptions import TABLE, start_snakemake
from reference.local_run import Outcome, run_again
from reference.soak_figures import Clock, Figures
from reference.tiny_project import score_cells, scores

from texgen.storage.records import is_whole
from workflow.config.configuration import load_config
from workflow.jobs.plan import Plan
from workflow.jobs.recheck import damaged_jobs

LEVELS = (
    ("mesh", "geometry", "mesh record", "adapter", "history", "model record", "checkpoint"),
    ("run", "texture", "painted", "glb", "manifest"),
    ("scores", "score record", "quality", "quality record", "settings", "table settings", "benchmark"),
)
"""Kinds whose damage lets about as much run again: a batch is of one level."""
ALIKE = ("**/*.png", "**/*.glb", "**/*.npz", "**/*.safetensors", "scores/**/*.tsv", "quality.tsv")
"""Files of a run that are equal, byte for byte, after any other run."""
NEEDED = {
    "checkpoint": "results/models/tuned/pytorch_lora_weights.safetensors",
    "benchmark": "results/table.md",
}
"""Nobody reads these files where all else is finished: what is taken away, so that their reader runs."""
READERS = {"checkpoint": "model.tuned", "benchmark": "table"}
SECONDS = 600
"""Time after which a run hangs."""


@dataclass(frozen=True)
class Case:
    """One damage. swapped: of the other file of the kind's pair."""

    kind: str
    how: str
    swapped: bool

    def __str__(self) -> str:
        return f"{self.kind}{' (the other file)' if self.swapped else ''}, {self.how}"


def all_cases(seed: int) -> list[list[Case]]:
    """Every damage of both files of every kind, shuffled, by level."""
    if set(KINDS) != {kind for level in LEVELS for kind in level}:
        raise ValueError("each kind of record belongs to one level")
    # Root may read everything: for root such a file is whole.
    ways = [how for how in DAMAGES if how != "unreadable" or os.geteuid() != 0]
    rng = random.Random(seed)
    levels = []
    for kinds in LEVELS:
        cases = [Case(kind, how, swapped) for kind in kinds for how in ways for swapped in (False, True)]
        rng.shuffle(cases)
        levels.append(cases)
    return levels


def batches(levels: list[list[Case]], size: int, seed: int) -> list[list[Case]]:
    """All cases in batches of one level, no file twice in one, shuffled."""
    found = []
    for cases in levels:
        left = list(cases)
        while left:
            batch: list[Case] = []
            for case in left:
                if len(batch) < size and all(_apart(case, other) for other in batch):
                    batch.append(case)
            found.append(batch)
            left = [case for case in left if case not in batch]
    random.Random(seed).shuffle(found)
    return found


def _apart(one: Case, other: Case) -> bool:
    return KINDS[one.kind][one.swapped] != KINDS[other.kind][other.swapped]


class DamagedRuns:
    """Batches of damages in a project that has run; the working directory is the project's.

    through: what runs it again, `run_again` or `through_snakemake`.
    """

    def __init__(self, project: Path, figures: Figures) -> None:
        os.chdir(project)
        self.project, self.figures = project, figures
        self.whole = project.parent / "whole"
        shutil.rmtree(self.whole, ignore_errors=True)
        for name in ("results", ".snakemake"):
            if (project / name).exists():
                shutil.copytree(project / name, self.whole / name, symlinks=True)
        self.expected = scores(project), score_cells(project)
        self.alike = self.bytes_alike()
        self.counts: dict[str, Counter[str]] = {}
        self.clock = Clock()

    def batch(
        self,
        cases: list[Case],
        through: Callable[[], Outcome],
        part: str,
        rest: Callable[[], Outcome] = run_again,
    ) -> None:
        """Put everything back, damage, run, judge. rest: what runs once more and must have nothing to do."""
        counts = self.counts.setdefault(part, Counter(all=0, runs=0))
        self.restore()
        places = {case: damaged_path(Path("results"), case.kind, case.swapped) for case in cases}
        for case in cases:
            damage(Path("results"), case.kind, case.how, case.swapped, self.whole / "results")
            if case.kind in NEEDED and Path(NEEDED[case.kind]) not in places.values():
                Path(NEEDED[case.kind]).unlink(missing_ok=True)
        label = "; ".join(map(str, cases))
        left = list(cases)
        outcomes: list[Outcome] = []
        try:
            while left and (not outcomes or outcomes[-1].sentence):
                counts["runs"] += 1
                outcomes.append(self.run(through))
                if outcomes[-1].sentence:
                    left = self.after_sentence(left, places, outcomes[-1].sentence, counts)
            self.judge(left, places, outcomes, counts)
            self.judge_all(label, rest)
        except KeyboardInterrupt:
            raise
        except BaseException:
            self.figures.problem(f"{label}: traceback: {traceback.format_exc()[-900:]}")
            counts["traceback"] += 1
        counts["all"] += len(cases)
        self.note()

    def run(self, through: Callable[[], Outcome]) -> Outcome:
        signal.signal(signal.SIGALRM, _hangs)
        signal.alarm(SECONDS)
        try:
            outcome = through()
        finally:
            signal.alarm(0)
        if "Traceback" in outcome.said:
            raise RuntimeError(f"a traceback was printed: {outcome.said[-900:]}")
        return outcome

    def after_sentence(
        self, left: list[Case], places: dict[Case, Path], sentence: str, counts: Counter[str]
    ) -> list[Case]:
        """Put back the files that a sentence names; the cases that no sentence has named yet."""
        named = [case for case in left if str(places[case]) in sentence]
        if len(sentence.splitlines()) != 1 or not named:
            labels = "; ".join(map(str, left))
            self.figures.problem(f"{labels}: no single sentence that names a damaged file: {sentence}")
            counts["no sentence"] += len(left)
            named = left
        for case in named:
            counts["sentence"] += 1
            print(f"sentence      {case}: {sentence}", flush=True)
            self.put_back(places[case])
        return [case for case in left if case not in named]

    def judge(
        self, left: list[Case], places: dict[Case, Path], outcomes: list[Outcome], counts: Counter[str]
    ) -> None:
        """Whether each damage that no run has ended with was told, by name."""
        lines = [line for each in outcomes for some in each.damaged.values() for line in some]
        said = [line for each in outcomes for line in each.said.splitlines() if not line.endswith(": kept")]
        told = "\n".join([*lines, *said])
        busy = {job for each in outcomes for job in (*each.ran, *each.damaged)}
        for case in left:
            path = places[case]
            if case.kind in ("settings", "table settings"):
                state = "written again" if is_whole(path) or not path.exists() else ""
            elif str(path) in told:
                state = "made again"
            elif case.kind in READERS:
                state = "read" if READERS[case.kind] in busy else ""
            else:
                state = "made again" if JOBS[case.kind] & busy else ""
            if not state:
                self.figures.problem(f"{case}: believed; {sorted(busy)} ran, {told[-500:]}")
            counts[state or "silent"] += 1
            print(f"{state or 'SILENT':13s} {case}: {sorted(busy)}", flush=True)

    def judge_all(self, label: str, rest: Callable[[], Outcome]) -> None:
        """That nothing is left of a batch."""
        if (scores(self.project), score_cells(self.project)) != self.expected:
            self.figures.problem(f"{label}: another number")
        now = self.bytes_alike()
        others = [name for name in {*now, *self.alike} if now.get(name) != self.alike.get(name)]
        if others:
            self.figures.problem(f"{label}: other bytes in {sorted(others)}")
        found = damaged_jobs(Plan(load_config("config/config.yaml")))
        if found:
            self.figures.problem(f"{label}: still damaged: {found}")
        again = self.run(rest)
        if again.ran or again.damaged or again.sentence:
            self.figures.problem(f"{label}: a second run had something to do: {again}")
        # The journal of a scoring that ended with a sentence stays: the next scoring goes on with it.
        kept = (".lock", ".journal")
        hidden = (path for path in Path("results").rglob(".*") if path.is_file())
        beside = [str(path) for path in hidden if not path.name.endswith(kept)]
        if beside:
            self.figures.problem(f"{label}: temporary files stay: {beside}")

    def bytes_alike(self) -> dict[str, bytes]:
        results = self.project / "results"
        return {
            str(path.relative_to(results)): _content(path)
            for pattern in ALIKE
            for path in results.glob(pattern)
            if path.is_file() and not path.name.startswith(".") and "training" not in path.parts
        }

    def put_back(self, path: Path) -> None:
        """The undisturbed file with its time."""
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        path.unlink(missing_ok=True)
        shutil.copy2(self.whole / path, path, follow_symlinks=False)

    def restore(self) -> None:
        """Everything as after the undisturbed run."""
        for name in ("results", ".snakemake"):
            if (self.whole / name).exists():
                shutil.rmtree(name, ignore_errors=True)
                shutil.copytree(self.whole / name, name, symlinks=True)

    def note(self) -> None:
        by_part = {part: dict(counts) for part, counts in self.counts.items()}
        total = sum(counts["all"] for counts in self.counts.values())
        self.figures.note(damages={"all": total, **by_part, **self.clock.spent()})


def through_snakemake() -> Outcome:
    """A run of the working directory's project by snakemake itself."""
    log = Path("..").resolve() / "damaged.log"
    status = start_snakemake(Path.cwd(), TABLE, log).wait()
    said = log.read_text(errors="replace")
    outcome = Outcome(said=said)
    outcome.ran = [name for line in said.splitlines() if (name := _job_of(line))]
    lines = [line.removeprefix("damaged: ") for line in said.splitlines() if line.startswith("damaged: ")]
    if lines:
        outcome.damaged = {"": lines}
    if status:
        sentences = [line.strip() for line in said.splitlines() if line.strip().startswith("error: ")]
        outcome.sentence = sentences[0] if sentences else _workflow_error(said)
    return outcome


def _job_of(line: str) -> str:
    """The name of the job that a line of snakemake's log starts, as `workflow.jobs.recheck` has it."""
    step = re.search(r"-m workflow\.steps\.(\w+) --settings (\S+)", line)
    if step is None:
        return ""
    if step[1] == "score":
        return "score." + re.search(r"--textures \S*/(\w+)", line)[1]
    return "quality" if step[1] == "quality" else Path(step[2]).stem.rpartition(".")[0]


def _workflow_error(said: str) -> str:
    """What snakemake printed of an error before any job ran."""
    found = re.search(r"^WorkflowError.*?:\n(.+?)$", said, re.M | re.S)
    return found[1].strip() if found else said.strip().splitlines()[-1]


def _content(path: Path) -> bytes:
    """The bytes of a file; of safetensors those of the tensors, for its header has no fixed order."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :] if path.suffix == ".safetensors" else data


def _hangs(number: int, frame: object) -> None:
    raise TimeoutError(f"a run took over {SECONDS} s")

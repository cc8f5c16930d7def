"""A tiny run as snakemake would do it again, in this process: the jobs that it would start, in order.

What makes a job run is what makes Snakemake run it: an output that is missing, an input that is newer or was
made again, and damage that `workflow.jobs.recheck` finds. The tests compare it with snakemake itself.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from workflow.config.configuration import load_config
from workflow.config.kinds import ADAPTER_FILE
from workflow.jobs.link_loops import refuse_link_loops
from workflow.jobs.plan import Plan
from workflow.jobs.recheck import damaged_jobs
from workflow.runtime.step_errors import plain_sentence, run_step


@dataclass
class Outcome:
    """sentence: how the run ended, "" when well. ran: names of the jobs. said: all that was printed.
    damaged: what was found before the run, sentences by job."""

    sentence: str = ""
    ran: list[str] = field(default_factory=list)
    said: str = ""
    damaged: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Job:
    """One step with what it reads and writes. name: as `workflow.jobs.recheck` calls it."""

    name: str
    step: str
    settings: list[str]
    rest: list[str]
    needs: list[Path]
    outputs: list[Path]

    @property
    def arguments(self) -> list[str]:
        threads = ["--threads", "1"] if self.step in ("finetune", "texture", "score") else []
        return ["--settings", *self.settings, *self.rest, *threads]


class Jobs:
    """All jobs of a plan up to the table, in the order in which they can run, with their settings written."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.results = plan, Path(plan.config.results)
        self.jobs = dict(plan.all_jobs())
        self.place = ["--meshes", f"{self.results}/meshes"]
        self.meshes = {
            name: [self.results / "meshes" / name / file for file in ("mesh.npz", "geometry.npz")]
            for name in plan.meshes
        }
        self.manifests = {name: self.results / "textures" / name / "shard-0.json" for name in plan.methods}
        self.scores = {
            name: [self.results / "scores" / metric / f"{name}.tsv" for metric in plan.metrics]
            for name in plan.methods
        }
        self.judged = [file for mesh in plan.meshes_of(plan.assets) for file in self.meshes[mesh]]

    def written(self, stem: str) -> str:
        return self.plan.write_settings(stem, self.jobs[stem])

    def all(self) -> list[Job]:
        return [
            *map(self.mesh, self.plan.meshes),
            *map(self.model, self.plan.models),
            *map(self.texture, self.plan.methods),
            *map(self.score, self.plan.methods),
            self.quality(),
            self.table(),
        ]

    def mesh(self, name: str) -> Job:
        settings = self.written(f"mesh.{name}")
        out = self.results / "meshes" / name
        outputs = [*self.meshes[name], out / "mesh.json", out / "preview.png"]
        return Job(f"mesh.{name}", "prepare_mesh", [settings], ["--out", str(out)], [], outputs)

    def model(self, name: str) -> Job:
        settings = self.written(f"model.{name}")
        out = self.results / "models" / name
        needs = [file for mesh in self.plan.model_meshes(name) for file in self.meshes[mesh]]
        rest = [*self.place, "--work", f"{self.results}/training/{name}", "--out", str(out)]
        rest += ["--code", self.jobs[f"model.{name}"].code()]
        outputs = [out / ADAPTER_FILE, out / "history.jsonl", out / "config.json"]
        return Job(f"model.{name}", "finetune", [settings], rest, needs, outputs)

    def texture(self, name: str) -> Job:
        settings = self.written(f"texture.{name}.0")
        model = self.plan.config.methods[name].model
        needs = [*self.judged, *([self.results / "models" / model / ADAPTER_FILE] if model else [])]
        rest = [*self.place, "--models", f"{self.results}/models"]
        rest += ["--out", f"{self.results}/textures/{name}", "--manifest", str(self.manifests[name])]
        rest += ["--code", self.jobs[f"texture.{name}.0"].code()]
        return Job(f"texture.{name}.0", "texture", [settings], rest, needs, [self.manifests[name]])

    def score(self, name: str) -> Job:
        metrics = self.plan.metrics
        settings = [self.written(f"score.{each}") for each in metrics]
        code = [f"{each}={self.jobs[f'score.{each}'].code()}" for each in metrics]
        rest = [*self.place, "--textures", f"{self.results}/textures/{name}"]
        rest += ["--out", f"{self.results}/scores", "--code", *code]
        return Job(f"score.{name}", "score", settings, rest, [self.manifests[name]], self.scores[name])

    def quality(self) -> Job:
        settings = self.written("table")
        outputs = [self.results / "quality.tsv", self.results / "quality.json"]
        rest = ["--results", str(self.results), "--out", str(outputs[0])]
        return Job("quality", "quality", [settings], rest, [*self.manifests.values(), *self.judged], outputs)

    def table(self) -> Job:
        settings = self.written("table")
        quality = self.results / "quality.tsv"
        endings = {"markdown": "md", "csv": "csv", "text": "txt", "latex": "tex", "html": "html"}
        tables = {option: self.results / f"table.{ending}" for option, ending in endings.items()}
        rest = ["--results", str(self.results), "--quality", str(quality)]
        rest += [word for option, path in tables.items() for word in (f"--{option}", str(path))]
        needs = [*self.manifests.values(), *(path for some in self.scores.values() for path in some), quality]
        needs += [self.results / "models" / name / "history.jsonl" for name in self.plan.models]
        return Job("table", "table", [settings], rest, needs, list(tables.values()))


def run_again() -> Outcome:
    """Run what the working directory's project needs up to its table; ends at the first job that fails."""
    outcome = Outcome()
    try:
        plan = Plan(load_config("config/config.yaml"))
        refuse_link_loops(plan)
        todo = Jobs(plan).all()
        outcome.damaged = damaged_jobs(plan)
    except Exception as error:  # as the Snakefile shows it
        outcome.sentence = plain_sentence(error) or ""
        if not outcome.sentence:
            raise
        return outcome
    made: set[Path] = set()
    for job in todo:
        if job.name not in outcome.damaged and not needed(job, made):
            continue
        status, said = run_job(job.step, job.arguments)
        outcome.ran.append(job.name)
        outcome.said += said
        if status > 128:  # a signal to this process, which the step took for its own
            raise KeyboardInterrupt(said)
        if status != 0:
            outcome.sentence = said.strip().splitlines()[-1]
            return outcome
        made.update(job.outputs)
        for path in job.outputs:  # Snakemake gives outputs the time of now
            path.touch()
    return outcome


def needed(job: Job, made: set[Path]) -> bool:
    """Whether Snakemake would run a job."""
    if made.intersection(job.needs) or not all(path.exists() for path in job.outputs):
        return True
    times = [path.stat().st_mtime_ns for path in job.needs if path.exists()]
    return max(times, default=0) > min(path.stat().st_mtime_ns for path in job.outputs)


def run_job(step: str, arguments: Sequence[str]) -> tuple[int, str]:
    """(status, what it printed) of one step."""
    module = import_module(f"workflow.steps.{step}")
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = run_step(lambda: module.main(list(arguments)))
    return status, said.getvalue()

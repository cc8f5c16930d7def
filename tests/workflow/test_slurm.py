"""The workflow on a real SLURM: controller, node and munge on this machine (tests/slurm/cluster.sh).

Skipped with a reason where SLURM cannot be started: that takes root and Debian's slurmctld, slurmd and munge.
TEXREWARD_SLURM_SMOKE=1 also runs config/smoke.yaml with the shipped models, here and on SLURM (minutes each).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from reference.processes import step_process, wait_until
from reference.tiny_project import TRAINING_STEPS, finished, score_cells, scores, slow_down, trained_steps

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = ROOT / "tests" / "slurm" / "cluster.sh"
OWN = Path("/etc/slurm/slurm.conf")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch")
# What the shipped profile asks for is for real nodes; this machine is small.
SMALL = [
    "--workflow-profile", "profiles/slurm", "--slurm-no-account", "--slurm-init-seconds-before-status-checks",
    "1", "--seconds-between-status-checks", "1", "--latency-wait", "5", "--retries", "1",
    "--set-threads", "finetune=1", "texture=1", "score=1",
    "--set-resources", "finetune:mem_mb=1000", "texture:mem_mb=1000", "score:mem_mb=1000",
]  # fmt: skip


def why_not() -> str | None:
    """Why SLURM cannot be started here, or None."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if OWN.is_file() and "ClusterName=texreward-test" not in OWN.read_text():
        return "this machine has a SLURM of its own"
    if missing:
        return f"SLURM is not installed: {', '.join(missing)}"
    return None if os.geteuid() == 0 else "starting SLURM takes root"


pytestmark = [
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[Path]:
    """A running one-node cluster."""
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([CLUSTER, "start", folder], check=True)
    yield folder
    subprocess.run([CLUSTER, "stop", folder], check=True)


class Run:
    """One snakemake with the SLURM profile; its output goes to a file, so that it waits for no reader."""

    def __init__(self, project: Path, output: Path, targets: tuple[str, ...]) -> None:
        self.file = output
        with output.open("w") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *targets, *SMALL],
                cwd=project,
                env={**os.environ, "PYTHONPATH": str(project)},
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def output(self) -> str:
        """What it has printed so far."""
        return self.file.read_text()

    def finish(self, seconds: float) -> str:
        """Wait for its end, which must be a good one; all that it printed."""
        code = self.process.wait(timeout=seconds)
        assert code == 0, self.output()[-4000:]
        return self.output()


@pytest.fixture
def start(cluster: Path, project: Path, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts snakemake with the SLURM profile in the copied project; none outlives the test."""
    runs: list[Run] = []

    def run(*targets: str) -> Run:
        runs.append(Run(project, tmp_path / f"snakemake-{len(runs)}.txt", targets))
        return runs[-1]

    yield run
    for each in runs:
        if each.process.poll() is None:
            each.process.kill()
    subprocess.run(["scancel", "--full", "--user", "root"])


def submitted(output: str) -> list[str]:
    """SLURM ids of the jobs that a run submitted."""
    return re.findall(r"SLURM jobid (\d+)", output)


def shown(job: str) -> str:
    """SLURM's record of one job."""
    done = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True)
    return done.stdout


def test_every_rule_that_is_not_local_runs_as_a_slurm_job(small, start):
    output = start().finish(500)
    jobs = submitted(output)
    # 2 meshes, 1 model, 3 methods textured and scored, stages of one; tables and pictures are local.
    assert len(jobs) == 10
    gpus = [re.search(r"TresPerJob=gres:gpu:(\d)", shown(job)) for job in jobs]
    assert sum(each is not None for each in gpus) == 8  # all but the meshes
    assert all("JobState=COMPLETED" in shown(job) for job in jobs)
    assert (small / "results" / "table.md").is_file()
    assert "Nothing to be done" in start().finish(120)


def running(project: Path, step: str, of: str) -> tuple[psutil.Process, str]:
    """The process of a step in a project, as soon as there is one, and the id of its SLURM job."""
    process = step_process(project, step, of)
    return process, process.environ()["SLURM_JOB_ID"]


def start_now(job: str, seconds: float = 60) -> None:
    """Spare a requeued job the two minutes that SLURM lets it wait."""
    wait_until(lambda: "JobState=PENDING" in shown(job), seconds)
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)


def test_cancelled_requeued_and_left_over_jobs_end_in_the_scores_of_a_local_run(complete, start):
    """The real steps on tiny models, each interrupted in the middle of its work."""
    expected, cells = scores(complete), score_cells(complete)
    assert len(expected) == 4 and len(cells) == 2
    for name in ("results", ".snakemake"):
        shutil.rmtree(complete / name)
    slow_down(complete)
    results = complete / "results"
    first = start("results/table.md")

    # Cancelled in the middle of the training: snakemake submits it anew, and it goes on at its checkpoint.
    history = results / "training" / "tuned" / "history.jsonl"
    _, cancelled = running(complete, "finetune", "model.tuned")
    wait_until(lambda: history.is_file() and history.read_text().count("\n") >= 2)
    subprocess.run(["scancel", cancelled], check=True)
    wait_until(lambda: "JobState=CANCELLED" in shown(cancelled))
    assert not (results / "models" / "tuned" / "config.json").exists()

    # Requeued between two textures: SLURM starts the same job again, and it keeps the first texture.
    assets = results / "textures" / "tuned"
    _, requeued = running(complete, "texture", "texture.tuned.0")
    wait_until(lambda: list(assets.glob("*/run.json")))
    subprocess.run(["scontrol", "requeue", requeued], check=True)
    start_now(requeued)
    done = finished(complete)
    assert not (assets / "shard-0.json").exists()

    # Snakemake itself is killed while a job is at work: the job goes on, and the next run's waits for it.
    process, left = running(complete, "score", "textures/tuned")
    wait_until(lambda: list((results / "scores").glob("*/.tuned.tsv.*.journal")))
    process.suspend()
    first.process.kill()
    first.process.wait()
    second = start("results/table.md")
    log = results / "logs" / "score" / "tuned.log"
    wait_until(lambda: log.is_file() and "waiting for its end" in log.read_text(errors="replace"))
    process.resume()
    output = second.finish(500)

    assert scores(complete) == expected and score_cells(complete) == cells
    assert trained_steps(complete) == list(range(TRAINING_STEPS + 1))
    now = finished(complete)
    assert len(now) == 4 and {path: now[path] for path in done} == done
    jobs = submitted(first.output())
    assert {cancelled, requeued, left} <= set(jobs)
    assert "Restarts=1" in shown(requeued)
    assert all("JobState=COMPLETED" in shown(job) for job in (requeued, *submitted(output)))
    assert len(jobs) == 2 + 2 + 2 + 2  # meshes, the training twice, textured and scored methods
    assert "Nothing to be done" in start("results/table.md").finish(120)


@pytest.mark.skipif(not os.environ.get("TEXREWARD_SLURM_SMOKE"), reason="TEXREWARD_SLURM_SMOKE is not set")
@pytest.mark.timeout(5400)
def test_the_smoke_configuration_scores_the_same_here_and_on_slurm(project, start, snakemake):
    shutil.rmtree(project / "models")
    shutil.copytree(ROOT / "models", project / "models")
    smoke = ("results/smoke/table.md", "--configfile", "config/smoke.yaml")
    snakemake(*smoke)
    expected, cells = scores(project, "results/smoke"), score_cells(project, "results/smoke")
    assert len(expected) == 24 and len(cells) == 4
    for name in ("results", ".snakemake"):
        shutil.rmtree(project / name)
    jobs = submitted(start(*smoke).finish(3600))
    assert len(jobs) == 3 + 2 + 4 + 4  # meshes, models, textured and scored methods
    assert all("JobState=COMPLETED" in shown(job) for job in jobs)
    assert scores(project, "results/smoke") == expected
    assert score_cells(project, "results/smoke") == cells
    assert "Nothing to be done" in start(*smoke).finish(300)

"""The workflow on a real SLURM: controller, node and munge on this machine (tests/slurm/cluster.sh).

Skipped with a reason where SLURM cannot be started: that takes root and Debian's slurmctld, slurmd and munge.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CLUSTER = Path(__file__).resolve().parents[1] / "slurm" / "cluster.sh"
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
    if Path("/etc/slurm/slurm.conf").exists():
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
                env={**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"},
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
    # 2 meshes, 1 model, 3 methods textured and scored; the table and the overview are local.
    assert len(jobs) == 9
    gpus = [re.search(r"TresPerJob=gres:gpu:(\d)", shown(job)) for job in jobs]
    assert sum(each is not None for each in gpus) == 7  # all but the meshes
    assert all("JobState=COMPLETED" in shown(job) for job in jobs)
    assert (small / "results" / "table.md").is_file()
    assert "Nothing to be done" in start().finish(120)


def hold_up(project: Path, step: str, flag: Path) -> None:
    """Make the first job of a step wait for a long time, after it wrote its SLURM id into a flag."""
    path = project / "workflow" / "steps" / f"{step}.py"
    wait = (
        "import os, pathlib, sys, time\n"
        f"    flag = pathlib.Path({str(flag)!r})\n"
        "    try:\n"
        "        flag.open('x').close()\n"
        "        flag.write_text(os.environ['SLURM_JOB_ID'])\n"
        "        time.sleep(600)\n"
        "    except FileExistsError:\n"
        "        pass\n"
    )
    text = path.read_text()
    assert "import pathlib, sys\n" in text
    path.write_text(text.replace("import pathlib, sys\n", wait, 1))


def held_up(run: Run, flag: Path, seconds: float = 400) -> str:
    """Id of the job that waits, as soon as it does."""
    end = time.monotonic() + seconds
    while not (flag.exists() and flag.read_text()):
        assert run.process.poll() is None, run.output()[-4000:]
        if time.monotonic() > end:
            queue = subprocess.run(["squeue", "--format=%i %k %T %r"], capture_output=True, text=True)
            raise AssertionError(f"{flag.name}: not yet\n{queue.stdout}\n{run.output()[-4000:]}")
        time.sleep(0.3)
    return flag.read_text()


def start_now(job: str, seconds: float = 60) -> None:
    """Spare a requeued job the two minutes that SLURM lets it wait."""
    end = time.monotonic() + seconds
    while "JobState=PENDING" not in shown(job):
        assert time.monotonic() < end, shown(job)
        time.sleep(0.3)
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)


def test_jobs_that_are_cancelled_or_requeued_half_way_run_again(small, start, tmp_path):
    flags = {step: tmp_path / f"{step}-ran-once" for step in ("finetune", "texture")}
    for step, flag in flags.items():
        hold_up(small, step, flag)
    manifest = "results/textures/tuned/shard-0.json"
    run = start(manifest)
    subprocess.run(["scancel", held_up(run, flags["finetune"])], check=True)
    requeued = held_up(run, flags["texture"])
    subprocess.run(["scontrol", "requeue", requeued], check=True)
    start_now(requeued)
    output = run.finish(500)
    # Two meshes, training, texturing; the cancelled job was submitted anew, the requeued one kept its id.
    assert len(submitted(output)) == 5
    assert (small / manifest).is_file()

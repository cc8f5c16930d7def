"""Runs whose jobs are forked from this process, so that one costs a second instead of a minute.

A driver takes Snakemake's part: it starts, one after the other, the jobs that a run needs, each in a process
of its own, takes their declared outputs away before they run and when they fail, and runs a job again that it
did not see end. The steps, their records, locks and signals are the real ones; they need not load torch anew.
"""

from __future__ import annotations

import mmap
import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import psutil
from reference.local_run import Job, Jobs, needed

from workflow.config.configuration import load_config
from workflow.jobs.plan import Plan
from workflow.jobs.recheck import damaged_jobs
from workflow.runtime.step_errors import plain_sentence, run_step

STEPS = ("prepare_mesh", "finetune", "texture", "score", "quality", "table")
STOPPING = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
# What a process tells before it changes the disk; a kill may come before any of them.
WRITES = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.utime",
    "shutil.copyfile",
}


def load_steps() -> None:
    """Import what the jobs need, once for all that are forked."""
    for step in STEPS:
        import_module(f"workflow.steps.{step}")
    for module in ("diffusers", "transformers", "rewards.rendered", "workflow.steps.loading"):
        import_module(module)


class Writings:
    """How often the jobs of a run were about to change the disk, and before which of these to kill."""

    LAYOUT = "qqq"

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, struct.calcsize(self.LAYOUT))
        self.arm(-1)

    def arm(self, at: int, alone: bool = False) -> None:
        """Count from the start again; kill before the given one (-1: none) the run, or the job alone."""
        self.memory[:] = struct.pack(self.LAYOUT, 0, at, alone)

    def count(self) -> int:
        return struct.unpack(self.LAYOUT, self.memory[:])[0]

    def watch(self) -> None:
        """In a forked job: count, and die when it is time."""

        def hook(event: str, given: tuple) -> None:
            if event in WRITES or (event == "open" and _writes(given)):
                done, at, alone = struct.unpack(self.LAYOUT, self.memory[:])
                self.memory[:8] = struct.pack("q", done + 1)
                if done == at:
                    os.kill(os.getpid() if alone else -os.getpgid(0), signal.SIGKILL)

        sys.addaudithook(hook)


def _writes(given: tuple) -> bool:
    flags = given[2]
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


class ForkedRun:
    """A run in a process group of its own, as `subprocess.Popen` is one of snakemake."""

    def __init__(self, project: Path, log: Path, writings: Writings) -> None:
        self.returncode: int | None = None
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _drive(project, log, writings)
        try:
            os.setpgid(self.pid, self.pid)
        except OSError:  # the driver was faster
            pass

    def poll(self) -> int | None:
        if self.returncode is None:
            found, status = os.waitpid(self.pid, os.WNOHANG)
            if found:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Raises TimeoutError."""
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise TimeoutError(f"process {self.pid} did not end in {timeout:g} s")
            time.sleep(0.01)
        return self.returncode

    def jobs(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.pid).children()
        except psutil.Error:
            return []


def _drive(project: Path, log: Path, writings: Writings) -> None:
    """All of a run; never returns."""
    os.setpgid(0, 0)
    status = 1
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for number in STOPPING:
            signal.signal(number, signal.SIG_DFL)
        os.chdir(project)
        status = _run_jobs(writings)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _run_jobs(writings: Writings) -> int:
    try:
        plan = Plan(load_config("config/config.yaml"))
        jobs = Jobs(plan).all()
        damaged = damaged_jobs(plan)
    except Exception as error:  # as the Snakefile shows it
        if plain_sentence(error) is None:
            raise
        print(f"error: {plain_sentence(error)}", flush=True)
        return 1
    begun = Path(plan.config.results).with_name("begun")
    begun.mkdir(exist_ok=True)
    made: set[Path] = set()
    for job in jobs:
        mark = begun / job.name
        if mark.exists() or job.name in damaged or needed(job, made):
            if damaged.get(job.name):
                print(f"damaged: {damaged[job.name][0]}", flush=True)
            mark.touch()
            _remove(job)
            status = _fork(job, writings)
            if status:
                _remove(job)
                print(f"{job.name} ended with {status}", flush=True)
                return 1
            for path in job.outputs:
                path.touch()
            made.update(job.outputs)
        mark.unlink(missing_ok=True)
    return 0


def _remove(job: Job) -> None:
    for path in job.outputs:
        path.unlink(missing_ok=True)


def _fork(job: Job, writings: Writings) -> int:
    """The exit status of a job in a process of its own, as a shell gives it."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            writings.watch()
            status = run_step(_unblocked(job))
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    signal.pthread_sigmask(signal.SIG_SETMASK, old)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _unblocked(job: Job) -> Callable[[], int]:
    """The main of a job's step, in which signals arrive, and not before and behind it."""
    module = import_module(f"workflow.steps.{job.step}")

    def main() -> int:
        print(f"{job.name} begins", flush=True)
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
            return module.main(list(job.arguments))
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)

    return main

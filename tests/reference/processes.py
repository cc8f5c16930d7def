"""Processes of steps that snakemake or SLURM has started, for tests that interrupt them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import psutil


def step_process(project: Path, step: str, of: str = "", seconds: float = 300) -> psutil.Process:
    """The Python process of a step that works in a project, as soon as there is one.

    of: what its command line holds besides, e.g. the method.
    """
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        # Of a process that has just ended this gives no command line, where cmdline() would raise.
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = process.info["cmdline"] or []
            right = words[1:4] == ["-P", "-m", f"workflow.steps.{step}"] and of in " ".join(words)
            if right and process.info["cwd"] == str(project):
                return process
        time.sleep(0.3)  # to look through all processes takes a while itself
    raise AssertionError(f"no process of workflow.steps.{step}")


def wait_until(condition: Callable[[], object], seconds: float = 200) -> None:
    """Wait until a condition is true; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)

"""Runs an adapter's processes with a log and a time limit, and says in one sentence what went wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from baselines.official.adapter import Command, OfficialError, ProgramAdapter
from baselines.precomputed import TexturedPart
from texgen.mesh.mesh import Mesh

POLL = 0.1  # seconds between looks at a process; every 20th also looks at memory


@dataclass(frozen=True)
class ProgramOutcome:
    """What a run gave. parts: textured mesh in the working frame. seconds: of the whole processes, loading
    included. peak_memory_bytes: on a GPU by nvidia-smi, else resident; None where neither tells. revision: of
    the checkout. kept: not run again, since the folder held the outcome of the same run."""

    parts: list[TexturedPart]
    seconds: float
    peak_memory_bytes: int | None
    revision: str
    kept: bool


def run_official(
    adapter: ProgramAdapter, mesh: Mesh, prompt: str, seed: int, workdir: Path, timeout: float
) -> ProgramOutcome:
    """Prepare, run, collect. workdir keeps inputs, output and log.txt; what it holds of the same run (mesh,
    prompt, seed, arguments, commit, adapter) is collected and not run again, for these runs are expensive.

    timeout: seconds for all processes of the asset together.
    Raises OfficialError, one sentence, for everything that the program or its set-up did wrong.
    """
    workdir = Path(workdir).absolute()
    key, finished = adapter.key_of(mesh, prompt, seed), workdir / "done.json"
    done = _read(finished)
    if done.get("key") == key:
        try:
            parts = adapter.collect(workdir, mesh, done["started"])
            return ProgramOutcome(parts, done["seconds"], done["peak_memory_bytes"], adapter.revision(), True)
        except OfficialError as error:
            print(f"{error} It is run again.", flush=True)
    problems = adapter.health()
    if problems:
        raise OfficialError(" ".join(problems))
    adapter.prepare(mesh, prompt, seed, workdir)
    started, clock, peak = time.time(), time.perf_counter(), 0
    for command in adapter.commands(workdir):
        left = timeout - (time.perf_counter() - clock)
        peak = max(peak, run_process(adapter.program.name, command, workdir / "log.txt", left, timeout))
    seconds = time.perf_counter() - clock
    parts = adapter.collect(workdir, mesh, started)
    done = {"key": key, "started": started, "seconds": seconds, "peak_memory_bytes": peak or None}
    finished.write_text(json.dumps(done, indent=1))  # last: what cannot be collected is run again
    return ProgramOutcome(parts, seconds, peak or None, adapter.revision(), False)


def run_process(name: str, command: Command, log: Path, left: float, timeout: float) -> int:
    """Run one process to its end; returns its peak memory in bytes, 0 where that is not known.

    Its output goes to the end of `log`. Raises OfficialError when it cannot start, fails, or takes longer
    than `left` seconds; the process and all that it started are then ended.
    """
    environment = {**os.environ, **command.env}
    for variable in ("PYTHONHOME", "VIRTUAL_ENV"):
        environment.pop(variable, None)
    memory, deadline = PeakMemory(), time.perf_counter() + left
    with open(log, "a", encoding="utf-8", errors="replace") as stream:
        print("$", *command.argv, file=stream, flush=True)
        try:
            process = subprocess.Popen(
                command.argv,
                cwd=command.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise OfficialError(f"{name}: {command.argv[0]} cannot be started ({error.strerror}).") from error
        try:
            while process.poll() is None:
                if time.perf_counter() > deadline:
                    raise OfficialError(
                        f"{name}: was stopped after {timeout:.0f} s, its time limit; raise timeout in the "
                        f"method's block if it was still at work (log: {log})."
                    )
                memory.look(process.pid)
                try:
                    process.wait(POLL)
                except subprocess.TimeoutExpired:
                    pass
        finally:
            end_group(process)
    if process.returncode < 0:
        what = signal.Signals(-process.returncode).name
        raise OfficialError(f"{name}: was ended by {what}, often for lack of memory (log: {log}).")
    if process.returncode > 0:
        raise OfficialError(
            f"{name}: ended with status {process.returncode}: {last_words(log)} (log: {log})."
        )
    return memory.peak


def end_group(process: subprocess.Popen) -> None:
    """End what is left of a process and its children: first asked, then, after some seconds, made to."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sent)
        except (ProcessLookupError, PermissionError):
            return  # nothing of the group is left
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            pass


def last_words(log: Path) -> str:
    """The line of a log that says most about a failure: the last one that names an error, else the last."""
    text = log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("$ ")]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Interrupt)\b", line)]
    words = (named or lines or ["it printed nothing"])[-1]
    return words[:300].rstrip(".")


class PeakMemory:
    """The most memory that a process and its children were seen to hold, on GPUs if there are any."""

    def __init__(self) -> None:
        self.peak, self._looks, self._gpu = 0, 0, shutil.which("nvidia-smi") is not None

    def look(self, pid: int) -> None:
        """Look now; pid leads the processes' group."""
        self._looks += 1
        if self._gpu and self._looks % 20 == 1:
            self.peak = max(self.peak, gpu_bytes(pid))
        elif not self._gpu:
            self.peak = max(self.peak, resident_bytes(pid))


def gpu_bytes(group: int) -> int:
    """GPU memory that the processes of a group hold, by nvidia-smi; 0 where it does not know them."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"]
    found = subprocess.run(query, capture_output=True, text=True)
    total = 0
    for line in found.stdout.splitlines():
        pid, _, mebibytes = line.partition(",")
        try:
            if os.getpgid(int(pid)) == group:
                total += int(mebibytes) * 2**20
        except (ValueError, ProcessLookupError):
            continue  # of another container, or just ended
    return total


def resident_bytes(pid: int) -> int:
    """Largest resident size of one process so far; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return {}

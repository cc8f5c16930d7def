"""Jobs as forks of one process: they are told from processes of their own by nothing but their start."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.core_seconds import by_step, main
from workflow.runtime import warm

pytestmark = pytest.mark.skipif(not warm.usable(), reason="no forks of warm processes here")
ROOT = Path(__file__).parents[2]
# A step: what it does is its first argument.
STEP = """
import os, signal, sys, time
from pathlib import Path

from workflow.runtime.step_errors import run_step

def main():
    kind, *rest = sys.argv[1:]
    print(kind, os.getcwd(), os.environ.get("TMPDIR"), sys.stdin.read(), rest, flush=True)
    if kind == "fails":
        raise ZeroDivisionError("of no use")
    if kind == "leaves":
        sys.exit(7)
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "waits":
        Path(rest[0]).write_text(str(os.getpid()))
        time.sleep(60)
    return 0

if __name__ == "__main__":
    sys.exit(run_step(main))
"""
CLIENT = (
    "import sys; from workflow.runtime import warm; s = warm.remote_status(*sys.argv[1:3], sys.argv[3:]);"
)
CLIENT += "sys.exit(99 if s is None else s)"


class Served:
    """A server that knows a step of these tests, and processes that ask it."""

    def __init__(self, folder: Path) -> None:
        (folder / "one_step.py").write_text(STEP)
        self.folder, self.record, self.server = folder, folder / "jobs.jsonl", warm.LibraryServer()
        self.set = {"PYTHONPATH": f"{ROOT}:{folder}", "OMP_NUM_THREADS": "1"}
        self.set["PYTEST_CURRENT_TEST"] = "the same for all"  # pytest changes it after the fixtures
        self.server.start(self.record, self.set)

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, **self.set, **more}

    def ask(self, *words: str, **more: str) -> subprocess.Popen:
        command = [sys.executable, "-c", CLIENT, os.environ[warm.ADDRESS], "one_step", *words]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        asking = subprocess.Popen(command, cwd=self.folder, env=self.environment(**more), text=True, **pipes)
        asking.stdin.write("given")
        asking.stdin.close()
        return asking

    def lines(self) -> list[dict]:
        self.server.stop()
        return [json.loads(line) for line in self.record.read_text().splitlines()]


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    yield made
    made.server.stop()


def waiting_pid(path: Path) -> int:
    end = time.monotonic() + 60
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    return int(path.read_text())


def gone(pid: int) -> bool:
    end = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def test_a_job_has_the_folder_files_and_words_of_who_asked_and_its_cost_is_noted(served):
    first, second = served.ask("works", "a b", TMPDIR="/somewhere"), served.ask("works")
    assert first.stdout.read() == f"works {served.folder} /somewhere given ['a b']\n"
    assert (first.wait(60), second.wait(60)) == (0, 0)
    *jobs, libraries = served.lines()
    assert [(job["step"], job["status"]) for job in jobs] == [("one_step", 0)] * 2
    assert all(0 <= job["core_seconds"] < 30 and job["peak_kilobytes"] > 1000 for job in jobs)
    assert libraries["step"] == "libraries" and libraries["core_seconds"] > 0


def test_it_ends_as_its_job_ends(served):
    failing, leaving, killed = (served.ask(kind) for kind in ("fails", "leaves", "killed"))
    assert "ZeroDivisionError: of no use" in failing.stderr.read()
    assert (failing.wait(60), leaving.wait(60), killed.wait(60)) == (1, 7, 137)


def test_signals_reach_the_job_and_a_killed_asker_takes_it_along(served):
    stopped, killed = served.ask("waits", "one"), served.ask("waits", "two")
    pids = [waiting_pid(served.folder / name) for name in ("one", "two")]
    stopped.send_signal(signal.SIGTERM)
    assert "stopped by SIGTERM" in stopped.stderr.read()
    assert stopped.wait(60) == 143
    killed.kill()
    assert all(gone(pid) for pid in pids)
    assert sorted(job["status"] for job in served.lines()[:-1]) == [137, 143]


def test_a_killed_server_takes_its_jobs_along(served):
    asking = served.ask("waits", "one")
    pid = waiting_pid(served.folder / "one")
    served.server.process.kill()
    assert asking.wait(60) == 137
    assert gone(pid)


def test_a_run_that_is_broken_off_does_not_wait_for_its_jobs(served):
    asking = served.ask("waits", "one")
    pid = waiting_pid(served.folder / "one")
    server = served.server.process
    served.server.stop(patience=0.1)
    assert server.poll() is None and asking.poll() is None
    os.kill(pid, signal.SIGKILL)
    assert asking.wait(60) == 137
    assert server.wait(60) == 0


def test_it_declines_what_a_fork_cannot_be(served):
    assert served.ask("works", OMP_NUM_THREADS="2").wait(60) == 99  # read when libraries are loaded
    address = os.environ[warm.ADDRESS]
    served.server.stop()
    assert warm.remote_status(address, "one_step", []) is None
    assert warm.ADDRESS not in os.environ


def test_a_step_of_a_run_asks_the_server_and_says_the_same(served):
    command = [sys.executable, "-P", "-m", "workflow.steps.quality", "--help"]
    served.record.unlink(missing_ok=True)
    warmed = subprocess.run(command, env=served.environment(), capture_output=True, text=True)
    alone = subprocess.run(
        command, env=served.environment(TEXREWARD_WARM="0"), capture_output=True, text=True
    )
    assert (warmed.returncode, warmed.stdout, warmed.stderr) == (0, alone.stdout, alone.stderr)
    assert [job["step"] for job in served.lines()] == ["quality", "libraries"]


def test_costs_are_added_by_step(served, capsys):
    for kind in ("works", "works", "leaves"):
        served.ask(kind).wait(60)
    served.lines()
    folder = served.folder / "results" / "benchmarks"
    folder.mkdir(parents=True)
    served.record.rename(folder / "jobs.jsonl")
    rows = {step: (jobs, seconds) for step, jobs, seconds, _ in by_step(folder / "jobs.jsonl")}
    assert rows.keys() == {"one_step", "libraries"} and rows["one_step"][0] == 3
    assert main([str(folder.parent)]) == 0
    assert "| one_step | 3 |" in capsys.readouterr().out

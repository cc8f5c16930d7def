"""Jobs on one machine take different GPUs; locks end with who holds them."""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yte

from workflow.runtime.devices import claim_gpu, device_name, visible_gpus
from workflow.runtime.locking import BusyError, lock_folder, work_alone

ROOT = Path(__file__).resolve().parents[2]


SMI = "#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A (UUID: y)'\necho '  MIG 1g.10gb Device 0'\n"
# A job: waits for a GPU, says which, works until it is told to stop.
JOB = """
import os, sys
from workflow.runtime.devices import claim_gpu
claim = claim_gpu(folder=sys.argv[1], wait=0.05)
print(os.environ.get("CUDA_VISIBLE_DEVICES"), claim is not None, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def driver(tmp_path) -> Path:
    """A folder with an `nvidia-smi` that lists two GPUs."""
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(SMI)
    (folder / "nvidia-smi").chmod(0o755)
    return folder


@pytest.fixture
def job(tmp_path, driver):
    """Starts jobs as processes on a machine with two GPUs."""
    locks = tmp_path / "locks"
    locks.mkdir()
    jobs = []

    def start(**environment: str) -> subprocess.Popen:
        inherited = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID")}
        path = f"{driver}:{os.environ['PATH']}"
        jobs.append(
            subprocess.Popen(
                [sys.executable, "-c", JOB, str(locks)],
                env={**inherited, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        return jobs[-1]

    yield start
    for each in jobs:
        each.kill()
        each.communicate()


def answer(process: subprocess.Popen, seconds: float = 60) -> str:
    """The line that a job says as soon as it has its GPU; empty when it has none in that time."""
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline().strip() if ready else ""


def test_jobs_claim_different_gpus_and_a_killed_one_gives_its_back(job):
    first, second = job(), job()
    taken = {answer(first): first, answer(second): second}
    assert set(taken) == {"0 True", "1 True"}
    third = job()
    assert answer(third, 3) == ""  # waits: both are taken
    taken["1 True"].send_signal(signal.SIGKILL)
    assert answer(third) == "1 True"
    fourth = job()
    taken["0 True"].communicate("stop\n")
    assert answer(fourth) == "0 True"


def test_an_inherited_choice_is_honoured(job):
    assert answer(job(CUDA_VISIBLE_DEVICES="3")) == "3 False"
    assert answer(job(CUDA_VISIBLE_DEVICES="")) == "False"
    # Of several that were given, each job takes one, and never another one.
    given = "GPU-aa/b, 7,-1,0"
    assert [answer(job(CUDA_VISIBLE_DEVICES=given)) for _ in range(2)] == ["GPU-aa/b True", "7 True"]
    assert answer(job(CUDA_VISIBLE_DEVICES=given), 3) == ""
    # Two SLURM jobs on one node may both call their GPUs 0 and 1.
    others = [job(CUDA_VISIBLE_DEVICES="0,1", SLURM_JOB_ID=name) for name in "ab"]
    assert [answer(each) for each in others] == ["0 True", "0 True"]
    # Where SLURM gives none out, all jobs of a node choose among all of them.
    assert [answer(job(SLURM_JOB_ID=name)) for name in "cd"] == ["0 True", "1 True"]


@pytest.mark.parametrize(
    ("given", "names"),
    [(None, ["0", "1"]), ("1", ["1"]), ("1,0", ["1", "0"]), ("", []), ("-1", []), ("0,-1,1", ["0"])],
)
def test_gpus_are_those_of_the_driver_or_of_the_environment(given, names, driver, monkeypatch):
    monkeypatch.setenv("PATH", str(driver), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert visible_gpus() == names
    # The default profile caps GPU jobs at their number.
    profile = yte.process_yaml((ROOT / "profiles" / "default" / "profile.yaml").read_text())
    assert profile["resources"] == {"gpu": len(names)}


def test_without_a_driver_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == [] and claim_gpu(folder=tmp_path) is None
    profile = yte.process_yaml((ROOT / "profiles" / "default" / "profile.yaml").read_text())
    assert profile["resources"] == {"gpu": 0}


# Put into a step: note when it had which GPU.
NOTE = """
    import os, time
    from workflow.runtime.devices import claim_gpu
    claim = claim_gpu(wait=0.1)
    begun = time.time()
    time.sleep(2)
    with open("gpus.txt", "a") as notes:
        notes.write(f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {begun} {time.time()}\\n")
"""


def test_a_run_keeps_every_gpu_busy_with_one_job_at_a_time(small, driver, snakemake, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(driver), prepend=os.pathsep)
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where claims lie
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    step = small / "workflow" / "steps" / "texture.py"
    text = step.read_text()
    assert "    import pathlib, sys\n" in text
    step.write_text(text.replace("    import pathlib, sys\n", "    import pathlib, sys\n" + NOTE, 1))
    manifests = [f"results/textures/{method}/shard-0.json" for method in ("pretrained", "intex", "tuned")]
    snakemake(*manifests, "--cores", "4")
    notes = [line.split() for line in (small / "gpus.txt").read_text().splitlines()]
    assert len(notes) == 3 and {name for name, _, _ in notes} == {"0", "1"}
    for name, begun, ended in notes:
        for other, also_begun, _ in notes:
            if (name, begun) != (other, also_begun) and name == other:
                assert not float(begun) <= float(also_begun) < float(ended)


@pytest.mark.parametrize(("count", "end"), [(1, ", 1 thread"), (3, ", 3 threads")])
def test_the_device_has_a_name(monkeypatch, count, end):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    assert device_name("cpu").endswith(end)


def test_a_folder_is_locked_while_its_holder_lives(tmp_path):
    hold = (
        "from workflow.runtime.locking import lock_folder\n"
        f"lock_folder({str(tmp_path)!r})\n"
        "print('held', flush=True)\n"
        "input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match="Another run is working"):
        lock_folder(tmp_path)
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    lock_folder(tmp_path)


ALONE = """
import sys
from workflow.runtime.locking import work_alone
with work_alone(sys.argv[1]):
    print("alone", flush=True)
    sys.stdin.readline()
"""


def test_two_jobs_never_make_the_same_thing_at_a_time(tmp_path):
    def job(target: str) -> subprocess.Popen:
        command = [sys.executable, "-c", ALONE, str(tmp_path / "folder" / target)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    first = job("shard-0.json")
    assert answer(first) == "alone"
    second, other = job("shard-0.json"), job("shard-1.json")
    assert answer(other) == "alone"
    said = answer(second)
    assert said.endswith("shard-0.json: a job of an earlier run is still making it; waiting for its end.")
    assert answer(second, 1) == ""
    first.kill()
    assert answer(second) == "alone"
    for each in (first, second, other):
        each.communicate("stop\n")
    with work_alone(tmp_path / "folder" / "shard-0.json"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_used(number, tmp_path, monkeypatch, capfd):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("workflow.runtime.locking.fcntl.flock", refuse)
    lock_folder(tmp_path)
    with work_alone(tmp_path / "x.json"):
        pass
    assert capfd.readouterr().err.count("has no locks; start no second run") == 2

"""Memory that is used up in a step: one sentence, status 1, and what is finished stays."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reference.local_run import Jobs, run_again, run_job
from reference.outcomes import check_sentence
from reference.tiny_project import finished, score_cells, scores

from texgen.errors import DamagedFileError, damage_named
from workflow.config.configuration import load_config
from workflow.jobs.plan import Plan
from workflow.runtime.step_errors import concerns_machine, plain_sentence, run_step
from workflow.steps import texture

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = "the memory is used up; raise mem_mb of the rule"
ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("can't start new thread"),
]
# A step that may hold 64 MiB more than what it holds at its start, and asks for 4 GiB.
STEP = """
import resource, sys
from pathlib import Path
from workflow.runtime.step_errors import run_step
{first}

def main():
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + (64 << 20),) * 2)
    {ask}
    return 0

sys.exit(run_step(main))
"""
ASKS = {
    "Python": ("", "bytearray(4 << 30)"),
    "many small ones": ("", "[bytes(1 << 16) for _ in range(1 << 16)]"),
    "numpy": ("import numpy", "numpy.ones(1 << 29)"),
    "torch": ("import torch", "torch.ones(1 << 30)"),
}


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="no /proc to ask how much is held")
@pytest.mark.parametrize("ask", ASKS)
def test_a_step_that_asks_for_too_much_ends_with_one_line(ask):
    first, command = ASKS[ask]
    done = subprocess.run(
        [sys.executable, "-c", STEP.format(first=first, ask=command)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1 and not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {SENTENCE}")
    check_sentence(line)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:20] or "MemoryError")
def test_every_kind_of_it_is_known(error, capsys):
    def main() -> int:
        raise error

    assert run_step(main) == 1
    assert capsys.readouterr().err.startswith(f"error: {SENTENCE}")
    assert concerns_machine(error)
    with pytest.raises(type(error)), damage_named("x.safetensors"):  # never taken for a damaged file
        raise error


def test_what_only_sounds_like_it_is_not():
    assert plain_sentence(RuntimeError("a mistake of the code")) is None
    with pytest.raises(DamagedFileError), damage_named("x.safetensors"):
        raise RuntimeError("a header that is too large")


@pytest.mark.timeout(900)
def test_a_texturing_job_keeps_what_is_finished_and_goes_on_later(complete, monkeypatch):
    monkeypatch.chdir(complete)
    expected = scores(complete), score_cells(complete)
    before = finished(complete)
    job = next(each for each in Jobs(Plan(load_config("config/config.yaml"))).all() if each.step == "texture")
    folder = job.outputs[0].parent
    assets = sorted(path.parent for path in folder.glob("*/run.json"))
    assert len(assets) == 2
    shutil.rmtree(assets[-1])
    job.outputs[0].unlink()

    def use_up(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with monkeypatch.context() as patch:
        patch.setattr(texture, "texture_asset", use_up)
        status, said = run_job(job.step, job.arguments)
    assert status == 1 and said.strip().splitlines()[-1].startswith(f"error: {SENTENCE}")
    assert "Traceback" not in said
    assert not (assets[-1] / "run.json").exists() and not job.outputs[0].exists(), "it is not a failure"
    kept = str(complete / assets[0] / "run.json")
    assert finished(complete)[kept] == before[kept]
    assert not run_again().sentence
    assert finished(complete)[kept] == before[kept]
    assert (scores(complete), score_cells(complete)) == expected

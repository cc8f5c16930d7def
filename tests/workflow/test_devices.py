"""Jobs on one machine take different GPUs; locks end with who holds them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workflow.devices import claim_gpu, device_name, visible_gpus
from workflow.locking import BusyError, lock_folder


@pytest.fixture
def unset(monkeypatch):
    """Forget a claim, as another process would not know of it."""

    def forget():
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    forget()
    yield forget
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)


def test_jobs_claim_different_gpus_and_give_them_back(tmp_path, unset):
    first = claim_gpu(gpus=2, folder=tmp_path)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    unset()
    second = claim_gpu(gpus=2, folder=tmp_path)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "1"
    first.close()
    unset()
    third = claim_gpu(gpus=2, folder=tmp_path)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    second.close()
    third.close()


def test_a_schedulers_choice_and_single_gpus_are_left_alone(tmp_path, unset, monkeypatch):
    assert claim_gpu(gpus=1, folder=tmp_path) is None
    assert claim_gpu(gpus=0, folder=tmp_path) is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert claim_gpu(gpus=8, folder=tmp_path) is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
    assert list(tmp_path.iterdir()) == []


def test_gpus_are_counted_from_nvidia_smi(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_gpus() == 0
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: A (UUID: x)'\necho 'GPU 1: A (UUID: y)'\necho '  MIG 1g'\n")
    tool.chmod(0o755)
    assert visible_gpus() == 2


def test_the_device_has_a_name():
    assert "threads" in device_name("cpu")


def test_a_folder_is_locked_while_its_holder_lives(tmp_path):
    hold = (
        "from workflow.locking import lock_folder\n"
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

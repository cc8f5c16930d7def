"""Which device a job uses. Snakemake counts GPUs but does not hand them out, so each job takes a free one."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO


def visible_gpus() -> int:
    """Number of GPUs that `nvidia-smi` lists; 0 without a driver."""
    if shutil.which("nvidia-smi") is None:
        return 0
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return sum(line.startswith("GPU ") for line in found.stdout.splitlines())


def claim_gpu(gpus: int | None = None, folder: str | Path | None = None, wait: float = 1.0) -> IO | None:
    """Set CUDA_VISIBLE_DEVICES to a GPU that no other job of ours holds; call before CUDA is first used.

    The returned file keeps the claim for as long as it is open, at most the life of the process. Nothing is
    claimed (None) when a scheduler has already set CUDA_VISIBLE_DEVICES or when there is at most one GPU.
    """
    gpus = visible_gpus() if gpus is None else gpus
    if "CUDA_VISIBLE_DEVICES" in os.environ or gpus <= 1:
        return None
    folder = Path(folder or tempfile.gettempdir())
    while True:
        for index in range(gpus):
            slot = open(folder / f"texreward-gpu-{os.getuid()}-{index}.lock", "w")
            try:
                fcntl.flock(slot, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                slot.close()
                continue
            os.environ["CUDA_VISIBLE_DEVICES"] = str(index)
            return slot
        time.sleep(wait)


def pick_device() -> str:
    """`cuda` where torch can use a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def device_name(device: str) -> str:
    """What people call the device, for run records."""
    import torch

    if device == "cuda":
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return f"{name}, {torch.get_num_threads()} threads"

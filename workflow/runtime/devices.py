"""Which device a job uses. Snakemake counts GPUs but does not hand them out, so each job takes a free one."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from texgen.errors import DamagedFileError
from texgen.storage.files import open_lock
from workflow.runtime.locking import flock


def visible_gpus() -> list[str]:
    """The GPUs that jobs may use, as CUDA_VISIBLE_DEVICES writes them.

    Those that an inherited CUDA_VISIBLE_DEVICES names, else all that `nvidia-smi` lists; none without a
    driver.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        names = [name.strip() for name in chosen.split(",")]
        # CUDA itself stops at the first name that is none.
        end = next((k for k, name in enumerate(names) if name in ("", "-1", "NoDevFiles")), len(names))
        return names[:end]
    if shutil.which("nvidia-smi") is None:
        return []
    found = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    count = sum(line.startswith("GPU ") for line in found.stdout.splitlines())
    return [str(index) for index in range(count)]


def claim_gpu(
    gpus: list[str] | None = None, folder: str | Path | None = None, wait: float = 1.0
) -> IO | None:
    """Set CUDA_VISIBLE_DEVICES to a GPU that no other job of ours holds; call before CUDA is first used.

    gpus: what to choose from, by default `visible_gpus`. The returned file keeps the claim for as long as it
    is open, at most the life of the process. Nothing is claimed (None) when there is no choice: a scheduler
    has given this job one GPU, or the machine has at most one.
    """
    gpus = visible_gpus() if gpus is None else gpus
    if len(gpus) <= 1:
        return None
    folder = Path(folder) if folder else own_folder()
    # Two SLURM jobs on one node may both call the first of the GPUs that they were given 0.
    given = "CUDA_VISIBLE_DEVICES" in os.environ
    scope = os.environ.get("SLURM_JOB_ID", "local") if given else "local"
    while True:
        for name in gpus:
            slot = os.fdopen(open_lock(folder / f"gpu-{scope}-{name.replace('/', '_')}.lock"), "r+")
            try:
                flock(slot, wait=False)
            except BlockingIOError:
                slot.close()
                continue
            os.environ["CUDA_VISIBLE_DEVICES"] = name
            return slot
        time.sleep(wait)


def own_folder() -> Path:
    """A folder for the locks of this user on this machine, which nobody else can write to.

    Raises DamagedFileError where another user has taken its name.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    base = Path(runtime) if runtime and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())
    folder = base / f"texreward-{os.getuid()}"
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        raise DamagedFileError(
            f"{folder} is not a folder of your own that only you can write to; remove it, or set TMPDIR."
        )
    return folder


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
    count = torch.get_num_threads()
    return f"{name}, {count} thread{'' if count == 1 else 's'}"

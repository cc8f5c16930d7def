"""Locks that end with the process that holds them, however that process ends.

Snakemake's own lock is a file that a killed run leaves behind, so that the next run refuses to start. The
default profile therefore turns it off (`nolock`) and the workflow takes these: one of the run on its results
folder, and one of each long job on what it makes. The second matters when only snakemake itself was killed:
its jobs, and those that SLURM runs for it, go on, and the next run starts the same jobs again.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from texgen.errors import PlainError
from texgen.storage.files import open_lock, remove_leftovers

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None

# What a file system answers that knows no locks; some clusters mount theirs so.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_held: list[IO] = []  # open for the life of the process


class BusyError(PlainError):
    """Another run works in the same folder."""


def lock_folder(folder: str | Path) -> None:
    """Lock a folder for the rest of this process. Raises `BusyError` when another process has locked it.

    Only says so on stderr where the file system has no locks.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(open_lock(folder / ".lock"), "r+")
    try:
        _lock(file, folder / ".lock", wait=False)
    except BlockingIOError:
        file.close()
        raise BusyError(f"Another run is working in {folder}/; wait for it, or end it first.") from None
    _held.append(file)


@contextmanager
def work_alone(target: str | Path) -> Iterator[None]:
    """For the block, be the only job that makes `target`: wait until no other process is in such a block.

    The lock is a hidden file beside the target, which stays. What the other job has finished is there when
    the block begins. Only says so on stderr where the file system has no locks.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    path = target.with_name(f".{target.name}.lock")
    with os.fdopen(open_lock(path), "r+") as file:
        try:
            _lock(file, path, wait=False)
        except BlockingIOError:
            print(f"{target}: a job of an earlier run is still making it; waiting for its end.", flush=True)
            _lock(file, path, wait=True)
        remove_leftovers(target)
        yield


def _lock(file: IO, path: Path, wait: bool) -> None:
    """Lock an open file. Raises BlockingIOError when it is locked and `wait` is false."""
    try:
        flock(file, wait)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        print(
            f"warning: {path}: this file system has no locks; start no second run in this folder.",
            file=sys.stderr,
            flush=True,
        )


def flock(file: IO, wait: bool) -> None:
    """Lock an open file for as long as it is open.

    Raises BlockingIOError when it is locked and `wait` is false, OSError where there are no locks.
    """
    if fcntl is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


def require_folder(path: str | Path) -> None:
    """Raises BusyError with one sentence where a file or a link to nowhere is in a results folder's place."""
    for place in (Path(path), *Path(path).parents):
        if place.is_symlink() and not place.exists():
            raise BusyError(
                f"results: {path}: {place} is a link that leads to no folder; make the folder that it names, "
                "or remove it."
            )
        if place.exists() and not place.is_dir():
            raise BusyError(
                f"results: {path}: {place} is a file; remove it, or choose another results folder."
            )

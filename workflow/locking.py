"""A lock on a results folder that ends with the process that holds it, however that process ends.

Snakemake's own lock is a file that a killed run leaves behind, so that the next run refuses to start. The
default profile therefore turns it off (`nolock`) and the workflow takes this one.
"""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

_held: list[IO] = []  # open for the life of the process


class BusyError(RuntimeError):
    """Another run works in the same folder."""


def lock_folder(folder: str | Path) -> None:
    """Lock a folder for the rest of this process. Raises `BusyError` when another process has locked it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / ".lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise BusyError(f"Another run is working in {folder}/; wait for it, or end it first.") from None
    _held.append(file)

"""Files that are there whole or not at all, read only where they are files.

A job that continues takes a file that is there for a finished one, so a killed job must not leave a part of
one; the standard library writes in place. Imports no torch: the workflow's rules use it too.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path

from texgen.errors import DamagedFileError

# .name-<machine>-<process>-<drawn>.suffix; hidden, so that nothing takes it for a result.
_TEMPORARY = re.compile(r"-(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{12}$")


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, for the block to write.

    It is renamed to `path` when the block ends well and removed when it does not; an earlier file stays whole
    until then. The folder is made where it is missing. What killed processes of this machine left of earlier
    writings of the same file is removed first. Raises FileNotFoundError when the block wrote nothing and
    IsADirectoryError, which names `path`, when a folder is in its place.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    remove_leftovers(path)
    # Drawn, too, not the process's number alone: jobs on two machines may share the folder.
    name = f".{path.stem}-{_machine()}-{os.getpid()}-{secrets.token_hex(6)}{path.suffix}"
    temporary = path.with_name(name)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files of `atomic_path(path)` whose process does not live any more."""
    prefix = f".{path.stem}-"
    try:
        names = os.listdir(path.parent)
    except OSError:
        return
    for name in names:
        if not (name.startswith(prefix) and name.endswith(path.suffix)):
            continue
        found = _TEMPORARY.search(name.removesuffix(path.suffix))
        # Of another machine's processes nothing is known; what they left stays until they write again.
        if found and found["machine"] == _machine() and not _lives(int(found["process"])):
            path.with_name(name).unlink(missing_ok=True)


@cache
def _machine() -> str:
    """Eight digits for the machine, its boot and the space that its process numbers count in."""
    parts = [socket.gethostname()]
    for source in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        try:
            text = os.readlink(source) if source.endswith("pid") else Path(source).read_text()
        except OSError:
            text = ""
        parts.append(text.strip())
    return sha256("\n".join(parts).encode()).hexdigest()[:8]


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass  # it is another user's, or nothing can be said
    return not _waits_to_be_buried(process)


def _waits_to_be_buried(process: int) -> bool:
    """Whether a process has ended unasked for, as in containers whose first process waits for nobody."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError, UnicodeDecodeError):
        return False
    return state in ("Z", "X")


def write_text(path: Path | str, text: str) -> None:
    """Write a text file, UTF-8, by `atomic_path`; what UTF-8 cannot hold (lone surrogates) becomes '?'."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", errors="replace"))


def read_bytes(path: Path | str, most: int | None = None) -> bytes:
    """The bytes of a regular file; a pipe or a device is refused instead of being waited for.

    most: refuse larger files. Raises DamagedFileError for what is not a file or too large, OSError (with the
    path) for what cannot be opened.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:  # a NUL in the name
        raise DamagedFileError(f"{str(path)!r:.200} is not a path ({error}); check it.") from None
    state = os.fstat(handle)
    if not stat.S_ISREG(state.st_mode) or (most is not None and state.st_size > most):
        os.close(handle)
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(state.st_mode):
            raise DamagedFileError(f"{path} is a pipe or a device; give a file.")
        raise DamagedFileError(f"{path} has {state.st_size} bytes; at most {most} are read here.")
    with open(handle, "rb") as stream:
        return stream.read()


def open_lock(path: Path | str) -> int:
    """A file to lock, opened or made without following a link and without changing what it holds.

    Returns its descriptor. Raises DamagedFileError where a link, a folder or a device is in its place.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _no_lock_file(path) from None
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _no_lock_file(path)
    return handle


def _no_lock_file(path: Path | str) -> DamagedFileError:
    return DamagedFileError(f"{path} must be a plain file to be locked; remove what is there.")

"""Whatever bad input says, nothing is written outside of the test's folders and no program is started.

Watched by Python's audit events, which the functions of the operating system and the unpicklers raise.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

PROGRAMS = ("os.system", "os.exec", "os.posix_spawn", "os.startfile", "subprocess.Popen", "pickle.find_class")
# Event -> whether its last argument is the folder that names are relative to, as an open file.
CHANGES = {
    "os.mkdir": True, "os.rmdir": True, "os.remove": True, "os.rename": True, "os.link": True,
    "os.symlink": True, "os.truncate": False,
}  # fmt: skip
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Compiled kernels and modules and what hypothesis remembers: they belong to the programs, not to their input.
CACHES = (str(Path.home() / ".cache"), "__pycache__", ".hypothesis", "/dev/null")
# What Python's `platform` starts, for Warp, which asks it once for the processor.
HARMLESS = "subprocess.Popen ('uname', ['uname', '-p']"

_seen: list[str] | None = None  # None: nobody watches


def _note(event: str, arguments: tuple) -> None:
    if _seen is None:
        return
    if event in PROGRAMS:
        _seen.append(f"{event} {arguments!r:.200}")
    elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        if arguments[2] & WRITING:
            _seen.append(_place(arguments[0]))
    elif event in CHANGES:
        base = arguments[-1] if CHANGES[event] else -1
        names = [each for each in arguments[:2] if isinstance(each, str | bytes | os.PathLike)]
        _seen.extend(_place(name, base) for name in names)


def _place(path: str | bytes | os.PathLike, base: int = -1) -> str:
    folder = os.readlink(f"/proc/self/fd/{base}") if base >= 0 else ""
    return os.path.realpath(os.path.join(folder, os.fsdecode(path)))


sys.addaudithook(_note)


@pytest.fixture(autouse=True)
def nothing_outside(tmp_path_factory):
    """Fails the test when it has written somewhere else or started something."""
    global _seen
    allowed = (os.path.realpath(tmp_path_factory.getbasetemp()), os.path.realpath(tempfile.gettempdir()))
    _seen = []
    yield
    seen, _seen = _seen, None
    allowed += (HARMLESS,)
    outside = [each for each in seen if not each.startswith(allowed) and not any(c in each for c in CACHES)]
    assert not outside, outside


@pytest.fixture
def watched() -> list[str]:
    """What has been noted so far, for tests of the watching itself."""
    assert _seen is not None
    return _seen

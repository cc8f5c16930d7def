"""How a step ends: errors that a user can act on become one sentence, all others keep their traceback."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from texgen.errors import PlainError, is_out_of_memory
from workflow.tables import ConfigError


def run_step(main: Callable[[], int]) -> int:
    """Run a step's main; its status, or 1 with a sentence on stderr."""
    try:
        return main()
    except Exception as error:
        sentence = plain_sentence(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr, flush=True)
        return 1


def concerns_machine(error: BaseException) -> bool:
    """Whether an error is of the disk or the memory, and not of what was being computed."""
    if is_out_of_memory(error):
        return True
    machine = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR)
    return isinstance(error, OSError) and error.errno in machine


def plain_sentence(error: BaseException) -> str | None:
    """What to tell a user about an error; None when it is one of the code."""
    if isinstance(error, PlainError | ConfigError):
        return str(error)
    if is_out_of_memory(error):
        return (
            "the memory is used up; raise mem_mb of the rule (or take a larger GPU), or lower image_size, "
            "render_size or texture_size of the preset."
        )
    if isinstance(error, OSError):
        return _os_sentence(error)
    return None


def _os_sentence(error: OSError) -> str | None:
    if error.errno is None:  # raised by a loader in words of its own
        return " ".join(str(error).split()) if isinstance(error, FileNotFoundError) else None
    reasons = {
        errno.ENOSPC: "the disk is full; free some space and run again.",
        errno.EDQUOT: "the disk quota is used up; free some space and run again.",
        errno.EROFS: "the file system is read-only; choose another results folder in the configuration.",
        errno.EACCES: "permission is denied; give access, or choose another results folder.",
        errno.EPERM: "it is not permitted; give access, or choose another results folder.",
        errno.ENOENT: "there is no such file; run the step that makes it, or check the path.",
        errno.ENOTDIR: "a part of this path is a file and no folder; remove it, or choose another folder.",
        errno.EEXIST: "a file is in the place of a folder; remove it, or choose another folder.",
        errno.EISDIR: "a folder is in the place of a file; remove it, or choose another folder.",
        errno.ENAMETOOLONG: "the name is too long for this file system; choose shorter names.",
        errno.EIO: "the disk cannot be read or written; check it and run again.",
    }
    if error.errno not in reasons:
        return None
    return reasons[error.errno] if error.filename is None else f"{error.filename}: {reasons[error.errno]}"

"""How a step ends: errors that a user can act on become one sentence, all others keep their traceback."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from texgen.errors import PlainError, is_out_of_memory
from texgen.storage.plain_text import terminal
from workflow.runtime.early_end import STOPPING, leave, stopped_line

MACHINE = (
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR, errno.EFBIG,
    errno.EMFILE, errno.ENFILE, errno.ELOOP, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ESTALE,
)  # fmt: skip


class Stopped(BaseException):
    """A signal asked this process to end; no `except Exception` takes it for a failure of what it did."""


def run_step(main: Callable[[], int]) -> int:
    """Run a step's main; its status, or 1 with a sentence on stderr.

    Ctrl-C and the signals by which schedulers end jobs end it with one line and status 128 + signal, after
    everything has been closed as after an error.
    """
    received: list[int] = []
    previous = _stop_on_signals(received)
    try:
        return main()
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    except Stopped as stopped:
        return _stopped(stopped.args[0])
    except Exception as error:
        # Native libraries that are being loaded turn what a signal raises into an error of their own.
        if received:
            return _stopped(received[0])
        sentence = plain_sentence(error)
        if sentence is None:
            raise
        print(f"error: {terminal(sentence)}", file=sys.stderr, flush=True)
        return 1
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _stop_on_signals(received: list[int]) -> dict[int, Any]:
    """Let SIGTERM and SIGHUP raise `Stopped`, SIGINT a KeyboardInterrupt, noting which came; what they
    did before. Only a main thread may change that."""
    if threading.current_thread() is not threading.main_thread():
        return {}

    def stop(number: int, frame: Any) -> None:
        received.append(number)
        raise KeyboardInterrupt if number == signal.SIGINT else Stopped(number)

    # One that is ignored, as by nohup, stays so.
    usual = (signal.SIG_DFL, signal.default_int_handler, leave)
    numbers = [each for each in STOPPING if signal.getsignal(each) in usual]
    return {number: signal.signal(number, stop) for number in numbers}


def _stopped(number: int) -> int:
    print(stopped_line(number), file=sys.stderr, flush=True)
    return 128 + number


def concerns_machine(error: BaseException) -> bool:
    """Whether an error is of the disk or the memory, and not of what was being computed."""
    if is_out_of_memory(error):
        return True
    return isinstance(error, OSError) and error.errno in MACHINE


def plain_sentence(error: BaseException) -> str | None:
    """What to tell a user about an error; None when it is one of the code."""
    if isinstance(error, PlainError):
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
        errno.ENOTDIR: "a part of this path is a file, not a folder; remove it, or choose another folder.",
        errno.EEXIST: "a file is in the place of a folder; remove it, or choose another folder.",
        errno.EISDIR: "a folder is in the place of a file; remove it, or choose another folder.",
        errno.ENAMETOOLONG: "the name is too long for this file system; choose shorter names.",
        errno.EIO: "the disk cannot be read or written; check it and run again.",
        errno.ELOOP: "it is a link that leads to itself; remove it.",
        errno.EFBIG: "files may not become so large here (see `ulimit -f`); raise the limit.",
        errno.EMFILE: "too many files are open (see `ulimit -n`); raise the limit.",
        errno.ENFILE: "too many files are open on this machine; close some programs and run again.",
        errno.ENXIO: "it is a pipe or a device and no file; remove it.",
        errno.ESTALE: "the file server does not know it any more; run again.",
        errno.ENOTEMPTY: "a folder that is not empty is in the place of a file; remove it.",
    }
    # Of a file that is put in another's place, the other is the one a user knows.
    name = error.filename2 if error.filename2 is not None else error.filename
    if isinstance(name, int):  # a descriptor
        name = None
    reason = reasons.get(error.errno)
    if reason is None:
        if name is None:
            return None
        reason = f"{error.strerror or 'it cannot be used'}; check it and run again."
    return reason if name is None else f"{os.fsdecode(name)}: {reason}"

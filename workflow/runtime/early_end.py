"""A signal while a program still loads its libraries ends it with one line, not with an import's traceback.

Standard library alone: this is imported before all else.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""By which users, schedulers and closed terminals end a program."""


def stopped_line(number: int) -> str:
    """What a program says that a signal has ended."""
    return f"stopped by {signal.Signals(number).name}; run the same command again to continue."


def leave(number: int, frame: FrameType | None) -> None:
    """End at once: what only loads has nothing to close."""
    os.write(2, f"{stopped_line(number)}\n".encode())
    os._exit(128 + number)


def end_in_one_line() -> None:
    """Let signals that nobody has asked for `leave`. One that is ignored, as by nohup, stays so."""
    if threading.current_thread() is threading.main_thread():
        for number in STOPPING:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                signal.signal(number, leave)


def end_as_usual() -> None:
    """Let them do again what they do in a Python program: everything is loaded, and closes what it opened."""
    for number in STOPPING:
        if signal.getsignal(number) is leave:
            usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
            signal.signal(number, usual)

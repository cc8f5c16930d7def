"""How fast a job works through its assets, and how long it still takes, for logs and `texreward status`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

STARTED = time.monotonic()


class Pace:
    """Counts the assets of a job that were made, not those that were kept, and what that says of the rest.

    total: assets of the job. clock: seconds from anywhere on. The time before the first asset (models,
    warming up) does not count.
    """

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.left, self.made = total, 0
        self.seconds = 0.0
        self.begun: float | None = None

    def keep(self) -> None:
        """One asset was there already."""
        self.left -= 1

    def begin(self) -> None:
        """One asset is begun, everything it needs is loaded."""
        self.begun = self.clock()

    def finish(self) -> str:
        """The asset that was begun is finished, well or not: what to write in the log behind its name."""
        if self.begun is None:
            raise RuntimeError("begin an asset before it is finished")
        self.seconds += self.clock() - self.begun
        self.begun = None
        self.made += 1
        self.left -= 1
        if not self.left:
            return "none left"
        each = self.seconds / self.made
        return f"{rate(each)}, {self.left} left, about {duration(each * self.left)}"


def rate(seconds: float) -> str:
    """Assets per minute or hour, whichever reads better, of `seconds` for one."""
    if seconds <= 0:
        return "no time each"
    return f"{60 / seconds:.1f} per minute" if seconds < 60 else f"{3600 / seconds:.1f} per hour"


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def core_seconds() -> float:
    """CPU seconds, user and system, of this process and of all that it started and that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def cost_of_run() -> str:
    """What a whole run took on this machine. Core-seconds do not depend on what else the machine does."""
    minutes = (time.monotonic() - STARTED) / 60
    return f"{core_seconds():,.0f} core-seconds (user + system, this machine alone) in {minutes:.1f} minutes"

"""What a piece of work took: the only place where methods read a clock.

Wall time depends on what else the machine does, so it cannot compare methods that ran at different moments.
The device's own time can: on a CPU the process's seconds (user and system, all threads), on a GPU the time
between two CUDA events on the stream that the work was given to. An event is recorded without waiting for the
device; nothing is synchronised before a time is asked for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the report reads the clocks' names, without torch
    import torch

CPU_CLOCK = "process CPU seconds"
GPU_CLOCK = "CUDA events"


@dataclass(frozen=True)
class TimeSpent:
    """device: seconds of the device, None = not known (of another program). wall: seconds of a wall clock.
    clock: what `device` was read from, `CPU_CLOCK` or `GPU_CLOCK`; None with it."""

    device: float | None
    wall: float
    clock: str | None


class Stopwatch:
    """Times the pieces of one piece of work on a device, from the moment it is made.

    `lap` ends a piece, `laps` and `spent` ask for the times; only they wait for a GPU. On a GPU a piece is
    the time of its stream, gaps included in which the device waited for the host.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.clock = GPU_CLOCK if device.type == "cuda" else CPU_CLOCK
        self._synchronise()
        self._wall = time.perf_counter()
        self._marks: list[float | torch.cuda.Event] = [self._mark()]
        self._shares: list[int] = []

    def lap(self, pieces: int = 1) -> None:
        """End a piece of work, which counts as so many equal ones, e.g. two views painted as one picture."""
        self._marks.append(self._mark())
        self._shares.append(pieces)

    def laps(self) -> list[float]:
        """Device seconds of every piece so far, in order."""
        self._synchronise()
        pieces = zip(pairwise(self._marks), self._shares, strict=True)
        return [self._seconds(*ends) / share for ends, share in pieces for _ in range(share)]

    def onto(self, records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The records with `device_seconds` of the piece that each describes. Raises ValueError when there
        are more or fewer of them than pieces."""
        pairs = zip(records, self.laps(), strict=True)
        return [{**record, "device_seconds": seconds} for record, seconds in pairs]

    def spent(self) -> TimeSpent:
        """Everything since the stopwatch was made."""
        end = self._mark()
        self._synchronise()
        wall = time.perf_counter() - self._wall
        return TimeSpent(self._seconds(self._marks[0], end), wall, self.clock)

    def _synchronise(self) -> None:
        if self.device.type == "cuda":
            import torch

            torch.cuda.synchronize(self.device)

    def _mark(self) -> float | torch.cuda.Event:
        if self.device.type != "cuda":
            return time.process_time()
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.device))
        return event

    def _seconds(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1000 if self.device.type == "cuda" else end - start

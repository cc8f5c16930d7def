"""The stopwatch that every method is timed by."""

from __future__ import annotations

import ast
import time
from pathlib import Path

import pytest
import torch

import baselines
import texgen
from texgen import timing
from texgen.timing import CPU_CLOCK, GPU_CLOCK, Stopwatch

CPU = torch.device("cpu")


def test_a_sleep_costs_wall_time_but_no_cpu_seconds():
    watch = Stopwatch(CPU)
    time.sleep(0.2)
    spent = watch.spent()
    assert spent.clock == CPU_CLOCK and spent.wall >= 0.2 and spent.device < 0.1


def test_laps_divide_what_was_spent(monkeypatch):
    now = iter([10.0, 11.0, 15.0, 16.0])
    monkeypatch.setattr(time, "process_time", lambda: next(now))
    watch = Stopwatch(CPU)
    watch.lap()
    watch.lap(2)
    assert watch.laps() == [1.0, 2.0, 2.0]
    assert watch.onto([{"index": i} for i in range(3)])[1] == {"index": 1, "device_seconds": 2.0}
    assert watch.spent().device == 6.0
    with pytest.raises(ValueError):
        watch.onto([{}])


class Event:
    """A CUDA event of a made-up device: its time is that of the work given to the device so far."""

    queued = 0.0

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self, stream: str) -> None:
        assert stream == "stream"
        self.at = Event.queued

    def elapsed_time(self, other: Event) -> float:
        return other.at - self.at


def test_on_a_gpu_laps_are_events_and_only_answers_wait(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: "stream")
    monkeypatch.setattr(torch.cuda, "synchronize", waits.append)
    watch = Stopwatch(torch.device("cuda"))
    assert len(waits) == 1, "work given before is not counted"
    for milliseconds in (500.0, 1500.0):
        Event.queued += milliseconds
        watch.lap()
    assert len(waits) == 1
    assert watch.laps() == [0.5, 1.5] and watch.spent().device == 2.0
    assert watch.clock == GPU_CLOCK and len(waits) == 3


def test_no_method_reads_a_clock_of_its_own():
    """Baselines and the painter ask `texgen.timing`; the authors' programs are other processes."""
    folders = (Path(baselines.__file__).parent, Path(texgen.__file__).parent)
    sources = [path for folder in folders for path in sorted(folder.glob("*.py"))]
    readers = [
        path.name
        for path in sources
        if any(
            isinstance(node, ast.Attribute)
            and node.attr in ("perf_counter", "process_time", "monotonic")
            and path.name not in (Path(timing.__file__).name, "unwrap.py", "downloads.py")
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert readers == []

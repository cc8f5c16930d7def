"""What a soak has done and what it has found, kept as JSON while it goes on."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path


def core_seconds() -> float:
    """CPU seconds, user and system, of this process and of all that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class Figures:
    """Counts by part and the problems, written to a file at every change."""

    def __init__(self, path: Path, **about: object) -> None:
        self.path = path
        self.values: dict = {**about, "machine": platform.platform()}
        self.problems: list[str] = []
        self.began = time.monotonic()

    def problem(self, text: str) -> None:
        self.problems.append(text)
        print(f"PROBLEM {text}", flush=True)

    def note(self, **values: object) -> None:
        spent = {
            "seconds": round(time.monotonic() - self.began),
            "core_seconds": round(core_seconds()),
        }
        self.values |= values | {"all_parts": spent}
        text = json.dumps({**self.values, "problems": self.problems}, indent=1)
        self.path.write_text(text + "\n")


class Clock:
    """Seconds and core-seconds of one part."""

    def __init__(self) -> None:
        self.began, self.cores = time.monotonic(), core_seconds()

    def seconds(self) -> float:
        return time.monotonic() - self.began

    def spent(self) -> dict[str, int]:
        return {
            "seconds": round(self.seconds()),
            "core_seconds": round(core_seconds() - self.cores),
        }

"""What a person at a terminal sees of a command: progress, lines, and no chatter of libraries."""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from typing import TextIO

from texgen.diffusion.prompts import PromptWarning


class PaintingProgress:
    """Shows how far a method is: one line that is redrawn on a terminal, else one plain line per view."""

    def __init__(self, stream: TextIO | None = None, width: int = 30) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.width = width
        self.live = self.stream.isatty()
        self.started = time.monotonic()
        self.drawn = 0

    def __call__(self, view: int, views: int, step: int, steps: int) -> None:
        """After step `step` of `steps` in view `view` of `views`, all counted from 1."""
        if self.live:
            share = ((view - 1) + step / steps) / views
            filled = round(share * self.width)
            elapsed = time.monotonic() - self.started
            left = elapsed / share - elapsed if share > 0 else 0.0
            bar = "#" * filled + "-" * (self.width - filled)
            text = f"view {view}/{views}, step {step}/{steps}, about {left:.0f} s left"
            columns = (
                shutil.get_terminal_size().columns - 1
            )  # a full line would wrap, and be drawn again below
            if len(text) + self.width + 3 <= columns:
                text = f"[{bar}] {text}"
            self._redraw(text[: max(columns, 1)])
        elif step == steps:
            print(f"view {view}/{views} painted", file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the terminal's cursor on a fresh line."""
        if self.live and self.drawn:
            self._redraw("")
            self.stream.write("\r")
            self.stream.flush()

    def _redraw(self, text: str) -> None:
        self.stream.write("\r" + text.ljust(self.drawn))
        self.stream.flush()
        self.drawn = len(text)


def say(text: str) -> None:
    """A line for the person who waits; results go to files, so that stdout stays free."""
    print(text, file=sys.stderr, flush=True)


def quieten_libraries() -> None:
    """What libraries say is for developers (PYTHONWARNINGS brings it back); prompts' warnings are not."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries; ours is not tqdm
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    warnings.simplefilter("always", PromptWarning)
    plain, said = warnings.showwarning, set()

    def show(message, category, *place, **more):
        if not issubclass(category, PromptWarning):
            plain(message, category, *place, **more)
        elif str(message) not in said:
            said.add(str(message))
            say(f"warning: {message}")

    warnings.showwarning = show

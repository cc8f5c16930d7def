"""What a person at a terminal sees of a command: progress, lines, and no chatter of libraries."""

from __future__ import annotations

import os
import sys
import warnings
from typing import TextIO

from tqdm import tqdm

from texgen.diffusion.prompts import PromptWarning


class PaintingProgress:
    """Shows how far a method is: a bar that is redrawn on a terminal, else one plain line per view."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.bar: tqdm | None = None

    def __call__(self, view: int, views: int, step: int, steps: int) -> None:
        """After step `step` of `steps` in view `view` of `views`, all counted from 1."""
        if not self.stream.isatty():
            if step == steps:
                print(f"view {view}/{views} painted", file=self.stream, flush=True)
            return
        text = f"view {view}/{views}, step {step}/{steps}"
        if self.bar is None:
            self.bar = tqdm(
                desc=text,
                total=views,
                file=self.stream,
                disable=False,  # `quieten_libraries` is about those of libraries
                leave=False,
                dynamic_ncols=True,
                bar_format="[{bar:30}] {desc}, {remaining} left",
            )
        self.bar.total, self.bar.n = views, view - 1 + step / steps
        self.bar.set_description_str(text)

    def close(self) -> None:
        """Wipe the bar."""
        if self.bar is not None:
            self.bar.close()


def say(text: str) -> None:
    """A line for the person who waits; results go to files, so that stdout stays free."""
    print(text, file=sys.stderr, flush=True)


def quieten_libraries() -> None:
    """What libraries say is for developers (PYTHONWARNINGS brings it back); prompts' warnings are not."""
    # Bars of libraries. tqdm reads its variable when it is imported, which has happened already here.
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
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

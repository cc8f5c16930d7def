"""How figures look: the style file, colour and marker of each method, files without dates."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from texgen.storage.files import atomic_path  # noqa: E402
from texgen.storage.plain_text import plain  # noqa: E402

STYLE = Path(__file__).with_name("paper.mplstyle")
WIDTH = 7.0
"""Inches: the text width of a two-column paper."""
FORMATS = ("pdf", "png")
# Okabe and Ito's palette and a few more, for the common colour deficiencies; markers differ as well.
# The reference is grey.
REFERENCE = "#6b6b6b"
TUNED = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#882255")
OTHERS = ("#E69F00", "#56B4E9", "#000000", "#B8A800", "#8C564B", "#17707A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")


class NotDrawn(Exception):
    """A figure whose inputs are not there; the message is one sentence that says which."""


def apply() -> None:
    """Use the style file for everything that is drawn from now on."""
    plt.rcdefaults()
    plt.style.use(STYLE)


def method_styles(methods: Iterable[str], reference: str, tuned: Iterable[str]) -> dict[str, dict]:
    """Colour and marker of each method, the same in all figures of a run."""
    tuned = set(tuned)
    ours, others, styles = iter(TUNED * 9), iter(OTHERS * 9), {}
    for i, method in enumerate(methods):
        colour = REFERENCE if method == reference else next(ours if method in tuned else others)
        styles[method] = {"color": colour, "marker": MARKERS[i % len(MARKERS)]}
    return styles


def wrap(text: str, width: int) -> str:
    """A label on several lines, of signs that can be drawn."""
    text = plain(text)
    return "\n".join(textwrap.wrap(text, width, break_long_words=False)) or text


def bare(axes: Axes) -> None:
    """An axes that holds a picture: no ticks, no frame."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def sentence(text: str) -> Figure:
    """A page that says why there is no figure."""
    figure = plt.figure(figsize=(WIDTH / 2, 0.8))
    figure.text(0.5, 0.5, wrap(text, 70), ha="center", va="center", style="italic", color="#555555")
    return figure


def save(figure: Figure, stem: str | Path, formats: Iterable[str] = FORMATS) -> None:
    """Write a figure as `<stem>.pdf` and `<stem>.png`, atomically and without dates, and close it."""
    stem = Path(stem)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, not again for every format
    for suffix in formats:
        metadata = {"Software": None} if suffix == "png" else {"CreationDate": None, "Producer": None}
        with atomic_path(stem.with_name(f"{stem.name}.{suffix}")) as temporary:
            figure.savefig(temporary, metadata=metadata)
    plt.close(figure)

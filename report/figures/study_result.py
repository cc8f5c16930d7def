"""The result of a user study as a figure: how often each method is preferred, with intervals."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from report.results import Results
from report.study.booklets import choices_of, read_everyone, read_key
from report.study.bradley_terry import strengths
from report.style import WIDTH, NotDrawn, wrap


def user_study(results: Results) -> Figure:
    """Chance to be chosen over the reference, and how often each method was chosen at all."""
    folder = results.settings.get("study")
    if folder is None:
        raise NotDrawn("The configuration names no folder of a user study.")
    try:
        key = read_key(Path(folder) / "key.json")
        everyone = read_everyone(study_answers(folder), key)
        choices = [choice for person, answers in everyone for choice in choices_of(key, person, answers)]
    except ValueError as error:
        raise NotDrawn(str(error)) from None
    if not choices:
        raise NotDrawn(f"{folder} holds no answers yet; save those of the participants beside key.json.")
    found = strengths(choices, list(key["methods"]), key["reference"])
    found = sorted(found, key=lambda each: each.score)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 0.8 + 0.26 * len(found)), sharey=True)
    for row, each in enumerate(found):
        colour = results.styles.get(each.method, {}).get("color", "#6b6b6b")
        if each.method != key["reference"]:
            left.plot([100 * each.beats_low, 100 * each.beats_high], [row, row], color=colour)
            left.plot(100 * each.beats, row, "o", color=colour)
        share = 100 * each.wins / each.comparisons if each.comparisons else 0.0
        right.barh(row, share, color=colour, height=0.6)
        right.text(share + 1, row, f"{each.wins:g} of {each.comparisons}", va="center", fontsize=6)
    left.axvline(50, color="#1c1c1c", linewidth=0.6)
    left.set_xlim(0, 100)
    right.set_xlim(0, 118)
    left.set_yticks(range(len(found)), [wrap(key["methods"][each.method], 30) for each in found])
    left.set_xlabel(f"chosen over {key['methods'][key['reference']]}, % [95 %]")
    right.set_xlabel("chosen in all its pairs, %")
    people = len({person for person, _ in everyone})
    figure.suptitle(
        wrap(f"{len(choices)} answers of {people} participants: {key['question']}", 90), fontsize=8
    )
    return figure


def study_answers(folder: str | Path) -> list[Path]:
    """Files of answers in a study's folder: every JSON file beside key.json."""
    return [path for path in sorted(Path(folder).glob("*.json")) if path.name != "key.json"]

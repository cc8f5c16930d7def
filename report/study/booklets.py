"""A blinded pairwise study: booklets for participants, a key for the experimenter, a summary of the answers.

A trial shows two turntables of one asset, made by two methods, in random order. Booklets name neither methods
nor files; what is what stands in the key alone.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report.escaping import script_json
from report.pages import template
from report.results import Results
from report.study.bradley_terry import PairwiseChoice, strengths
from report.table.blocks import Block, Text
from texgen.errors import PlainError
from texgen.storage.files import read_bytes
from texgen.storage.plain_text import plain
from texgen.storage.records import SEAL, is_sealed

QUESTION = "Which object looks better and fits its description better?"
ANSWERS = {"left": 1.0, "none": 0.5, "right": 0.0}
REPEATS = 2
"""Trials that a booklet shows twice, sides swapped, to see how often a person agrees with himself."""


@dataclass(frozen=True)
class Trial:
    """One question. id says nothing. repeat_of: the id of the trial that this one repeats, or empty."""

    id: str
    asset: str
    left: str
    right: str
    repeat_of: str = ""


def plan_trials(
    pairs: Sequence[tuple[str, str, str]], booklets: int, trials: int, seed: int
) -> list[list[Trial]]:
    """Trials of every booklet. pairs: (asset, method, method).

    Pairs are dealt from shuffled decks, so that over all booklets each is shown equally often, give or take
    one; every booklet also repeats a few of its trials with the sides swapped.
    """
    random_ = random.Random(seed)
    deck: list[tuple[str, str, str]] = []
    found = []
    for _ in range(booklets):
        chosen: list[tuple[str, str, str]] = []
        while len(chosen) < min(trials, len(pairs)):
            if not deck:
                deck = list(pairs)
                random_.shuffle(deck)
            # A fresh deck may hold what this booklet has already; that waits for the next one.
            place = next((i for i, pair in enumerate(deck) if pair not in chosen), None)
            if place is None:
                waiting, deck = deck, list(pairs)
                random_.shuffle(deck)
                deck = waiting + deck
                continue
            chosen.append(deck.pop(place))
        sides = [k % 2 == 0 for k in range(len(chosen))]
        random_.shuffle(sides)
        booklet = [
            Trial(_name(random_), asset, *((a, b) if side else (b, a)))
            for (asset, a, b), side in zip(chosen, sides, strict=True)
        ]
        again = random_.sample(booklet, min(REPEATS, len(booklet)))
        booklet += [Trial(_name(random_), t.asset, t.right, t.left, t.id) for t in again]
        random_.shuffle(booklet)
        found.append(booklet)
    return found


def _name(random_: random.Random) -> str:
    return f"{random_.getrandbits(48):012x}"


def comparable_pairs(results: Results) -> list[tuple[str, str, str]]:
    """(asset, method, method) of every two methods that both textured an asset."""
    return [
        (asset["asset"], a, b)
        for asset in results.assets
        for a, b in itertools.combinations(results.methods, 2)
        if results.done(a, asset["asset"]) and results.done(b, asset["asset"])
    ]


def booklet_page(
    results: Results, trials: Sequence[Trial], number: int, strips: dict, turntables: dict
) -> str:
    """One booklet as a page that works offline and lets its reader save the answers as a file.

    strips, turntables: kept by the caller between booklets, so that nothing is rendered twice.
    """
    from report.gallery.embedded import FRAMES, Turntable

    prompts = {asset["asset"]: asset for asset in results.assets}
    shown = []
    for trial in trials:
        mesh = prompts[trial.asset]["mesh"]
        pictures = []
        for method in (trial.left, trial.right):
            if (method, trial.asset) not in strips:
                if mesh not in turntables:
                    turntables[mesh] = Turntable(results.mesh(mesh), size=240)
                strips[method, trial.asset] = turntables[mesh].strip(results.texture(method, trial.asset))
            pictures.append(strips[method, trial.asset])
        text = prompts[trial.asset]["prompt"]
        shown.append({"id": trial.id, "text": text, "left": pictures[0], "right": pictures[1]})
    return template("study.html.j2").render(
        question=QUESTION, number=number, frames=FRAMES, size=240, data=script_json(shown)
    )


def key_record(results: Results, booklets: Sequence[Sequence[Trial]]) -> dict[str, Any]:
    """What the experimenter keeps: which trial showed what."""
    return {
        "methods": results.methods,
        "reference": results.reference,
        "question": QUESTION,
        "trials": {
            trial.id: {
                "booklet": number,
                "asset": trial.asset,
                "left": trial.left,
                "right": trial.right,
                "repeat_of": trial.repeat_of,
            }
            for number, booklet in enumerate(booklets, start=1)
            for trial in booklet
        },
    }


MOST_BYTES = 32 << 20
LONGEST_PARTICIPANT = 200


def read_key(path: str | Path) -> dict[str, Any]:
    """The record that `key_record` made. Raises ValueError where it is none."""
    wrong = f"{path} is not a key of a study; give the key.json that `study make` wrote."
    key = _object(path, "it is the key.json that `study make` wrote", wrong)
    methods, trials = key.get("methods"), key.get("trials")
    named = _texts({name: key.get(name) for name in ("reference", "question")})
    if not (_texts(methods) and named and isinstance(trials, dict)) or key["reference"] not in methods:
        raise ValueError(wrong)
    for facts in trials.values():
        if not isinstance(facts, dict) or not _texts({side: facts.get(side) for side in _SIDES}):
            raise ValueError(wrong)
        known = facts["left"] in methods and facts["right"] in methods and facts["left"] != facts["right"]
        if not known or (facts["repeat_of"] and facts["repeat_of"] not in trials):
            raise ValueError(wrong)
    return key


def read_answers(path: str | Path, key: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """(participant, trial id -> answer) of one saved file. Raises ValueError that names what is wrong."""
    wrong = f"{path} is not an answers file of a booklet; save it again."
    saved = _object(path, "give the files that participants saved", wrong)
    participant, answers = saved.get("participant"), saved.get("answers")
    if not isinstance(participant, str) or not isinstance(answers, dict):
        raise ValueError(wrong)
    participant = plain(participant).strip()
    if not participant:
        raise ValueError(f"{path} names no participant; write a name or a number into it.")
    if len(participant) > LONGEST_PARTICIPANT:
        raise ValueError(f"{path}: the participant's name has {len(participant)} letters; shorten it.")
    for trial, answer in answers.items():
        if trial not in key["trials"]:
            raise ValueError(
                f"{path}: trial {plain(trial)[:40]!r} is not in the key; it belongs to another study."
            )
        if not isinstance(answer, str) or answer not in ANSWERS:
            shown = plain(repr(answer))[:40]
            raise ValueError(f"{path}: trial {trial!r} has {shown}; allowed are {', '.join(ANSWERS)}.")
    return participant, answers


_SIDES = ("left", "right", "repeat_of")


def _texts(value: Any) -> bool:
    """Whether a value is an object of texts that is not empty."""
    return isinstance(value, dict) and bool(value) and all(isinstance(each, str) for each in value.values())


def _object(path: str | Path, missing: str, wrong: str) -> dict[str, Any]:
    """The JSON object in a file; one with the hash of its content must not have been changed since."""
    try:
        data = read_bytes(path, MOST_BYTES)
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_once)
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist; {missing}.") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); {missing}.") from None
    except PlainError:
        raise
    except (ValueError, RecursionError):
        raise ValueError(wrong) from None
    if not isinstance(found, dict) or (SEAL in found and not is_sealed(data)):
        raise ValueError(wrong)
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose keys are given once; of two, neither can be believed."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is given twice")
    return found


def read_everyone(paths: Sequence[str | Path], key: dict[str, Any]) -> list[tuple[str, dict[str, str]]]:
    """`read_answers` of every file. Raises ValueError where a person answers a trial in two files."""
    found = []
    first: dict[tuple[str, str], str | Path] = {}
    for path in paths:
        participant, answers = read_answers(path, key)
        for trial in answers:
            if (participant, trial) in first:
                raise ValueError(
                    f"{first[participant, trial]} and {path} both hold answers of {participant!r} to the "
                    "same trials; leave one out or, if they are two people, rename one of them in the file."
                )
            first[participant, trial] = path
        found.append((participant, answers))
    return found


def choices_of(key: dict[str, Any], participant: str, answers: dict[str, str]) -> list[PairwiseChoice]:
    """The answers as choices between methods; repeated trials are left out."""
    found = []
    for trial, answer in answers.items():
        facts = key["trials"][trial]
        if not facts["repeat_of"]:
            found.append(PairwiseChoice(facts["left"], facts["right"], ANSWERS[answer], participant))
    return found


def agreement(key: dict[str, Any], answers: dict[str, str]) -> list[bool]:
    """For every repeated trial with both answers: whether the same method was chosen both times."""
    found = []
    for trial, answer in answers.items():
        first = key["trials"][trial]["repeat_of"]
        if first and first in answers:
            found.append(ANSWERS[answer] == 1 - ANSWERS[answers[first]])
    return found


def summary_block(key: dict[str, Any], everyone: Sequence[tuple[str, dict[str, str]]]) -> Block:
    """Strengths of the methods from all answers."""
    choices = [choice for person, answers in everyone for choice in choices_of(key, person, answers)]
    if not choices:
        raise ValueError("The answers hold no choice; at least one answered trial is needed.")
    repeats = [same for _, answers in everyone for same in agreement(key, answers)]
    people = {person for person, _ in everyone}
    methods, reference = key["methods"], key["reference"]
    rows = []
    found = strengths(choices, list(methods), reference)
    best = max(each.score for each in found)
    for each in found:
        beats = f"{each.beats:.2f} [{each.beats_low:.2f}, {each.beats_high:.2f}]"
        rows.append(
            [
                Text(methods[each.method]),
                Text(f"{each.score:+.2f} [{each.low:+.2f}, {each.high:+.2f}]", best=each.score == best),
                Text("–" if each.method == reference else beats),
                Text(f"{each.wins:g} of {each.comparisons}"),
            ]
        )
    unit = "participants" if len(people) >= 5 else "answers, for want of five participants"
    notes = [
        f"{len(choices)} answers of {len(people)} participants to: {key['question']}",
        "Bradley–Terry log strengths with mean 0 (ties count one half; half a win and half a loss against an "
        f"average opponent are added to each method); 95 % percentile bootstrap intervals over {unit}.",
    ]
    if repeats:
        notes.append(
            f"{sum(repeats)} of {len(repeats)} repeated trials, sides swapped, were answered alike; they are "
            "not counted otherwise."
        )
    header = ["Method", "log strength", f"chosen over {methods[reference]}", "chosen"]
    return Block("User study", header, rows, notes)

"""Strengths of methods from pairwise choices: the Bradley-Terry model, with bootstrap intervals.

P(i beats j) = s_i / (s_i + s_j). A tie is half a win for each. Fitted by Hunter's minorisation (MM algorithms
for generalized Bradley-Terry models, 2004), which needs no step size and never leaves the positive numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

PRIOR = 0.5
"""Wins and losses that every method is given against an average opponent, so that a method which never lost
has a finite strength."""


@dataclass(frozen=True)
class PairwiseChoice:
    """One answer. first, second: methods. share: 1 = the first was chosen, 0 = the second, 0.5 = no
    preference. participant: whose answer it is."""

    first: str
    second: str
    share: float
    participant: str


@dataclass(frozen=True)
class Strength:
    """log strength of a method (mean 0 over methods), its interval, and what it rests on.

    beats: probability to be chosen over the reference, with its interval. wins: ties count one half.
    """

    method: str
    score: float
    low: float
    high: float
    beats: float
    beats_low: float
    beats_high: float
    wins: float
    comparisons: int


def win_matrix(choices: Sequence[PairwiseChoice], methods: Sequence[str]) -> np.ndarray:
    """[M, M]: how often the row was chosen over the column."""
    index = {method: i for i, method in enumerate(methods)}
    wins = np.zeros((len(methods), len(methods)))
    for choice in choices:
        i, j = index[choice.first], index[choice.second]
        wins[i, j] += choice.share
        wins[j, i] += 1 - choice.share
    return wins


def fit(wins: np.ndarray, iterations: int = 2000, tolerance: float = 1e-10) -> np.ndarray:
    """log strengths [M], mean 0, of a win matrix [M, M] with the prior added."""
    count = len(wins)
    strength = np.ones(count)
    played = wins + wins.T
    won = wins.sum(axis=1) + PRIOR
    for _ in range(iterations):
        # The average opponent of the prior has strength 1.
        divisor = (played / (strength[:, None] + strength)).sum(axis=1) + 2 * PRIOR / (strength + 1)
        updated = won / divisor
        updated /= np.exp(np.log(updated).mean())
        done = np.abs(np.log(updated / strength)).max() < tolerance
        strength = updated
        if done:
            break
    return np.log(strength)


def strengths(
    choices: Sequence[PairwiseChoice],
    methods: Sequence[str],
    reference: str,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Strength]:
    """Strength of every method, in the order given, with percentile bootstrap intervals.

    Answers of one person are not independent, so persons are drawn with replacement; with fewer than five
    persons single answers are drawn instead, and the interval speaks for those persons only.
    """
    people = sorted({choice.participant for choice in choices})
    if len(people) >= 5:
        units = [[c for c in choices if c.participant == person] for person in people]
    else:
        units = [[choice] for choice in choices]
    per_unit = np.stack([win_matrix(unit, methods) for unit in units])
    centre = fit(per_unit.sum(axis=0))
    generator = np.random.default_rng(seed)
    weights = generator.multinomial(len(units), np.full(len(units), 1 / len(units)), size=resamples)
    drawn = np.stack([fit(np.tensordot(w, per_unit, axes=1), tolerance=1e-6) for w in weights])
    ends = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(drawn, ends, axis=0)
    r = list(methods).index(reference)
    beats = 1 / (1 + np.exp(centre[r] - centre))
    beats_low, beats_high = np.quantile(1 / (1 + np.exp(drawn[:, [r]] - drawn)), ends, axis=0)
    total = per_unit.sum(axis=0)
    return [
        Strength(
            method=method,
            score=float(centre[i]),
            low=float(low[i]),
            high=float(high[i]),
            beats=float(beats[i]),
            beats_low=float(beats_low[i]),
            beats_high=float(beats_high[i]),
            wins=float(total[i].sum()),
            comparisons=int(round(float((total + total.T)[i].sum()))),
        )
        for i, method in enumerate(methods)
    ]

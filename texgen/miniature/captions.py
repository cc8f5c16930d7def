"""Captions of the miniature's training images: a canonical form in half the draws, variety in the rest.

A caption names a material, its colours and the object. The object's name is sometimes a general word
("object") or an arbitrary noun that is not what the picture shows, so that the text encoder learns to treat
any noun it meets at evaluation as neutral.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from texgen.miniature.caption_words import (
    AFTER,
    ANIMALS,
    BEFORE,
    COLOURS,
    ENDINGS,
    GENERAL,
    MATERIALS,
    NAMES,
    NATURAL,
    NOUNS,
    OPENINGS,
    SOFT,
    VIEWS,
)
from texgen.miniature.shapes import SHAPES

__all__ = ["COLOURS", "GENERAL", "MATERIALS", "NOUNS", "article", "canonical", "caption", "vocabulary"]


def article(phrase: str) -> str:
    """``phrase`` with "a" or "an" before it, by its sound."""
    word = phrase.split()[0].lower()
    vowel = (word[0] in "aeiou" and not re.match(r"(uni|use|eu|one)", word)) or word.startswith("hour")
    return f"{'an' if vowel else 'a'} {phrase}"


def caption(
    material: str,
    colours: Sequence[str],
    shape: str,
    rng: np.random.Generator,
    view: str | None = None,
    soft: bool = False,
) -> str:
    """Describe an object of ``shape`` (key of ``SHAPES``) in ``material`` (of ``MATERIALS``) and ``colours``.

    A fixed-palette material takes no colours and sometimes names its natural one ("red brick"). ``view`` is
    the word for the direction that the object is seen from (``VIEWS``); four captions in ten say it. Captions
    of softly lit images always say so, others never do. Equal generators give equal captions. Raises
    ``ValueError`` for an unknown material, shape or view, or the wrong number of colours.
    """
    if material not in MATERIALS:
        raise ValueError(f"unknown material {material!r}: choose one of {', '.join(MATERIALS)}")
    if shape not in SHAPES:
        raise ValueError(f"unknown shape {shape!r}: choose a key of SHAPES")
    if view is not None and view not in VIEWS:
        raise ValueError(f"unknown view {view!r}: choose one of {', '.join(VIEWS)}")
    least, most = MATERIALS[material]
    if not least <= len(colours) <= most:
        raise ValueError(f"{material} takes {least} to {most} colours, but {len(colours)} were given")
    phrase = _describe(material, colours, shape, rng, plain=soft)
    if soft:
        phrase = _choose(SOFT, rng).format(phrase)
    if view is not None and rng.random() < 0.4:
        phrase = (VIEWS[view][0] if rng.random() < 0.6 else _choose(VIEWS[view], rng)).format(phrase)
    return phrase


def _describe(
    material: str, colours: Sequence[str], shape: str, rng: np.random.Generator, plain: bool
) -> str:
    """The material, its colours and a noun; ``plain`` leaves out openings and endings to keep it short."""
    simple = rng.random() < 0.5
    noun = _noun(shape, rng, simple)
    if not colours and material in NATURAL and rng.random() < 0.2:
        colours = NATURAL[material]
    names = [("gray" if c == "grey" and rng.random() < 0.25 else c) for c in colours]
    joined = " and ".join(names)
    if simple:
        return article(_fill(BEFORE[material][0], joined, noun))
    if rng.random() < 0.5:
        phrase = article(_fill(_choose(BEFORE[material], rng), joined, noun))
    else:
        after = _fill(_choose(AFTER[material], rng), joined)
        phrase = f"{article(noun)} {_agreeing(after)}"
    if plain:
        return phrase
    if rng.random() < 0.3:
        return _choose(OPENINGS, rng).format(phrase)
    return _choose(ENDINGS, rng).format(phrase) if rng.random() < 0.1 else phrase


def canonical(material: str, colours: Sequence[str], noun: str) -> str:
    """The simplest caption, for any noun: "a red chair", "a red and blue striped cow", "a zebra vase"."""
    return article(_fill(BEFORE[material][0], " and ".join(colours), noun))


def vocabulary() -> list[str]:
    """All words that captions can contain, sorted, in lower case; hyphens are kept, punctuation is not."""
    phrases = [*OPENINGS, *ENDINGS, *SOFT, *GENERAL, *NOUNS, *COLOURS, "gray", "a an and", *MATERIALS]
    phrases += [text for table in (BEFORE, AFTER, VIEWS) for options in table.values() for text in options]
    phrases += [name for shape in SHAPES for name in _names(shape)]
    return sorted({word for phrase in phrases for word in re.findall(r"[a-z0-9-]+", phrase.lower())})


def _names(shape: str) -> tuple[str, ...]:
    """All names under which a shape may be called, the canonical one first."""
    names = NAMES.get(shape, (shape,))
    if shape in ANIMALS:
        names = (*names, f"toy {names[0]}", f"{names[0]} statue", f"{names[0]} figure")
    return names


def _noun(shape: str, rng: np.random.Generator, simple: bool) -> str:
    kind = rng.random()
    if kind < 0.25:
        return _choose(GENERAL, rng)
    if kind < 0.35:
        return _choose(NOUNS, rng)
    names = _names(shape)
    return names[0] if simple and rng.random() < 0.7 else _choose(names, rng)


def _choose(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _fill(pattern: str, colours: str, noun: str = "") -> str:
    """Put the colours into a pattern and the noun behind it, without double spaces where there are none."""
    return " ".join(f"{pattern.format(colours)} {noun}".split())


def _agreeing(text: str) -> str:
    """Correct "a" before a vowel inside a filled pattern ("with a orange surface")."""
    return re.sub(r"\ba (\w+)", lambda match: article(match.group(1)), text)

import re

import numpy as np
import pytest

from texgen.miniature.caption_words import NATURAL, VIEWS
from texgen.miniature.captions import (
    COLOURS,
    GENERAL,
    MATERIALS,
    NOUNS,
    article,
    canonical,
    caption,
    vocabulary,
)
from texgen.miniature.shapes import HELD_OUT, SHAPES


def draws(count: int, seed: int = 0) -> list[tuple[str, tuple[str, ...], str, str]]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        material = str(rng.choice(list(MATERIALS)))
        least, most = MATERIALS[material]
        number = int(rng.integers(least, most + 1))
        colours = tuple(str(c) for c in rng.choice(COLOURS, number, replace=False))
        shape = str(rng.choice(list(SHAPES)))
        found.append((material, colours, shape, caption(material, colours, shape, rng)))
    return found


def test_equal_generators_give_equal_captions():
    assert draws(50, 3) == draws(50, 3)
    assert draws(50, 3) != draws(50, 4)


def test_every_colour_and_article_is_right():
    for material, colours, _, text in draws(3000):
        words = re.findall(r"[a-z0-9-]+", text.replace("gray", "grey"))
        said = tuple(w for w in words if w in COLOURS)
        # the colours are all named, in order; a fixed palette may name its own
        assert said == colours or (not colours and said == NATURAL.get(material)), (material, text)
        for first, second in zip(words, words[1:], strict=False):
            if first in ("a", "an"):
                vowel = (second[0] in "aeiou") != (second in ("unicorn", "hourglass"))
                assert (first == "an") == vowel, text
        assert text[:2] in ("a ", "an") and "  " not in text and "{" not in text, text


def test_words_are_in_the_vocabulary():
    words = set(vocabulary())
    assert vocabulary() == sorted(words)
    for *_, text in draws(3000):
        assert set(re.findall(r"[a-z0-9-]+", text)) <= words, text
    assert HELD_OUT <= words


def test_canonical_forms():
    assert canonical("plain", ("orange",), "chair") == "an orange chair"
    assert canonical("striped", ("red", "blue"), "cow") == "a red and blue striped cow"
    assert canonical("wooden", (), "vase") == "a wooden vase"
    assert canonical("brick", ("red",), "bunny") == "a red brick bunny"
    assert article("hourglass") == "an hourglass" and article("unicorn") == "a unicorn"


def test_view_and_light_are_said_when_they_are_true():
    rng = np.random.default_rng(0)
    said = 0
    for index in range(600):
        view, soft = list(VIEWS)[index % 5], index % 3 == 0
        text = caption("plain", ("red",), "chair", rng, view, soft)
        assert ("softly lit" in text or "soft light" in text) == soft, text
        told = {v for v, words in WORDS_OF_VIEWS.items() if re.search(words, text)}
        assert told <= {view}, text
        said += bool(told)
    assert 0.3 < said / 600 < 0.5
    with pytest.raises(ValueError, match="sideways"):
        caption("plain", ("red",), "chair", rng, "sideways")


WORDS_OF_VIEWS = {
    "front": r"front",
    "side": r"\bside\b",
    "back": r"back view|behind|rear view",
    "top": r"\btop\b|above",
    "bottom": r"bottom|below",
}


def test_nouns_are_shared_out():
    texts = [text for *_, text in draws(4000)]

    def share(names: tuple[str, ...]) -> float:
        pattern = re.compile(r"\b(" + "|".join(names) + r")\b")
        return sum(bool(pattern.search(text)) for text in texts) / len(texts)

    assert 0.05 < share(NOUNS) < 0.2
    assert 0.2 < share(GENERAL) < 0.45
    assert not set(NOUNS) & set(SHAPES)


def test_wrong_input_is_named():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="paisley"):
        caption("paisley", (), "chair", rng)
    with pytest.raises(ValueError, match="bunny"):
        caption("plain", ("red",), "bunny", rng)
    with pytest.raises(ValueError, match="striped takes 2"):
        caption("striped", ("red",), "chair", rng)

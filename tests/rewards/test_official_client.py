"""What is said when the official packages fail in their own environment."""

import sys

import pytest

from rewards.official.client import OfficialScore
from texgen.errors import PlainError


def test_a_failure_over_there_is_one_sentence_and_its_words_are_printed(capsys):
    score = OfficialScore.__new__(OfficialScore)
    score.version, score._python = "hpsv2 1.2.0", sys.executable
    with pytest.raises(
        PlainError, match=r"^hpsv2 1.2.0 failed in its own environment \(KeyError: .*\)"
    ) as caught:
        score.ask({"kind": "nonsense"})
    assert "\n" not in str(caught.value)
    assert "Traceback" in capsys.readouterr().err

"""How a call ends that was given bad input: well, or in one sentence; and what it left in its folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from workflow.runtime.step_errors import plain_sentence


def outcome(call: Callable[[], object]) -> str:
    """ "" when the call ends well, else the sentence that a user sees. Any other error passes, as a traceback
    does."""
    try:
        call()
    except Exception as error:
        sentence = plain_sentence(error)
        if sentence is None:
            raise
        return sentence
    return ""


def check_sentence(sentence: str, *parts: str) -> None:
    """One line that ends in a full stop, is no essay, shows no code and holds all the parts."""
    assert "\n" not in sentence and sentence.endswith("."), sentence
    assert 20 < len(sentence) < 700, sentence
    assert "Traceback" not in sentence and "object at 0x" not in sentence, sentence
    for part in parts:
        assert part in sentence, f"{part!r} is not in: {sentence}"


def files_below(folder: Path) -> set[str]:
    """Names of all files below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}

"""Prompts that a model cannot read as they are: empty, too long, of words that it does not know.

Painter and scorers say the same sentences, each by its own tokenizer.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

from texgen.errors import PlainError


class PromptWarning(UserWarning):
    """A prompt of which a part does not count; the message is one sentence that names it."""


def require_words(prompt: str) -> None:
    """Raises PlainError where a prompt says nothing."""
    if not prompt.strip():
        raise PlainError("The prompt is empty; say what the texture shows, such as 'a red brick vase'.")


def prompt_problems(tokenizer: Any, prompt: str, limit: int) -> list[str]:
    """What of a prompt does not reach a model, one sentence each.

    tokenizer: of transformers. limit: how many tokens the model reads, special ones included.
    """
    if not prompt.strip():
        return []
    problems = []
    ids = tokenizer(prompt, verbose=False).input_ids
    if len(ids) > limit:
        own = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
        lost = tokenizer.decode(own[limit - (len(ids) - len(own)) :]).strip()
        problems.append(
            f"The prompt {prompt!r} has {len(ids)} tokens; only the first {limit} count, and "
            f"{lost!r} is left out."
        )
    words = [word for word in re.split(r"[\s,.;:!?\"()]+", prompt) if word]
    pieces = [tokenizer(word, add_special_tokens=False, verbose=False).input_ids for word in words]
    unknown = [word for word, ids in zip(words, pieces, strict=True) if tokenizer.unk_token_id in ids]
    if words and (len(unknown) == len(words) or all(len(ids) > 1 for ids in pieces)):
        problems.append(
            f"Not one word of the prompt {prompt!r} is known to the model's vocabulary; it reads it as an "
            "empty prompt or letter by letter."
        )
    elif unknown:
        problems.append(
            f"The prompt {prompt!r} has words that the model's vocabulary lacks and that do not count: "
            f"{', '.join(dict.fromkeys(unknown))}."
        )
    return problems


def warn_of_prompt(tokenizer: Any, prompt: str, limit: int) -> None:
    """A `PromptWarning` for each of `prompt_problems`."""
    for problem in prompt_problems(tokenizer, prompt, limit):
        warnings.warn(problem, PromptWarning, stacklevel=3)

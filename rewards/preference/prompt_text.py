"""Prompts: cleaning as CLIP's first tokenizer did it, which fast tokenizers leave out; a check of lists."""

from __future__ import annotations

import html
import re

import ftfy


def require_prompts(prompts: list[str]) -> None:
    """Raises ValueError for no prompt, and for a single text, whose letters would be taken for prompts."""
    if isinstance(prompts, str) or not prompts:
        raise ValueError(f"prompts is {prompts!r}; give a list with at least one prompt.")


def clean_text(prompt: str) -> str:
    """Repairs broken Unicode, unescapes HTML twice, and joins runs of white space to one space.

    Source: what OpenAI's and open_clip's tokenizers do first. Without it curly quotes, HTML entities and
    ligatures become other tokens.
    """
    repaired = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", repaired.strip()).strip()

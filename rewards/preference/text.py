"""Cleaning of prompts as CLIP's first tokenizer did it, which fast tokenizers leave out."""

from __future__ import annotations

import html
import re

import ftfy


def clean_text(prompt: str) -> str:
    """Mends broken unicode, unescapes HTML twice, and joins runs of white space to one space.

    Source: what OpenAI's and open_clip's tokenizers do first. Without it curly quotes, HTML entities and
    ligatures become other tokens.
    """
    mended = html.unescape(html.unescape(ftfy.fix_text(prompt)))
    return re.sub(r"\s+", " ", mended.strip()).strip()

"""Texts of users, servers and libraries inside our outputs: one escaping function per format.

HTML is escaped by Jinja; matplotlib is told to take no mathematics (`paper.mplstyle`). Every function first
takes out what no output can show: control characters, marks that turn the direction of all that follows, and
lone surrogates (`texgen.storage.plain_text`).
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from texgen.storage.plain_text import plain

# Brackets, hyphens and signs of comparison mean nothing in intervals and numbers, and stay readable there.
_MARKDOWN = re.compile(
    r"(?P<tag><(?=[A-Za-z/!?]))|(?P<entity>&(?=#?\w+;))|(?P<link>\](?=[(\[:]))|(?P<number>^\d+(?=[.)](?:\s|$)))"
    r"|[\\`*|~]|(?<!\w)_|_(?!\w)|^[#+=>-](?!\d)"
)
_FORMULA = ("=", "+", "-", "@")
_MINUS = re.compile(r"(?<![\w.)-])-(?=\d)")
"""The hyphen before a negative number, in no word and no range."""
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: "\\" + sign for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"$^\dagger$",
    "▲": r"$^\blacktriangle$",
    "▼": r"$^\blacktriangledown$",
    "≈": r"$^\approx$",
    "≤": r"$\leq$",
    "<": r"$<$",
    ">": r"$>$",
    "×": r"$\times$",
    "°": r"$^\circ$",
    "–": "--",
    "¹": r"$^1$",
    "²": r"$^2$",
    "…": r"\ldots{}",
}


def markdown(text: str) -> str:
    """Text inside a Markdown document, a table's cell or a list's item: no tags, links, marks or cells."""
    return _MARKDOWN.sub(_escaped_markdown, plain(text))


def _escaped_markdown(found: re.Match[str]) -> str:
    replaced = {"tag": "&lt;", "entity": "&amp;", "link": "]\\", "number": f"{found[0]}\\"}
    return replaced.get(found.lastgroup or "", "\\" + found[0])


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file: text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    seen = text
    while seen and (seen[0].isspace() or unicodedata.category(seen[0]) == "Cf"):
        seen = seen[1:]
    # Spreadsheets of some languages take the wide forms of the signs for them.
    return f"'{text}" if unicodedata.normalize("NFKC", seen[:1]).startswith(_FORMULA) else text


def latex(text: str) -> str:
    """Plain text with LaTeX's special signs escaped and our marks as mathematics."""
    return _MINUS.sub("$-$", "".join(_LATEX.get(sign, sign) for sign in plain(text)))


def script_json(value: Any) -> str:
    """JSON inside a script element, which neither ends the element nor opens a comment in it."""
    text = json.dumps(value, allow_nan=False)  # in ASCII, so that no separator of Unicode ends a line
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

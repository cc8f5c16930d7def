"""Text from outside, as one line that any output can hold. Imports nothing but the standard library."""

from __future__ import annotations

import re

# Controls, separators of Unicode, overrides and isolates of direction, surrogates, non-characters.
UNSHOWABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_BLANK = str.maketrans(dict.fromkeys("\t\n\r\x0b\x0c\x85\u2028\u2029", " "))


def plain(text: object) -> str:
    """One line of text that any output can hold: line ends become blanks, other unshowable signs U+FFFD."""
    return UNSHOWABLE.sub("\ufffd", str(text).translate(_BLANK))


def terminal(text: object) -> str:
    """Text for a terminal or a log: no escape sequences; line feeds stay."""
    return "\n".join(plain(line) for line in str(text).split("\n"))


def shortened(text: object, most: int = 200) -> str:
    """`plain` text of at most so many characters."""
    shown = plain(text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."

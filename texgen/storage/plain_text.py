"""Text from outside, as one line that any output can hold. Imports nothing but the standard library."""

from __future__ import annotations

import re

# Controls, separators of Unicode, overrides and isolates of direction, surrogates, non-characters.
UNSHOWABLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)
_CREDENTIALS = re.compile(r"(?<=://)[^\s/?#'\"<>]*@")
_BLANK = str.maketrans(dict.fromkeys("\t\n\r\x0b\x0c\x85\u2028\u2029", " "))


def plain(text: object) -> str:
    """One line of text that any output can hold: line ends become blanks, other unshowable signs U+FFFD."""
    return UNSHOWABLE.sub("\ufffd", str(text).translate(_BLANK))


def terminal(text: object) -> str:
    """Text for a terminal or a log: no escape sequences and no passwords; line feeds stay."""
    return "\n".join(plain(without_passwords(line)) for line in str(text).split("\n"))


def without_passwords(text: object) -> str:
    """Text whose addresses (scheme://user:password@host) have lost user and password."""
    return _CREDENTIALS.sub("", str(text))


def first_line(error: object) -> str:
    """What a library says of an error, as one line without passwords; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return shortened(without_passwords(lines[0]) if lines else type(error).__name__)


def shortened(text: object, most: int = 200) -> str:
    """`plain` text of at most so many characters."""
    shown = plain(text)
    return shown if len(shown) <= most else f"{shown[: most - 3]}..."

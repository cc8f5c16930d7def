"""Numbers as the results page prints them."""

from __future__ import annotations

import math

ABSENT = "–"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """E.g. "1 seed", "3 seeds"."""
    return f"{n} {singular if n == 1 else plural or singular + 's'}"


def decimal(value: float, digits: int) -> str:
    return ABSENT if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int) -> str:
    return ABSENT if math.isnan(value) else f"{value:+.{digits}f}"


def number(value: float) -> str:
    """A mean count: without decimals when whole."""
    return ABSENT if math.isnan(value) else f"{value:.1f}".removesuffix(".0")


def gigabytes(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value / 1e9:.2f}"


def show_p(p: float) -> str:
    """Two figures, from 0.0001 on."""
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.{min(4, max(2, 1 - math.floor(math.log10(p))))}f}"

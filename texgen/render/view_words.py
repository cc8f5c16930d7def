"""The word that stands in a prompt for the direction of a view, by the rule of each method.

Azimuth and elevation in degrees, positive elevation above. What one paper calls left another calls right.
"""

from __future__ import annotations

from collections.abc import Callable

from texgen.render.cameras import direction_word, turned_from_front

_EIGHT = ("front", "front right", "right", "back right", "back", "back left", "left", "front left")
_FOUR = ("front", "right", "back", "left")


def texture_word(azimuth: float, elevation: float) -> str:
    """TEXTure's six words; +x, azimuth 90, is its left."""
    if elevation >= 50:
        return "overhead"
    if elevation <= -50:
        return "bottom"
    azimuth %= 360
    if 35 <= azimuth < 145:
        return "left"
    if 145 <= azimuth < 215:
        return "back"
    return "right" if 215 <= azimuth < 325 else "front"


def text2tex_word(azimuth: float, elevation: float) -> str:
    """Text2Tex's ring of eight, four with "top" before them from 60 degrees on, and top and bottom."""
    if abs(elevation) >= 85:
        return "top" if elevation > 0 else "bottom"
    azimuth %= 360
    if elevation >= 60:
        return "top " + _FOUR[int((azimuth + 45) // 90) % 4]
    return _EIGHT[int((azimuth + 22.5) // 45) % 8]


def syncmvd_word(azimuth: float, elevation: float) -> str:
    """SyncMVD's words; its raised cameras at 30 degrees still count as front and back."""
    if abs(elevation) > 30:
        return "top" if elevation > 0 else "bottom"
    turned = turned_from_front(azimuth)
    if turned <= 30:
        return "front"
    return "back" if turned >= 120 else "side"


WORD_RULES: dict[str, Callable[[float, float], str]] = {
    "intex": direction_word,
    "texture": texture_word,
    "text2tex": text2tex_word,
    "syncmvd": syncmvd_word,
    "none": lambda azimuth, elevation: "",
}

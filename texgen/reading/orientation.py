"""Which way up a file stands: axes and turns in words, and the rotation that they are. Imports no torch."""

from __future__ import annotations

import re
from itertools import product

import numpy as np

from texgen.errors import PlainError

AXES = {
    f"{sign}{axis}": (index, -1 if sign == "-" else 1)
    for index, axis in enumerate("xyz")
    for sign in ("", "+", "-")
}
_TURN = re.compile(r"([xyz]):([+-]?\d+(?:\.\d*)?)")
# A file with z up looks along -y in CAD and in Blender; one with x up has no custom.
_CUSTOMARY_FRONT = {0: "z", 1: "z", 2: "-y"}


class OrientationError(PlainError):
    """An orientation that cannot be. field: up, front or rotate; reason: the sentence that follows its name,
    for whoever asked by an option or by a column."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field} {reason}")
        self.field, self.reason = field, reason


def turns(up: str | None, front: str | None, rotate: str | None) -> str:
    """The turns, in the words of `rotate`, that bring the file's `up` to +y and its `front` to +z.

    up, front: x, y, z with an optional sign; up None = y; front None = z, or -y where z is up. rotate: turns
    given as such, which are returned as they are. Raises OrientationError.
    """
    if rotate is not None:
        if up is not None or front is not None:
            raise OrientationError("rotate", "says all of the turn; leave up and front out beside it.")
        _steps(rotate)
        return rotate
    for field, value in (("up", up), ("front", front)):
        if value is not None and value.lower() not in AXES:
            raise OrientationError(field, f"is {value!r}; give one of x, y, z, -x, -y, -z.")
    above = AXES["y" if up is None else up.lower()]
    ahead = AXES[_CUSTOMARY_FRONT[above[0]] if front is None else front.lower()]
    if ahead[0] == above[0]:
        raise OrientationError(
            "front", f"is {front}, on one axis with up, which is {up or 'y'}; give one that is across up."
        )
    return _turn_text(above, ahead)


def _turn_text(up: tuple[int, int], front: tuple[int, int]) -> str:
    """Quarter turns about x, y and z that bring two signed axes to +y and +z, tried in turn."""
    wanted = np.eye(3)
    for x, y, z in product((0, -90, 90, 180), repeat=3):
        text = ",".join(f"{name}:{angle}" for name, angle in (("x", x), ("z", z), ("y", y)) if angle)
        turn = rotation_matrix(text)
        reached = turn[:, up[0]] * up[1], turn[:, front[0]] * front[1]
        if np.allclose(reached, wanted[1:]):
            return text
    raise AssertionError("quarter turns reach every pair of axes")


def _steps(text: str) -> list[tuple[int, float]]:
    """The (axis, degrees) of turns such as "x:-90,y:180". Raises OrientationError."""
    found = []
    for step in filter(None, (part.strip() for part in text.split(","))):
        match = _TURN.fullmatch(step)
        if match is None:
            raise OrientationError(
                "rotate", f"is {text!r}, but {step!r} is not a turn; give turns such as x:-90 or x:-90,y:180."
            )
        found.append(("xyz".index(match[1]), float(match[2])))
    return found


def rotation_matrix(text: str) -> np.ndarray:
    """Turns such as "x:-90" or "x:-90,y:180" (degrees, applied from left to right) -> [3, 3] float64.

    Empty text is the identity; "x:-90" makes a file whose up axis is z one whose up axis is y. Raises
    OrientationError.
    """
    total = np.eye(3)
    for axis, degrees in _steps(text):
        angle = np.deg2rad(degrees)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[j, i] = np.sin(angle)
        turn[i, j] = -turn[j, i]
        total = turn @ total
    return total


def facing(rotation: np.ndarray) -> tuple[str, str]:
    """(up, front) of the file that a rotation [3, 3] takes for such: "+z" and the like, else a direction."""

    def name(direction: np.ndarray) -> str:
        axis = int(np.abs(direction).argmax())
        if abs(direction[axis]) < 0.999:
            return "(" + ", ".join(f"{value:.2f}" for value in direction) + ")"
        return f"{'-' if direction[axis] < 0 else '+'}{'xyz'[axis]}"

    return name(rotation[1]), name(rotation[2])


def orientation_line(rotation: np.ndarray, changed_by: str) -> str:
    """What is taken for up and front, for a person to check. changed_by: words for what changes it."""
    up, front = facing(rotation)
    return f"up is {up} and front is {front} of the file ({changed_by} change it)"

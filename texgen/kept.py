"""The last few results of something costly, by key."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class Kept:
    """Keeps `most` values, those used last; with 0 none.

    Keys may hold ids of objects: those objects are then given as owners and stay alive in the entry, so that
    an id cannot be given to another object while the entry lives.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._entries: OrderedDict[Hashable, tuple[tuple[object, ...], Any]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value], *owners: object) -> Value:
        """The value of a key, made where it is not kept."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key][1]
        value = make()
        self._entries[key] = (owners, value)
        while len(self._entries) > max(self.most, 0):
            self._entries.popitem(last=False)
        return value

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

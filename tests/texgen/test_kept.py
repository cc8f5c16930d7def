"""Kept values: those used last stay, owners live as long, nothing is kept with 0."""

import gc
import weakref

import pytest

from texgen.kept import Kept


class Thing:
    pass


def test_those_used_last_stay():
    kept, made = Kept(2), []

    def value(key):
        return kept.get(key, lambda: made.append(key) or f"value {key}")

    assert [value(key) for key in "abaca"] == ["value a", "value b", "value a", "value c", "value a"]
    assert made == ["a", "b", "c"]
    assert value("b") == "value b"
    assert made == ["a", "b", "c", "b"]
    assert len(kept) == 2


def test_owners_live_as_long_as_their_entry():
    kept, thing = Kept(1), Thing()
    alive = weakref.ref(thing)
    kept.get(id(thing), lambda: 1, thing)
    del thing
    gc.collect()
    assert alive() is not None
    kept.get("other", lambda: 2)
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize("most", [0, -1])
def test_none_are_kept_with_0(most):
    kept, made = Kept(most), []
    for _ in range(2):
        kept.get("a", lambda: made.append(1))
    assert len(made) == 2 and len(kept) == 0


def test_a_failure_keeps_nothing():
    kept = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("a", lambda: 1 / 0)
    assert kept.get("a", lambda: 3) == 3
    kept.clear()
    assert kept.get("a", lambda: 4) == 4

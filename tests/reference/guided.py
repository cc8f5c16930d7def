"""A small coverage-guided search for bytes that a reader does not expect, without a fuzzer to install.

Bytes that reach a new pair of consecutive lines of the watched sources join the collection that further bytes
are made from. `tests/fuzz` holds the same for atheris, which is faster and can run for hours.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Sequence
from types import FrameType

INTERESTING = [b"\0", b"\xff", b"\x80", b"\xff" * 4, b"\0" * 4, b"-1", b"0", b"nan", b"1e999", b"\n", b"\t"]
EXAMPLES = int(os.environ.get("TEXREWARD_EXAMPLES", "0"))


class Found:
    """What a search has reached. corpus: bytes that reached something new. edges: (file, line, next line)."""

    def __init__(self) -> None:
        self.corpus: list[bytes] = []
        self.edges: set[tuple[str, int, int]] = set()


def search(
    target: Callable[[bytes], object],
    seeds: Sequence[bytes],
    sources: Sequence[str],
    tries: int,
    words: Sequence[bytes] = (),
) -> Found:
    """Call `target` with the seeds and then with `tries` changed ones, or TEXREWARD_EXAMPLES where that is
    more, and then other ones at each call.

    sources: beginnings of the paths of the files whose lines count. words: put in beside `INTERESTING`. What
    the target raises passes, with the bytes in a note.
    """
    rng = random.Random(None if EXAMPLES else 0)
    found = Found()
    for data in seeds:
        found.edges |= edges_of(target, data, sources)
        found.corpus.append(data)
    for _ in range(max(EXAMPLES, tries)):
        data = changed(rng, found.corpus, [*INTERESTING, *words])
        edges = edges_of(target, data, sources)
        if not edges <= found.edges:
            found.edges |= edges
            found.corpus.append(data)
    return found


def edges_of(
    target: Callable[[bytes], object], data: bytes, sources: Sequence[str]
) -> set[tuple[str, int, int]]:
    """Pairs of consecutive lines that one call runs in the watched files."""
    edges: set[tuple[str, int, int]] = set()
    watched: dict[str, bool] = {}

    def enter(frame: FrameType, event: str, argument: object):
        name = frame.f_code.co_filename
        if name not in watched:
            watched[name] = name.startswith(tuple(sources))
        if not watched[name]:
            return None
        last = 0

        def line(frame: FrameType, event: str, argument: object):
            nonlocal last
            edges.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        target(data)
    except BaseException as error:
        error.add_note(f"The bytes were {data!r}")
        raise
    finally:
        sys.settrace(before)
    return edges


def changed(rng: random.Random, corpus: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """One of the collected bytes after one to four random changes."""
    data = rng.choice(corpus)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randint(0, len(data)), rng.randint(1, 16)
        kind = rng.randrange(7)
        if kind == 0:
            data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + data[at + length :]
        elif kind == 2:
            data = data[:at] + data[at : at + length] * rng.randint(2, 5) + data[at + length :]
        elif kind == 3:
            data = data[:at] + rng.choice(words) + data[at:]
        elif kind == 4:
            word = rng.choice(words)
            data = data[:at] + word + data[at + len(word) :]
        elif kind == 5:
            other = rng.choice(corpus)
            data = data[:at] + other[rng.randint(0, len(other)) :]
        else:
            data = data[:at]
    return data

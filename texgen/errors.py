"""Errors that a user can act on. Imports nothing of ours, so that anything may raise or catch them."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

_MEMORY_WORDS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "out of memory",
    "status_alloc_failed",  # of cuBLAS, cuDNN and their kin
    "can't start new thread",
    "failed to map segment",
)


class PlainError(ValueError):
    """A mistake or damage outside the code. The message names it and how to fix it, and is shown alone."""


class DamagedFileError(PlainError):
    """A file that an earlier step wrote, or that came with a model, cannot be read."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was used up, that of the machine or, by torch's own error, that of a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # torch, Warp and the loader of shared libraries have no kind of their own for it.
    text = str(error).lower()
    return isinstance(error, RuntimeError | ImportError) and any(each in text for each in _MEMORY_WORDS)


def package_trouble(package: str, error: ImportError) -> str:
    """Whether an optional package is missing or broken, as a part of a sentence.

    package: the name under which it is imported. error: what that raised.
    """
    if isinstance(error, ModuleNotFoundError) and error.name == package:
        return f"{package} is not installed"
    # It is there and something that it needs is not, or it was built for another torch.
    reason = str(error).strip().rstrip(".") or type(error).__name__
    return f"{package} is installed but cannot be imported ({reason})"


@contextmanager
def damage_named(what: object) -> Iterator[None]:
    """Whatever a library raises while it opens `what` becomes one DamagedFileError that names it.

    Errors that already are a sentence, missing files and lack of memory pass as they are.
    """
    try:
        yield
    except (PlainError, FileNotFoundError, ImportError):
        raise
    except Exception as error:  # every library has its own kinds for a broken file
        if is_out_of_memory(error):
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].strip().rstrip(".")[:160]
        raise DamagedFileError(
            f"{what} cannot be opened ({reason}); put the whole files there again."
        ) from error

"""Where models are loaded, and that libraries are quiet about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from workflow.config.sheets import ConfigError
from workflow.runtime.devices import pick_device


def device_of(where: str, device: str | None) -> str:
    """The device that was asked for, None = a GPU where there is one. where: the function, for messages.

    Raises ConfigError for one that is not supported or not here.
    """
    if device is None:
        return pick_device()
    if device != "cpu" and device.partition(":")[0] != "cuda":
        raise ConfigError(f"{where}: device is {device!r}; give cpu or cuda.")
    if device != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"{where}: device is {device!r}, but torch finds no GPU here; give cpu.")
    return device


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Neither bars nor remarks of transformers while weights are loaded; then it speaks as before."""
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()

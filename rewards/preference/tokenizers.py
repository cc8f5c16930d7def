"""Opening the tokenizer of a scorer from a folder."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from texgen.errors import DamagedFileError


def open_tokenizer(folder: str | Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder. Code that the folder brings along is never run and never asked about.

    Raises DamagedFileError where the tokenizer cannot be opened without it, or is damaged.
    """
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # every kind of tokenizer has its own errors for a broken file
        reason = " ".join(str(error).split())[:160].rstrip(".") or type(error).__name__
        if "trust_remote_code" in str(error):
            reason = "it needs code of its own, which is never run here"
        raise DamagedFileError(
            f"the tokenizer in {folder} cannot be opened ({reason}); put the whole files there again."
        ) from error

"""The official half of `benchmarks/score.py`; runs in the environment of the official packages.

    .official/bin/python benchmarks/score_official.py < job.json > answer.json      (PYTHONPATH: the root)

job: that of `rewards.official.serve` without its pairs, and `size`, `threads`, `clock`, and `calls`: for each
case to be timed its `[[paths, prompt], ...]`, one official call each, all images of the prompt in it.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import json
import sys
import time
from pathlib import Path

import torch

PARITY = Path(__file__).resolve().parents[1] / "tests" / "parity" / "official_side.py"


def parity():
    """The official half of the parity check, which knows how to make the packages build tiny models."""
    spec = importlib.util.spec_from_file_location("official_side", PARITY)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    job = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # the packages print
        official_side = parity()
        from rewards.official import scoring_calls

        torch.set_num_threads(job["threads"])
        if job["size"] == "tiny":
            official_side.shrink(job["kind"])
        device = "cuda" if torch.cuda.is_available() else "cpu"
        score = scoring_calls.load(job, device)
        clock = getattr(time, job["clock"])
        cases = []
        for calls in job["calls"]:
            score(calls[0][0][:1], "warm up")
            with opened_once() if job["kind"] == "pickscore" else contextlib.nullcontext():
                started = clock()
                values = [score(paths, prompt) for paths, prompt in calls]
                cases.append({"scores": values, "seconds": clock() - started})
    json.dump({"cases": cases, "device": device}, sys.stdout)


@contextlib.contextmanager
def opened_once():
    """Every file is opened and decoded once.

    The function of PickScore's model card takes opened images, which its users hand to one call after the
    other; those of the other packages hand over paths.
    """
    from PIL import Image

    plain = Image.open
    Image.open = functools.cache(plain)
    try:
        yield
    finally:
        Image.open = plain


if __name__ == "__main__":
    main()

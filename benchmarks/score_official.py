"""The official half of `benchmarks/score.py`; runs in the environment of the official packages.

    .official/bin/python benchmarks/score_official.py < job.json > answer.json      (PYTHONPATH: the root)

job: that of `rewards.official.serve`, and `size`, `threads` and `clock`.
"""

from __future__ import annotations

import contextlib
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
        from rewards.official import scorers
        from rewards.official.serve import judge

        torch.set_num_threads(job["threads"])
        if job["size"] == "tiny":
            official_side.shrink(job["kind"])
        device = "cuda" if torch.cuda.is_available() else "cpu"
        score = scorers.load(job, device)
        judge(score, [[job["pairs"][0][0], "warm up"]])
        clock = getattr(time, job["clock"])
        started = clock()
        values = judge(score, job["pairs"])
        seconds = clock() - started
    json.dump({"scores": values, "seconds": seconds, "device": device}, sys.stdout)


if __name__ == "__main__":
    main()

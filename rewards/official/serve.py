"""Scores PNG files by an official package; runs inside the environment of the official packages.

    python -m rewards.official.serve < job.json > scores.json

job: {"kind", "folders", "pairs": [[path, prompt], ...], and what the kind needs}.
"""

from __future__ import annotations

import contextlib
import json
import sys

from rewards.official import shims


def main() -> int:
    job = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):  # the packages print
        torchvision = shims.install()
        import torch
        import transformers

        from rewards.official import scoring_calls

        torch.set_num_threads(job.get("threads") or torch.get_num_threads())
        device = "cuda" if torch.cuda.is_available() else "cpu"
        score = scoring_calls.load(job, device)
        values = judge(score, job["pairs"])
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "images": torchvision}
    json.dump({"scores": values, "versions": versions, "device": device}, sys.stdout)
    return 0


def judge(score, pairs: list[list[str]]) -> list[float]:
    """Scores of (path, prompt) pairs in their order; one call for all images of a prompt."""
    values = [0.0] * len(pairs)
    for prompt in dict.fromkeys(prompt for _, prompt in pairs):
        places = [index for index, pair in enumerate(pairs) if pair[1] == prompt]
        for index, value in zip(places, score([pairs[index][0] for index in places], prompt), strict=True):
            values[index] = value
    return values


if __name__ == "__main__":
    sys.exit(main())

"""Weights of published scorers at the revisions that are pinned."""

from __future__ import annotations

from pydantic import Field

from rewards.checkpoints.published_files import PUBLISHED
from workflow.config.strict import Weights

# Tokenizers of published scores.
BERT = "google-bert/bert-base-uncased"


VIT_H_14 = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"


class Checkpoint(Weights):
    """Weights of a scorer."""

    sha256: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{64}$",
        description="SHA-256 of the file of weights; checked when given.",
    )


def pinned(hub: str) -> Checkpoint:
    """A published checkpoint at the revision that is pinned in rewards/checkpoints/published_files.py."""
    return Checkpoint(hub=hub, revision=PUBLISHED[hub].revision)


def tokenizer_of(hub: str) -> Weights:
    """A published tokenizer at its pinned revision."""
    return Weights(hub=hub, revision=PUBLISHED[hub].revision)

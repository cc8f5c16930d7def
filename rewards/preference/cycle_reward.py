"""CycleReward (arXiv 2506.02095): BLIP trained on cycle consistency, without people's judgements.

The towers are ImageReward's; the head is its five linear layers with GELU between them and without dropout,
so it cannot be folded. The score is the head's value as it is. Not among the paper's scores; since nobody's
preferences went into it, it judges what was tuned to those of the others.

Layout: a folder with `CycleReward-<model>.pth` and `med_config.json`, as its release v1.0.0 has them; the
tokenizer, BERT's, in another folder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from rewards.checkpoints.blip import BlipTowers
from rewards.preference.blip_model import BlipScore
from rewards.preference.clip_model import file_digest
from rewards.preference.preprocess import Preprocessing

MODELS = ("Combo", "T2I", "I2T")
# Tokens that its scoring call truncates and pads to.
MAX_LENGTH = 128
# Linear layers of the head of width D-1024-128-64-16-1; the odd numbers are its activations.
LAYERS = ("layers.0", "layers.2", "layers.4", "layers.6", "layers.8")


class CycleReward(BlipScore):
    """BLIP with a head of five layers; higher is a better match. Options are those of `FrozenBlip`."""

    name = "cyclereward"
    higher_is_better = True
    typical_range = (-3.0, 3.0)

    def __init__(
        self,
        towers: BlipTowers,
        head: dict[str, Tensor],
        tokenizer: Callable,
        preprocessing: Preprocessing,
        version: str,
        max_length: int = MAX_LENGTH,
        **options,
    ) -> None:
        super().__init__(towers, tokenizer, preprocessing, version, max_length, **options)
        wrong = set(head) ^ {f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias")}
        if wrong:
            raise ValueError(f"{version}: weight 'mlp.{min(wrong)}' of the head is missing or unexpected.")
        self.layers = [
            tuple(head[f"{layer}.{kind}"].float().to(self.device) for kind in ("weight", "bias"))
            for layer in LAYERS
        ]

    @classmethod
    def load(
        cls,
        source: str | Path,
        model: str = "Combo",
        tokenizer: str | Path | None = None,
        vision_heads: int | None = None,
        **options,
    ) -> CycleReward:
        """`source`: folder with the checkpoint of `model` (Combo, T2I, I2T); tokenizer: folder of BERT's."""
        if model not in MODELS:
            raise ValueError(f"CycleReward has no model {model!r}; allowed are {', '.join(MODELS)}.")
        path = Path(source) / f"CycleReward-{model}.pth"
        return cls.of_checkpoint(path, tokenizer, f"{path.stem}@{file_digest(path)}", vision_heads, **options)

    def _judge(self, states: Tensor) -> Tensor:
        with torch.autocast(self.device.type, enabled=False):
            for weight, bias in self.layers[:-1]:
                states = F.gelu(F.linear(states, weight, bias))
            return F.linear(states, *self.layers[-1])[:, 0]

"""How a frozen scorer runs, which its weights say nothing of."""

from __future__ import annotations

from dataclasses import dataclass

from rewards.preference.precision import Precision


@dataclass(frozen=True)
class ScorerOptions:
    """eight_bit: round inputs as the 8-bit pipeline does, for evaluation. max_batch: images per forward pass;
    more are split, each part under a checkpoint. recompute: layers keep their inputs only and are computed
    again on the way back. precision: of the towers; what they give is float32."""

    eight_bit: bool = False
    max_batch: int | None = None
    recompute: bool = False
    precision: Precision = "float32"

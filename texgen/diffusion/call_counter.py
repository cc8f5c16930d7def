"""How often the networks of a backbone were evaluated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class CallCounter:
    """Network evaluations so far, one per image: a guidance pair counts once, views denoised as one batch
    count one by one. A recomputation for a checkpointed gradient counts again, because it costs again."""

    unet: int = 0
    controlnet: int = 0

    def reset(self) -> None:
        self.unet = self.controlnet = 0

    def as_dict(self) -> dict[str, int]:
        return {"unet": self.unet, "controlnet": self.controlnet}

"""How much the miniature is trained: `test` checks the code, `full` made the shipped weights."""

from __future__ import annotations

from dataclasses import dataclass

IMAGE_SIZE = 128
CAPTION_LENGTH = 24


@dataclass(frozen=True)
class Scale:
    """Sizes of one training run; every stage reads its own fields."""

    views: int  # rasterised views of random shapes
    samples: int  # painted images that the diffusion model sees
    vae_steps: int
    backbone_steps: int
    clip_steps: int


SCALES: dict[str, Scale] = {
    "test": Scale(views=6, samples=12, vae_steps=3, backbone_steps=3, clip_steps=3),
    "full": Scale(views=3000, samples=12000, vae_steps=1500, backbone_steps=2000, clip_steps=620),
}

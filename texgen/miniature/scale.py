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
    backbone_batch: int  # images per step of the diffusion model or a ControlNet
    clip_steps: int
    pickscore_steps: int
    hpsv2_steps: int
    blip_steps: int
    judge_steps: int
    controlnet_steps: int
    atlases: int  # unwrapped shapes, fewer those of too many charts
    atlas_paints: int  # paintings of each
    scorer_batch: int  # images, or pairs of images, per step of a scorer


SCALES: dict[str, Scale] = {
    "test": Scale(
        views=6,
        samples=12,
        vae_steps=3,
        backbone_steps=2,
        backbone_batch=2,
        clip_steps=2,
        pickscore_steps=2,
        hpsv2_steps=2,
        blip_steps=2,
        judge_steps=3,
        controlnet_steps=2,
        atlases=3,
        atlas_paints=1,
        scorer_batch=4,
    ),
    "full": Scale(
        views=4000,
        samples=20000,
        vae_steps=1500,
        backbone_steps=8000,
        backbone_batch=16,
        clip_steps=1200,
        pickscore_steps=320,
        hpsv2_steps=500,
        blip_steps=700,
        judge_steps=600,
        controlnet_steps=1500,
        atlases=600,
        atlas_paints=8,
        scorer_batch=48,
    ),
}

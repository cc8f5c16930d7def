"""Aesthetic score: an affine function of the unit CLIP embedding of an image."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import Tensor

from rewards.checkpoints.linear_head import fold_head
from rewards.checkpoints.tensors import read_tensors
from rewards.preference.clip_model import FrozenClip
from rewards.preference.prompt_text import require_prompts


class Aesthetic:
    """score = w . e / |e| + b, with e the CLIP image embedding; the prompt is not used.

    The LAION head (aesthetic V2) is five linear layers without activations, hence one affine map; folding
    them once removes its dropout trap and changes the score by about 1e-7. Values 4-7 with the LAION weights.
    """

    name = "aesthetic"
    higher_is_better = True

    def __init__(
        self,
        clip: FrozenClip,
        weight: Tensor,
        bias: Tensor,
        version: str,
        typical_range: tuple[float, float] = (4.0, 7.0),
    ) -> None:
        width = clip.model.config.projection_dim
        if weight.shape != (width,):
            raise ValueError(
                f"The aesthetic head takes {weight.numel()} features, CLIP gives {width}: pair them again."
            )
        self.clip = clip
        self.weight = weight.detach().float().to(clip.device)
        self.bias = bias.detach().float().reshape(()).to(clip.device)
        self.version = version
        self.typical_range = typical_range

    @classmethod
    def load(cls, source: str | Path, head: str | Path, **options) -> Aesthetic:
        """`source`: folder of CLIP; `head`: head.safetensors, its folder, or the LAION .pth file.

        A config.json beside the head may give "typical_range": [low, high].
        """
        clip = FrozenClip.load(source, **{"fit": "crop-even", **options})
        path = Path(head)
        if path.is_dir():
            path = path / "head.safetensors"
        weight, bias = fold_head(read_tensors(path), str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        settings = path.parent / "config.json"
        config = json.loads(settings.read_text()) if settings.is_file() else {}
        low, high = config.get("typical_range", (4.0, 7.0))
        return cls(clip, weight, bias, f"{clip.version}+{path.stem}@{digest}", (float(low), float(high)))

    def __call__(self, images: Tensor, prompts: list[str] | None = None) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> `[B]` float32, differentiable in the images."""
        # Not a matrix product, which the caller's autocast would do in half precision.
        return (self.clip.image_features(images) * self.weight).sum(dim=-1) + self.bias

    def score_matrix(self, images: Tensor, prompts: list[str]) -> Tensor:
        """`[B, P]`: the same for every one of the prompts, none of which is read."""
        require_prompts(prompts)
        return self(images)[:, None].repeat(1, len(prompts))

"""Aesthetic score: an affine function of the unit CLIP embedding of an image."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from rewards.preference.clip_model import FrozenClip

# Linear layers of the LAION head 768-1024-128-64-16-1; the numbers between are its dropouts.
LAION_LAYERS = ("layers.0", "layers.2", "layers.4", "layers.6", "layers.7")


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
        """`source`: folder or hub id of CLIP; `head`: head.safetensors, its folder, or the LAION .pth file.

        A config.json beside the head may give "typical_range": [low, high].
        """
        clip = FrozenClip.load(source, **options)
        path = Path(head)
        if path.is_dir():
            path = path / "head.safetensors"
        weight, bias = fold_head(load_head(path), str(path))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        settings = path.parent / "config.json"
        config = json.loads(settings.read_text()) if settings.is_file() else {}
        low, high = config.get("typical_range", (4.0, 7.0))
        return cls(clip, weight, bias, f"{clip.version}+{path.stem}@{digest}", (float(low), float(high)))

    def __call__(self, images: Tensor, prompts: list[str] | None = None) -> Tensor:
        """`images [B, 3, H, W] in [0, 1]` -> `[B]` float32, differentiable in the images."""
        return self.clip.image_features(images) @ self.weight + self.bias


def load_head(path: Path) -> dict[str, Tensor]:
    """State dict of a head from safetensors, or from a pickled checkpoint read with weights only."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no aesthetic head there.")
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def fold_head(state: dict[str, Tensor], where: str = "aesthetic head") -> tuple[Tensor, Tensor]:
    """One affine map `(weight [D], bias [])`, float64, from {weight, bias} or LAION's five layers.

    W_n (... (W_1 x + b_1) ...) + b_n = (W_n ... W_1) x + (the biases carried through). Other keys are an
    error.
    """
    if set(state) == {"weight", "bias"}:
        layers = [("weight", "bias")]
    else:
        layers = [(f"{layer}.weight", f"{layer}.bias") for layer in LAION_LAYERS]
        wrong = set(state) ^ {key for pair in layers for key in pair}
        if wrong:
            raise ValueError(
                f"{where}: weight {min(wrong)!r} is missing or unexpected; expected a linear or LAION head."
            )
    weight, bias = None, None
    for weight_key, bias_key in layers:
        matrix, offset = state[weight_key].double(), state[bias_key].double().reshape(-1)
        matrix = matrix.reshape(len(offset), -1)
        weight = matrix if weight is None else matrix @ weight
        bias = offset if bias is None else matrix @ bias + offset
    if len(bias) != 1:
        raise ValueError(f"{where}: the head has {len(bias)} outputs; expected one score.")
    return weight[0], bias[0]

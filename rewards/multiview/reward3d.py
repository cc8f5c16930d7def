"""Reward3D (DreamReward, arXiv 2403.14613): BLIP judges four views of an object together.

Each view is read with a prompt that says where it was taken from ("..., front view"). What BLIP makes of the
four pairs is joined in one of two ways:

- `scorer`, that of the paper: five linear layers without activations on the features of all four, hence one
  affine map with weights of its own for each view;
- `fusion`, published later: attention among the views, a gate between a view and what it attended to, the
  mean of the views, ImageReward's head.

Layout: a folder with `Reward3D_Scorer.pt` or `Reward3D_CrossViewFusion.pt` (and `med_config.json` where it is
not that of BERT base); the tokenizer, BERT's, in another folder.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from rewards.base import Textured
from rewards.checkpoints.blip import read_blip
from rewards.checkpoints.linear_head import fold_head, fold_layers
from rewards.checkpoints.tensors import same_tensors, without
from rewards.preference.blip_model import FrozenBlip
from rewards.preference.clip_model import file_digest
from rewards.preference.preprocess import Preprocessing
from rewards.preference.tokenizers import open_tokenizer
from texgen.render.cameras import Cameras

FILES = {"scorer": "Reward3D_Scorer.pt", "fusion": "Reward3D_CrossViewFusion.pt"}
# Parts of each checkpoint beside the towers.
PARTS = {"scorer": ("mlp.", "Scorer."), "fusion": ("mlp.", "cross_view_adapter.")}
# Layers of ImageReward's head behind the features that the scorer takes from its middle; never used.
DROPPED = tuple(f"layers.{layer}.{kind}" for layer in (4, 6, 7) for kind in ("weight", "bias"))
MEAN, STD = 0.16717362830052426, {"scorer": 1.0333394966054072, "fusion": 5.0}
MAX_LENGTH = 100
# A quarter turn apart, from the front counterclockwise seen from above, each with what its prompt says.
VIEWS = ((0.0, "front view"), (90.0, "side view"), (180.0, "back view"), (270.0, "side view"))
# Degrees; the middle of the 0 to 30 that its training renders were taken from.
ELEVATION = 15.0


class Reward3D:
    """Score of a textured mesh from four renders on white.

    The renders are as large as BLIP's input, so that nothing is resized: the published code resizes tensors,
    whose result depends on the version of its library.
    """

    name = "reward3d"
    higher_is_better = True
    typical_range = (-2.0, 2.0)

    def __init__(self, blip: FrozenBlip, joiner: nn.Module, supersample: int = 2) -> None:
        self.blip = blip
        self.joiner = joiner.float().eval().requires_grad_(False).to(blip.device)
        self.version = blip.version
        self.size = blip.preprocessing.size
        self.supersample = supersample
        azimuths = [azimuth for azimuth, _ in VIEWS]
        self.cameras = Cameras.orbit(azimuths, ELEVATION)

    @classmethod
    def load(
        cls,
        source: str | Path,
        variant: str = "scorer",
        tokenizer: str | Path | None = None,
        vision_heads: int | None = None,
        max_length: int = MAX_LENGTH,
        **options,
    ) -> Reward3D:
        """`source`: folder with the checkpoint of `variant`; options are those of `FrozenBlip`."""
        if variant not in FILES:
            raise ValueError(f"Reward3D has no variant {variant!r}; allowed are {', '.join(FILES)}.")
        if tokenizer is None:
            raise ValueError(f"{source}: the checkpoint has no tokenizer; give the folder of one.")
        path = Path(source) / FILES[variant]
        towers = read_blip(path, PARTS[variant], vision_heads)
        blip = FrozenBlip(
            towers,
            open_tokenizer(tokenizer),
            Preprocessing(size=towers.vision.config.image_size, resample="tensor"),
            f"{path.stem}@{file_digest(path)}",
            max_length,
            **options,
        )
        joiner = {"scorer": AffineJoiner, "fusion": AttentionJoiner}[variant]
        return cls(blip, joiner(*towers.parts.values(), str(path)))

    def __call__(self, textured: Textured) -> Tensor:
        """One score, a scalar float32, differentiable in the texture."""
        cameras = self.cameras.to(textured.texture.device, textured.texture.dtype)
        images = textured.render(cameras, self.size, supersample=self.supersample)
        return self.score_views(images, textured.prompt)

    def score_views(self, images: Tensor, prompt: str) -> Tensor:
        """Scalar score of `images [4, 3, H, W] in [0, 1]`, from the directions of VIEWS in their order."""
        if len(images) != len(VIEWS):
            raise ValueError(f"Reward3D judges {len(VIEWS)} views of an object, not {len(images)}.")
        prompts = [f"{prompt}, {direction}" for _, direction in VIEWS]
        features = self.blip.features(images, prompts)
        with torch.autocast(features.device.type, enabled=False):
            return self.joiner(features)


class AffineJoiner(nn.Module):
    """(w . [f_1, f_2, f_3, f_4] + b - mean) / std of the views' features f."""

    def __init__(self, head: dict[str, Tensor], scorer: dict[str, Tensor], where: str) -> None:
        super().__init__()
        inner, inner_bias = fold_layers(_pairs(without(head, DROPPED), ("layers.0", "layers.2"), where))
        outer, outer_bias = fold_layers(_pairs(scorer, ("fc1", "fc2", "fc3"), where))
        per_view = outer.reshape(len(VIEWS), -1)
        if per_view.shape[1] != len(inner):
            raise ValueError(
                f"{where}: the scorer takes {outer.numel()} numbers; {len(VIEWS)} views give {len(inner)} "
                "each."
            )
        self.register_buffer("weight", per_view @ inner)
        self.register_buffer("bias", (per_view @ inner_bias).sum() + outer_bias[0])

    def forward(self, features: Tensor) -> Tensor:
        """`[4, D]` -> scalar."""
        return ((features * self.weight).sum() + self.bias - MEAN) / STD["scorer"]


class AttentionJoiner(nn.Module):
    """(head(mean over views of g a + (1 - g) f) - mean) / std; a is what f attended to, g a gate of both."""

    def __init__(self, head: dict[str, Tensor], adapter: dict[str, Tensor], where: str) -> None:
        super().__init__()
        weight, bias = fold_head(head, where)
        width = len(weight)
        # As wide heads as BERT's: 12 for its 768 features.
        self.attention = nn.MultiheadAttention(width, max(1, width // 64), batch_first=True)
        self.gate = nn.Linear(2 * width, width)
        names = {"self_attn.": "attention.", "fusion_gate.0.": "gate."}
        renamed = {}
        for key, tensor in adapter.items():
            prefix = next((prefix for prefix in names if key.startswith(prefix)), "")
            renamed[names.get(prefix, "") + key[len(prefix) :]] = tensor
        same_tensors(self.state_dict(), renamed, where)
        self.load_state_dict(renamed)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, features: Tensor) -> Tensor:
        """`[4, D]` -> scalar."""
        attended = self.attention(features[None], features[None], features[None], need_weights=False)[0][0]
        gate = torch.sigmoid(self.gate(torch.cat([features, attended], dim=-1)))
        joined = (gate * attended + (1 - gate) * features).mean(dim=0)
        return ((joined * self.weight).sum() + self.bias - MEAN) / STD["fusion"]


def _pairs(state: dict[str, Tensor], layers: tuple[str, ...], where: str) -> list[tuple[Tensor, Tensor]]:
    """(weight, bias) of the named layers, which must be all that there is."""
    wrong = set(state) ^ {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}
    if wrong:
        raise ValueError(f"{where}: weight {min(wrong)!r} of a head is missing or unexpected.")
    return [(state[f"{layer}.weight"], state[f"{layer}.bias"]) for layer in layers]

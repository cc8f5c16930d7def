"""ImageReward v1.0 (arXiv 2304.05977): BLIP judges how well people would like an image for its prompt.

**Plain folder layout** (`ImageReward.save` writes it, `ImageReward.load` opens it):

- `config.json`: `{"vision_config": {...}, "text_config": {...}, "mean": m, "std": s, "max_length": n}`, the
  first two with the fields of transformers' BlipVisionConfig and BlipTextConfig (of the text: sizes, heads,
  layers, vocab_size, layer_norm_eps, hidden_act); optionally `"typical_range": [low, high]`;
- `model.safetensors`: `vision.*` (BlipVisionModel), `text.*` (BlipTextModel without pooling layer) and either
  `head.weight [1, D]`, `head.bias [1]` or the five layers `head.layers.{0,2,4,6,7}.{weight,bias}`;
- files of a tokenizer that AutoTokenizer opens, with a padding token; the reward reads the text's position 0;
- `preprocessor_config.json`: `image_mean`, `image_std` and `size`.

The reward is `(head(h) - mean) / std`, h the last text state at position 0.

**Official layout**: a folder with `ImageReward.pt` and `med_config.json`, the tokenizer in another folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from rewards.checkpoints.blip import BlipTowers, empty_towers
from rewards.checkpoints.linear_head import fold_head
from rewards.checkpoints.tensors import build_model, read_tensors
from rewards.preference.blip_model import BlipScore
from rewards.preference.clip_model import file_digest, folder_digest
from rewards.preference.preprocess import Preprocessing, read_preprocessing
from rewards.preference.tokenizers import open_tokenizer

OFFICIAL_FILE = "ImageReward.pt"
# Mean and deviation of the raw head over the images it was trained on.
MEAN, STD = 0.16717362830052426, 1.0333394966054072
MAX_LENGTH = 35


@dataclass(frozen=True)
class HeadSettings:
    """What config.json says beside the towers. mean, std: of the raw head over what it was trained on, which
    scores are scaled by. max_length: tokens that a prompt is truncated and padded to."""

    mean: float = MEAN
    std: float = STD
    max_length: int = MAX_LENGTH
    typical_range: tuple[float, float] = (-2.0, 2.0)


class ImageReward(BlipScore):
    """BLIP with an affine head; roughly standard normal scores. Options are those of `FrozenBlip`."""

    name = "imagereward"
    higher_is_better = True

    def __init__(
        self,
        towers: BlipTowers,
        head: dict[str, Tensor],
        tokenizer: Callable,
        preprocessing: Preprocessing,
        version: str,
        settings: HeadSettings = HeadSettings(),
        **options,
    ) -> None:
        super().__init__(towers, tokenizer, preprocessing, version, settings.max_length, **options)
        self.head = head
        weight, bias = fold_head(head, version)
        if weight.shape != (self.width,):
            raise ValueError(
                f"{version}: the head takes {weight.numel()} features, the text tower has {self.width}."
            )
        self.weight = weight.float().to(self.device)
        self.bias = bias.float().to(self.device)
        self.mean, self.std = settings.mean, settings.std
        self.typical_range = settings.typical_range

    @classmethod
    def load(cls, source: str | Path, tokenizer: str | Path | None = None, **options) -> ImageReward:
        """From a folder in the plain or the official layout; see the module's text.

        tokenizer: folder of the tokenizer, needed for the official layout; options are those of the class.
        Missing and unexpected weights are errors.
        """
        folder = Path(source)
        if (folder / OFFICIAL_FILE).is_file():
            path = folder / OFFICIAL_FILE
            return cls.of_checkpoint(path, tokenizer, f"ImageReward@{file_digest(path)}", **options)
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{folder}: neither {OFFICIAL_FILE} nor config.json is there, so there is no ImageReward."
            )
        settings = json.loads((folder / "config.json").read_text())
        state = read_tensors(folder / "model.safetensors")
        parts = {name: part_of(state, f"{name}.") for name in ("vision", "text", "head")}
        left = len(state) - sum(map(len, parts.values()))
        if left:
            raise ValueError(f"{folder}: {left} weights are neither of vision, text nor head.")
        towers = empty_towers(settings["vision_config"], settings["text_config"])
        vision_class, vision_config, text_class, text_config = towers
        said = {each.name: settings[each.name] for each in fields(HeadSettings) if each.name in settings}
        if "typical_range" in said:
            said["typical_range"] = tuple(said["typical_range"])
        return cls(
            BlipTowers(
                build_model(vision_class, vision_config, parts["vision"], str(folder)),
                build_model(text_class, text_config, parts["text"], str(folder)),
                {},
            ),
            parts["head"],
            open_tokenizer(tokenizer or folder),
            read_preprocessing(folder),
            f"{folder.name}@{folder_digest(folder)}",
            HeadSettings(**said),
            **options,
        )

    def _judge(self, states: Tensor) -> Tensor:
        # Not a matrix product, which the caller's autocast would do in half precision.
        return ((states * self.weight).sum(dim=-1) + self.bias - self.mean) / self.std

    def save(self, folder: str | Path) -> None:
        """Write the plain layout, which `load` opens."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        state = {}
        for name, part in (("vision", self.vision.state_dict()), ("text", self.text.state_dict())):
            state |= {f"{name}.{key}": tensor.cpu().contiguous() for key, tensor in part.items()}
        state |= {f"head.{key}": tensor.cpu().contiguous() for key, tensor in self.head.items()}
        save_file(state, folder / "model.safetensors")
        settings = {
            "model_type": "blip",
            "vision_config": _fields(self.vision.config),
            "text_config": _fields(self.text.config),
            "mean": self.mean,
            "std": self.std,
            "max_length": self.max_length,
            "typical_range": list(self.typical_range),
        }
        (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        image = {
            "image_mean": list(self.preprocessing.mean),
            "image_std": list(self.preprocessing.std),
            "size": self.preprocessing.size,
        }
        (folder / "preprocessor_config.json").write_text(json.dumps(image, indent=2) + "\n")
        self.tokenizer.save_pretrained(folder)


def part_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose key starts with a prefix, without it."""
    return {key[len(prefix) :]: tensor for key, tensor in state.items() if key.startswith(prefix)}


_FIELDS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "layer_norm_eps",
    "hidden_act",
    "image_size",
    "patch_size",
    "vocab_size",
    "max_position_embeddings",
)


def _fields(config) -> dict:
    return {name: getattr(config, name) for name in _FIELDS if hasattr(config, name)}

"""Where each kind of method and metric is implemented. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from workflow.config.signatures import of_module as signature_of

if TYPE_CHECKING:
    from texgen.painting.method_facts import MethodFacts


@dataclass(frozen=True)
class MetricKind:
    """Where a kind of metric is implemented and how its column looks."""

    module: str
    name: str  # class in the module
    decimals: int = 4

    @property
    def higher_is_better(self) -> bool:
        """As its class says; up is better where it says nothing."""
        return (signature_of(self.module, self.name).constants or {}).get("higher_is_better", True)

    @property
    def judges_texture(self) -> bool:
        """Whether it judges a textured mesh and not renders that it is handed one by one."""
        return not self.module.startswith(f"{IMAGE_SCORES}.")

    @property
    def is_geometric(self) -> bool:
        """Whether it judges the texture by the geometry of its mesh, without learned weights."""
        return self.module.startswith("rewards.geometric.")


@dataclass(frozen=True)
class CustomKind:
    """The same of a metric in a file of the user's."""

    module: str  # FILE.py:NAME
    judges_texture: bool
    higher_is_better: bool
    decimals: int

    @property
    def is_geometric(self) -> bool:
        """Whether its column stands beside those of geometric rewards."""
        return self.judges_texture


@dataclass(frozen=True)
class MethodKind:
    """Where a kind of method is implemented.

    A method called X is the function X(backbone, **settings) of its module. facts: module and name of its
    `MethodFacts`, which say what it honours; without them its settings are the keywords of that function.
    """

    module: str
    facts: str | None = None
    paints: bool = True  # False: a preset's fields and a tuned model mean nothing to it
    needs_backbone: bool = True  # False: the configuration's need not be loaded beside it

    def load_facts(self) -> MethodFacts | None:
        """Its facts, or None."""
        if self.facts is None:
            return None
        module, _, name = self.facts.partition(":")
        return getattr(import_module(module), name)


# What a tuned model's folder holds, as texgen.diffusion.lora and diffusers name it.
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
CAMERAS_FILE = "cameras.json"  # only where generation cameras were learned
PREVIEWS = "previews"  # folder of pictures below that of a training
# One line makes a method known; its code is part of what a job of that kind depends on.
METHODS = {
    "texgen": MethodKind("texgen.painting.pipeline", "texgen.painting.method_facts:TEXGEN"),
    "intex": MethodKind("baselines.intex", "baselines.presets.intex:FACTS"),
    "texture": MethodKind("baselines.texture", "baselines.presets.texture:FACTS"),
    "text2tex": MethodKind("baselines.text2tex", "baselines.presets.text2tex:FACTS"),
    "paint3d": MethodKind("baselines.paint3d", "baselines.presets.paint3d:FACTS"),
    "syncmvd": MethodKind("baselines.syncmvd", "baselines.presets.syncmvd:FACTS"),
    "psd_like": MethodKind("baselines.psd_like", "baselines.presets.psd_like:FACTS"),
    "precomputed": MethodKind("baselines.precomputed", paints=False),
    "official": MethodKind("baselines.official.method", paints=False, needs_backbone=False),
    "custom": MethodKind(""),  # a file of the user's: workflow.config.custom
}


def program_module(program: str) -> str:
    """The module of an authors' program, of which only that program's results depend."""
    return f"baselines.official.{program}"


def glb_places(folder: str | Path, asset: str) -> list[Path]:
    """Where a precomputed method's file for an asset may be, in order of preference."""
    return [Path(folder) / f"{asset}.glb", Path(folder) / asset / "mesh.glb"]


IMAGE_SCORES = "rewards.preference"  # the modules of metrics that judge images
# One line makes a metric known; whether up is better says its class.
METRICS = {
    "aesthetic": MetricKind("rewards.preference.aesthetic", "Aesthetic", 3),
    "clipscore": MetricKind("rewards.preference.clip_score", "CLIPScore"),
    "imagereward": MetricKind("rewards.preference.image_reward", "ImageReward", 3),
    "hpsv2": MetricKind("rewards.preference.hps", "HPSv2"),
    "pickscore": MetricKind("rewards.preference.pick_score", "PickScore", 2),
    "cyclereward": MetricKind("rewards.preference.cycle_reward", "CycleReward", 3),
    "ict": MetricKind("rewards.preference.pick_high", "ICT"),
    "hp": MetricKind("rewards.preference.pick_high", "HP"),
    "reward3d": MetricKind("rewards.multiview.reward3d", "Reward3D", 3),
    "alignment": MetricKind("rewards.geometric.alignment", "GeometryTextureAlignment"),
    "symmetry": MetricKind("rewards.geometric.symmetry", "Symmetry"),
    "emphasis": MetricKind("rewards.geometric.emphasis", "TextureEmphasis"),
    "colourisation": MetricKind("rewards.geometric.colourisation", "Colourisation"),
}
# Those whose published packages can score as the backend `official`.
OFFICIAL_BACKEND = ("imagereward", "hpsv2", "pickscore", "clipscore", "aesthetic", "cyclereward")

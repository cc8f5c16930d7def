"""Where each kind of method and metric is implemented. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class MetricKind:
    """Where a kind of metric is implemented and how its column looks."""

    module: str
    name: str  # class in the module
    decimals: int
    higher_is_better: bool = True

    @property
    def judges_texture(self) -> bool:
        """Whether it judges a textured mesh and not renders that it is handed one by one."""
        return not self.module.startswith("rewards.preference.")

    @property
    def is_geometric(self) -> bool:
        """Whether it judges the texture by the geometry of its mesh, without learned weights."""
        return self.module.startswith("rewards.geometric.")


# What a tuned model's folder holds, as texgen.lora and diffusers name it.
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
CAMERAS_FILE = "cameras.json"  # only where generation cameras were learned
# The module of each kind: its code is part of what a job of that kind depends on.
METHOD_MODULES = {
    "texgen": "texgen.pipeline",
    "intex": "baselines.intex",
    "texture": "baselines.texture",
    "text2tex": "baselines.text2tex",
    "paint3d": "baselines.paint3d",
    "syncmvd": "baselines.syncmvd",
    "psd_like": "baselines.psd_like",
    "precomputed": "baselines.precomputed",
    "official": "baselines.official.method",
}
# Kinds that paint nothing here: a preset's fields and a tuned model mean nothing to them.
FOREIGN = ("precomputed", "official")
# Kinds that never touch the configuration's backbone, so that it need not be loaded beside them.
WITHOUT_BACKBONE = ("official",)


def program_module(program: str) -> str:
    """The module of an authors' program, of which only that program's results depend."""
    return f"baselines.official.{program}"


def glb_places(folder: str | Path, asset: str) -> list[Path]:
    """Where a precomputed method's file for an asset may be, in order of preference."""
    return [Path(folder) / f"{asset}.glb", Path(folder) / asset / "mesh.glb"]


IMAGE_SCORES = "rewards.preference"  # the modules of metrics that judge images
METRICS = {
    "aesthetic": MetricKind("rewards.preference.aesthetic", "Aesthetic", 3),
    "clipscore": MetricKind("rewards.preference.clip_score", "CLIPScore", 4),
    "imagereward": MetricKind("rewards.preference.image_reward", "ImageReward", 3),
    "hpsv2": MetricKind("rewards.preference.hps", "HPSv2", 4),
    "pickscore": MetricKind("rewards.preference.pick_score", "PickScore", 2),
    "cyclereward": MetricKind("rewards.preference.cycle_reward", "CycleReward", 3),
    "ict": MetricKind("rewards.preference.pick_high", "ICT", 4),
    "hp": MetricKind("rewards.preference.pick_high", "HP", 4),
    "reward3d": MetricKind("rewards.multiview.reward3d", "Reward3D", 3),
    "alignment": MetricKind("rewards.geometric.alignment", "GeometryTextureAlignment", 4),
    "symmetry": MetricKind("rewards.geometric.symmetry", "Symmetry", 4, higher_is_better=False),
    "emphasis": MetricKind("rewards.geometric.emphasis", "TextureEmphasis", 4),
    "colourisation": MetricKind("rewards.geometric.colourisation", "Colourisation", 4),
}
# Those whose published packages can score as the backend `official`.
OFFICIAL_BACKEND = ("imagereward", "hpsv2", "pickscore", "clipscore", "aesthetic", "cyclereward")

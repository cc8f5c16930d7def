"""What a configuration asks for: assets, shards, and the settings file of every job.

A settings file holds all that a step needs to know, as plain JSON. Its name ends in a hash of its content, so
a changed configuration is a changed *input* of exactly the rules that it concerns, and a dry run of one
configuration cannot disturb a running job of another. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow.config import (
    AestheticMetric,
    AlignmentMetric,
    ClipScoreMetric,
    Config,
    Head,
    Weights,
    load_sheets,
)
from workflow.provenance import content_hash, write_json
from workflow.tables import ConfigError, MeshRow, PromptRow


@dataclass(frozen=True)
class MetricKind:
    """Where a kind of metric is implemented and how its column looks."""

    module: str
    name: str  # class in the module
    decimals: int
    higher_is_better: bool = True


# What a tuned model's folder holds, as texgen.lora and diffusers name it.
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
# The module of each kind: its code is part of what a job of that kind depends on.
METHOD_MODULES = {"texgen": "texgen.pipeline", "intex": "baselines.intex"}
METRICS = {
    "aesthetic": MetricKind("rewards.preference.aesthetic", "Aesthetic", 3),
    "clipscore": MetricKind("rewards.preference.clip_score", "CLIPScore", 4),
    "alignment": MetricKind("rewards.geometric.alignment", "GeometryTextureAlignment", 4),
}


@dataclass(frozen=True)
class Asset:
    """One thing to texture: a mesh, a prompt, a seed."""

    mesh: str
    prompt_id: str
    prompt: str
    seed: int

    @property
    def name(self) -> str:
        """Folder name, mesh--prompt--seed."""
        return f"{self.mesh}--{self.prompt_id}--{self.seed}"

    def record(self) -> dict[str, Any]:
        """As plain JSON, with the name."""
        return {
            "asset": self.name,
            "mesh": self.mesh,
            "prompt_id": self.prompt_id,
            "prompt": self.prompt,
            "seed": self.seed,
        }


class Plan:
    """A checked configuration with its sheets, and everything that follows from them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mesh_rows, self.prompt_rows = load_sheets(config)
        self.assets = pair(self.mesh_rows, self.prompt_rows, "evaluation", config.evaluation.seeds)
        if not self.assets:
            raise ConfigError(
                f"{config.prompts}: no evaluation prompt meets an evaluation mesh of "
                f"{config.meshes.table}; at least one is needed."
            )
        self.training_assets = pair(self.mesh_rows, self.prompt_rows, "training", [0])
        if config.models and not self.training_assets:
            raise ConfigError(
                f"{config.prompts}: no training prompt meets a training mesh of "
                f"{config.meshes.table}; tuned models need at least one."
            )

    # ---- names -------------------------------------------------------------------------------------------
    @property
    def methods(self) -> list[str]:
        return list(self.config.methods)

    @property
    def meshes(self) -> list[str]:
        """Every mesh of the sheet."""
        return [row.mesh for row in self.mesh_rows]

    @property
    def metrics(self) -> list[str]:
        return list(self.config.metrics)

    @property
    def models(self) -> list[str]:
        """Tuned models that some method uses."""
        used = {method.model for method in self.config.methods.values()}
        return [name for name in self.config.models if name in used]

    @property
    def shards(self) -> list[int]:
        return list(range(min(self.config.evaluation.shards, len(self.assets))))

    def shard(self, index: int) -> list[Asset]:
        """Assets of one shard, dealt out in turn so that every shard meets every mesh."""
        return self.assets[index :: len(self.shards)]

    def meshes_of(self, assets: Iterable[Asset]) -> list[str]:
        """Names of the meshes of some assets, each once, in order."""
        return list(dict.fromkeys(asset.mesh for asset in assets))

    def model_meshes(self, model: str) -> list[str]:
        """Meshes that training one model needs: for its steps and for its held-out measurement."""
        return self.meshes_of([*self.training_assets, *self.validation_assets(model)])

    def validation_assets(self, model: str) -> list[Asset]:
        """A few evaluation assets with different meshes on which training measures its held-out reward."""
        wanted = self.config.models[model].validation_samples
        one_each = list({asset.mesh: asset for asset in reversed(self.assets)}.values())[::-1]
        return one_each[:wanted]

    def mesh_row(self, mesh: str) -> MeshRow:
        return next(row for row in self.mesh_rows if row.mesh == mesh)

    def metric_weights(self, metrics: Iterable[str]) -> list[str]:
        """Weight files that some metrics load."""
        files: dict[str, None] = {}
        for name in metrics:
            block = self.config.metrics[name]
            if isinstance(block, AestheticMetric | ClipScoreMetric):
                files |= dict.fromkeys(weight_files(block.clip))
            if isinstance(block, AestheticMetric):
                files |= dict.fromkeys(head_files(block.head))
        return list(files)

    # ---- code --------------------------------------------------------------------------------------------
    def method_modules(self, method: str) -> list[str]:
        return ["workflow.steps.texture", METHOD_MODULES[self.config.methods[method].kind]]

    def metric_modules(self, metric: str) -> list[str]:
        return ["workflow.steps.score", METRICS[self.config.metrics[metric].kind].module]

    def model_modules(self, model: str) -> list[str]:
        kinds = {self.config.metrics[term.metric].kind for term in self.config.models[model].rewards}
        return ["workflow.steps.finetune", *sorted(METRICS[kind].module for kind in kinds)]

    # ---- settings of the jobs ----------------------------------------------------------------------------
    def mesh_settings(self, mesh: str) -> dict[str, Any]:
        row = self.mesh_row(mesh)
        return {
            "mesh": row.mesh,
            "source": row.source,
            "sha256": row.sha256,
            "rotate": row.rotate,
            "licence": row.licence,
            "uv": self.config.meshes.uv,
            "longest_side": self.config.meshes.longest_side,
            "texture_size": self.texture_size,
        }

    @property
    def texture_size(self) -> int | None:
        """The texture size of all methods, at which uv fields are prepared; None = the preset's default."""
        method = next(iter(self.config.methods.values()))
        return preset_changes(self.config, method.kind, method.preset.changes()).get("texture_size")

    def backbone_settings(self) -> dict[str, Any]:
        return self.config.backbone.model_dump()

    def texture_settings(self, method: str, shard: int) -> dict[str, Any]:
        block = self.config.methods[method]
        return {
            "method": method,
            "kind": block.kind,
            "model": block.model,
            "preset": preset_changes(self.config, block.kind, block.preset.changes()),
            "backbone": self.backbone_settings(),
            "assets": [asset.record() for asset in self.shard(shard)],
        }

    def model_settings(self, model: str) -> dict[str, Any]:
        block = self.config.models[model]
        used = dict.fromkeys(term.metric for term in block.rewards)
        training = block.model_dump(exclude={"preset"})
        return {
            "model": model,
            "training": training,
            "metrics": {name: self.config.metrics[name].model_dump(exclude={"label"}) for name in used},
            "preset": preset_changes(self.config, "texgen", block.preset.changes()),
            "backbone": self.backbone_settings(),
            "assets": [asset.record() for asset in self.training_assets],
            "validation_assets": [asset.record() for asset in self.validation_assets(model)],
        }

    def score_settings(self, metric: str) -> dict[str, Any]:
        block = self.config.metrics[metric]
        protocol = self.config.evaluation.model_dump(include={"rig", "size", "supersample", "backgrounds"})
        if isinstance(block, AlignmentMetric):
            protocol = {}  # judged on the texture itself
        return {
            "metric": metric,
            **block.model_dump(exclude={"label"}),
            "protocol": protocol,
            "assets": [asset.record() for asset in self.assets],
        }

    def table_settings(self) -> dict[str, Any]:
        config = self.config
        trained_on = {
            name: list(dict.fromkeys(term.metric for term in config.models[method.model].rewards))
            for name, method in config.methods.items()
            if method.model is not None
        }
        return {
            "title": config.title,
            "note": config.note,
            "reference": config.evaluation.reference,
            "methods": {name: method.label or name for name, method in config.methods.items()},
            "metrics": {
                name: {
                    "label": metric.label,
                    "higher_is_better": METRICS[metric.kind].higher_is_better,
                    "decimals": METRICS[metric.kind].decimals,
                }
                for name, metric in config.metrics.items()
            },
            "trained_on": trained_on,
            "backbone": config.backbone.source,
            "miniature": "miniature" in config.backbone.source,
            "evaluation": config.evaluation.model_dump(exclude={"shards"}),
            "published": config.published,
            "meshes": {
                mesh: {"source": self.mesh_row(mesh).source, "licence": self.mesh_row(mesh).licence}
                for mesh in self.meshes_of(self.assets)
            },
            "assets": [asset.record() for asset in self.assets],
            "training_pairs": sorted({(asset.mesh, asset.prompt_id) for asset in self.training_assets}),
        }

    def write_settings(self, stem: str, settings: dict[str, Any]) -> str:
        """Write a settings file once; returns its path, which changes exactly when its content does."""
        path = Path(self.config.results) / "settings" / f"{stem}.{content_hash(settings)[:10]}.json"
        if not path.is_file():
            write_json(path, settings)
        return str(path)


def pair(meshes: list[MeshRow], prompts: list[PromptRow], split: str, seeds: list[int]) -> list[Asset]:
    """Every asset of a split: each prompt with the mesh it names, or with all meshes where it says *."""
    names = [row.mesh for row in meshes if row.split == split]
    return [
        Asset(mesh, row.prompt_id, row.prompt, seed)
        for row in prompts
        if row.split == split
        for mesh in (names if row.mesh == "*" else [row.mesh])
        for seed in seeds
    ]


def preset_changes(config: Config, kind: str, own: dict[str, Any]) -> dict[str, Any]:
    """Changes to the preset of one kind of method: the configuration's for that kind, then a row's own."""
    shared = config.presets[kind].changes() if kind in config.presets else {}
    return {**shared, **own}


def weight_files(weights: Weights) -> list[str]:
    """Weight files of a model in a folder, as inputs of the rules that load it; none for a hub id.

    A folder without weights yields one file that it should hold, so that Snakemake names what is missing.
    """
    if weights.folder is None:
        return []
    folder = Path(weights.folder)
    files = sorted(path.as_posix() for path in folder.rglob("*.safetensors"))
    return files or [(folder / "model.safetensors").as_posix()]


def head_files(head: Head) -> list[str]:
    """The file of an aesthetic head, given as the file or as its folder; none for an address."""
    if head.path is None:
        return []
    path = Path(head.path)
    return [(path if path.suffix else path / "head.safetensors").as_posix()]

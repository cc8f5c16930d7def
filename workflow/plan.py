"""What a configuration asks for: assets, shards, and the settings file of every job.

A settings file holds all that a step needs to know, as plain JSON. Its name ends in a hash of its content, so
a changed configuration is a changed *input* of exactly the rules that it concerns, and a dry run of one
configuration cannot disturb a running job of another. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from workflow.assets import Asset, held_out, pair
from workflow.config import Config, load_sheets
from workflow.config_base import Weights
from workflow.config_metrics import FileScore, Head
from workflow.kinds import METHOD_MODULES, METRICS, WITHOUT_BACKBONE, glb_places, program_module
from workflow.provenance import content_hash, write_json
from workflow.tables import ConfigError, MeshRow
from workflow.weight_files import head_files, weight_files


class Plan:
    """A checked configuration with its sheets, and everything that follows from them."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.mesh_rows, self.prompt_rows = load_sheets(config)
        self._hashes: dict[int, tuple[list | None, str]] = {}  # by identity of a list that it keeps alive
        self._rows = {row.mesh: row for row in self.mesh_rows}
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

    @cached_property
    def _dealt(self) -> list[list[Asset]]:
        """Assets of every shard: equal shares, those of a mesh together.

        A shard then opens as few meshes as can be, and waits for no others.
        """
        place = {row.mesh: index for index, row in enumerate(self.mesh_rows)}
        ordered = sorted(self.assets, key=lambda asset: place[asset.mesh])
        count = len(self.shards)
        cuts = [len(ordered) * index // count for index in range(count + 1)]
        return [ordered[start:end] for start, end in pairwise(cuts)]

    def shard(self, index: int) -> list[Asset]:
        """Assets of one shard."""
        return self._dealt[index]

    @cached_property
    def _asset_records(self) -> list[dict[str, Any]]:
        return [asset.record() for asset in self.assets]

    @cached_property
    def _shard_records(self) -> list[list[dict[str, Any]]]:
        return [[asset.record() for asset in shard] for shard in self._dealt]

    def meshes_of(self, assets: Iterable[Asset]) -> list[str]:
        """Names of the meshes of some assets, each once, in order."""
        return list(dict.fromkeys(asset.mesh for asset in assets))

    def model_meshes(self, model: str) -> list[str]:
        """Meshes that training one model needs: for its steps and for its held-out measurement."""
        return self.meshes_of(self.training_assets)

    def validation_assets(self, model: str) -> list[Asset]:
        """Training pairs that this model is not trained on: they measure its held-out reward and choose the
        adapter that is kept. Taken from the training split, because the evaluation split must choose nothing.
        """
        return held_out(self.training_assets, self.config.models[model].validation_samples)

    def trained_assets(self, model: str) -> list[Asset]:
        """The training pairs without those that are held out."""
        kept = set(self.validation_assets(model))
        return [asset for asset in self.training_assets if asset not in kept]

    def model_metrics(self, model: str) -> list[str]:
        """Metrics that training loads: those of the reward, then those it only watches."""
        block = self.config.models[model]
        watched = list(self.config.metrics) if block.monitor is None else block.monitor
        return list(dict.fromkeys([*(term.metric for term in block.rewards), *watched]))

    def mesh_row(self, mesh: str) -> MeshRow:
        """The sheet's row of a mesh. Raises ConfigError for a name that is not in it."""
        if mesh not in self._rows:
            raise ConfigError(f"{self.config.meshes.table}: there is no mesh {mesh!r} in it.")
        return self._rows[mesh]

    def metric_weights(self, metrics: Iterable[str]) -> list[str]:
        """Weight files that some metrics load."""
        files: dict[str, None] = {}
        for name in metrics:
            block = self.config.metrics[name]
            for field in ("clip", "weights"):
                if isinstance(getattr(block, field, None), Weights):
                    files |= dict.fromkeys(weight_files(getattr(block, field)))
            if isinstance(getattr(block, "head", None), Head):
                files |= dict.fromkeys(head_files(block.head))
            if isinstance(block, FileScore):
                files |= dict.fromkeys(block.files())
        return list(files)

    def method_inputs(self, method: str) -> list[str]:
        """Files that a method reads besides the backbone's: weights of its score, or textured GLBs."""
        block = self.config.methods[method]
        if block.folder is not None:
            places = [glb_places(block.folder, asset.name) for asset in self.assets]
            return [path.as_posix() for pair in places for path in pair if path.is_file()]
        return [] if block.metric is None else self.metric_weights([block.metric])

    # ---- code --------------------------------------------------------------------------------------------
    def method_modules(self, method: str) -> list[str]:
        block = self.config.methods[method]
        own = [] if block.official is None else [program_module(block.official.program)]
        return ["workflow.steps.texture", METHOD_MODULES[block.kind], *own]

    def metric_modules(self, metric: str) -> list[str]:
        return ["workflow.steps.score", METRICS[self.config.metrics[metric].kind].module]

    def model_modules(self, model: str) -> list[str]:
        kinds = {self.config.metrics[name].kind for name in self.model_metrics(model)}
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
            "lora_scale": block.lora_scale,
            "score": None
            if block.metric is None
            else self.config.metrics[block.metric].model_dump(exclude={"label"}),
            "folder": block.folder,
            "official": None if block.official is None else block.official.model_dump(),
            "preset": preset_changes(self.config, block.kind, block.preset.changes()),
            "backbone": None if block.kind in WITHOUT_BACKBONE else self.backbone_settings(),
            "assets": self._shard_records[shard],
        }

    def model_settings(self, model: str) -> dict[str, Any]:
        block = self.config.models[model]
        used = self.model_metrics(model)
        training = block.model_dump(exclude={"preset"})
        return {
            "model": model,
            "training": training,
            "metrics": {name: self.config.metrics[name].model_dump(exclude={"label"}) for name in used},
            "preset": preset_changes(self.config, "texgen", block.preset.changes()),
            "backbone": self.backbone_settings(),
            "assets": [asset.record() for asset in self.trained_assets(model)],
            "validation_assets": [asset.record() for asset in self.validation_assets(model)],
        }

    def score_settings(self, metric: str) -> dict[str, Any]:
        block = self.config.metrics[metric]
        protocol = self.config.evaluation.model_dump(include={"rig", "size", "supersample", "backgrounds"})
        if METRICS[block.kind].judges_texture:
            protocol = {}  # judged on the texture itself
        backend = self.config.scoring.backend
        official = backend == "official" and not METRICS[block.kind].judges_texture
        precision = "float32" if METRICS[block.kind].is_geometric else self.config.scoring.precision
        return {
            "metric": metric,
            **block.model_dump(exclude={"label"}),
            **({"backend": backend} if official else {}),
            # Only where it differs, so that exact scores keep their identity.
            **({"precision": precision} if precision != "float32" else {}),
            "protocol": protocol,
            "assets": self._asset_records,
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
                    "kind": metric.kind,
                    "group": "geometry" if METRICS[metric.kind].is_geometric else "preference",
                }
                for name, metric in config.metrics.items()
            },
            "trained_on": trained_on,
            "models": {
                name: {
                    "model": method.model,
                    "rewards": [
                        term.model_dump(include={"metric", "rig"})
                        for term in config.models[method.model].rewards
                    ],
                }
                for name, method in config.methods.items()
                if method.model is not None
            },
            "backbone": config.backbone.source,
            "miniature": "miniature" in config.backbone.source,
            "evaluation": config.evaluation.model_dump(exclude={"shards"}),
            "published": config.published,
            "meshes": {
                mesh: {"source": self.mesh_row(mesh).source, "licence": self.mesh_row(mesh).licence}
                for mesh in self.meshes_of(self.assets)
            },
            "assets": self._asset_records,
            "training_pairs": sorted({(asset.mesh, asset.prompt_id) for asset in self.training_assets}),
        }

    def write_settings(self, stem: str, settings: dict[str, Any]) -> str:
        """Write a settings file once; returns its path, which changes exactly when its content does."""
        digest = content_hash({**settings, "assets": self._assets_hash(settings.get("assets"))})
        path = Path(self.config.results) / "settings" / f"{stem}.{digest[:10]}.json"
        if not path.is_file():
            write_json(path, settings)
        return str(path)

    def _assets_hash(self, records: list[dict[str, Any]] | None) -> str:
        """Hash of a list of assets, computed once for the lists that several jobs share: with 100,000 assets
        it is nearly all that naming a settings file costs."""
        hashed, digest = self._hashes.get(id(records), (None, ""))
        if hashed is not records or not digest:
            digest = content_hash(records)
            self._hashes[id(records)] = (records, digest)
        return digest


def preset_changes(config: Config, kind: str, own: dict[str, Any]) -> dict[str, Any]:
    """Changes to the preset of one kind of method: the configuration's for that kind, then a row's own."""
    shared = config.presets[kind].changes() if kind in config.presets else {}
    return {**shared, **own}

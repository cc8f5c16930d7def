"""What a configuration asks for: assets, shards, and every job with its settings file.

A settings file holds all that a step needs to know, as plain JSON. Its name ends in a hash of its content and
is a *parameter* of its rule, so a changed configuration re-runs exactly the jobs that it concerns. The files
are written when a run starts: a dry run writes nothing. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from texgen.storage.downloads import shown_source
from texgen.storage.records import is_whole
from workflow.config.configuration import Config, load_sheets
from workflow.config.methods import used_of
from workflow.config.metrics import metric_kind
from workflow.config.sheets import ConfigError, MeshRow
from workflow.jobs.assets import Asset, held_out, pair
from workflow.jobs.figure_settings import figure_settings
from workflow.jobs.jobs import Job, MeshJob, Protocol, ScoreJob, TextureJob, TrainJob
from workflow.jobs.method_job import method_job
from workflow.provenance import LONG_LISTS, content_hash, settings_digest, write_json
from workflow.weights.local_files import any_of_the_miniature


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

    # ---- jobs --------------------------------------------------------------------------------------------
    def mesh_job(self, mesh: str) -> MeshJob:
        row = self.mesh_row(mesh)
        return MeshJob(
            mesh=row.mesh,
            source=row.source,
            sha256=row.sha256,
            rotate=row.turns(),
            licence=row.licence,
            uv=row.uv or self.config.meshes.uv,
            longest_side=self.config.meshes.longest_side,
            texture_size=self.texture_size,
        )

    @property
    def texture_size(self) -> int | None:
        """The texture size of all methods, at which uv fields are prepared; None = the preset's default."""
        return self.config.texture_size(next(iter(self.config.methods.values())))

    def texture_job(self, method: str, shard: int = 0) -> TextureJob:
        return method_job(self.config, method, assets=self._shard_records[shard])

    def train_job(self, model: str) -> TrainJob:
        block = self.config.models[model]
        changes = self.config.changes("texgen", block.preset)
        return TrainJob.of(
            model=model,
            training=block,
            metrics={name: self.config.metrics[name] for name in self.model_metrics(model)},
            preset=changes,
            backbone=used_of(self.config.backbone, "texgen", changes),
            assets=[asset.record() for asset in self.trained_assets(model)],
            validation_assets=[asset.record() for asset in self.validation_assets(model)],
        )

    def score_job(self, metric: str) -> ScoreJob:
        block = self.config.metrics[metric]
        judges_renders = not metric_kind(block).judges_texture
        evaluation = self.config.evaluation
        return ScoreJob.of(
            metric=metric,
            block=block,
            backend=self.config.scoring.backend if judges_renders else "native",
            precision="float32" if metric_kind(block).is_geometric else self.config.scoring.precision,
            protocol=Protocol(
                rig=evaluation.rig,
                size=evaluation.size,
                supersample=evaluation.supersample,
                backgrounds=evaluation.backgrounds,
                rasterizer=evaluation.rasterizer,
            )
            if judges_renders
            else None,
            assets=self._asset_records,
        )

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
                    "higher_is_better": metric_kind(metric).higher_is_better,
                    "decimals": metric_kind(metric).decimals,
                    "kind": metric.kind,
                    "form": getattr(metric, "form", None),
                    "group": "geometry" if metric_kind(metric).is_geometric else "preference",
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
            "miniature": any(any_of_the_miniature(self.score_job(name).places()) for name in config.metrics),
            "evaluation": config.evaluation.model_dump(exclude={"shards"}),
            "published": config.published,
            "meshes": {
                mesh: {
                    "source": shown_source(self.mesh_row(mesh).source),
                    "licence": self.mesh_row(mesh).licence,
                }
                for mesh in self.meshes_of(self.assets)
            },
            "assets": self._asset_records,
            "training_pairs": sorted({(asset.mesh, asset.prompt_id) for asset in self.training_assets}),
        }

    def settings_path(self, stem: str, record: dict[str, Any]) -> Path:
        """Where a job's settings file lies: its name changes exactly when its content does."""
        hashes = {name: self._assets_hash(record[name]) for name in LONG_LISTS if name in record}
        return Path(self.config.results) / "settings" / f"{stem}.{settings_digest(record, hashes)}.json"

    def write_settings(self, stem: str, job: Job | dict[str, Any]) -> str:
        """Write a job's settings file where it is not there yet, or damaged; returns its path."""
        record = job.record() if isinstance(job, Job) else job
        path = self.settings_path(stem, record)
        if not is_whole(path):
            write_json(path, record)
        return str(path)

    def all_jobs(self) -> Iterator[tuple[str, Job | dict[str, Any]]]:
        """(stem of the settings file, job) of every job that has one."""
        for mesh in self.meshes:
            yield f"mesh.{mesh}", self.mesh_job(mesh)
        for model in self.models:
            yield f"model.{model}", self.train_job(model)
        for method in self.methods:
            for shard in self.shards:
                yield f"texture.{method}.{shard}", self.texture_job(method, shard)
        for metric in self.metrics:
            yield f"score.{metric}", self.score_job(metric)
        yield "table", self.table_settings()
        yield "figures", figure_settings(self)

    def _assets_hash(self, records: list[dict[str, Any]] | None) -> str:
        """Hash of a list of assets, computed once for the lists that several jobs share: with 100,000 assets
        it is nearly all that naming a settings file costs."""
        hashed, digest = self._hashes.get(id(records), (None, ""))
        if hashed is not records or not digest:
            digest = content_hash(records)
            self._hashes[id(records)] = (records, digest)
        return digest

"""Which results are stale: made by other settings, other code or other inputs than the plan would use now.

Compares what the records beside the results say with the plan, without opening weights: of adapters
only the time of the last change is looked at. Nothing is run again because of this; that is Snakemake's part.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from workflow.assets import Asset
from workflow.kinds import ADAPTER_FILE
from workflow.plan import Plan
from workflow.provenance import code_version, content_hash, file_hash, read_record, texture_inputs


class Expected:
    """What the records of a results folder would hold if everything were made now."""

    def __init__(self, plan: Plan, results: Path) -> None:
        self.plan, self.results = plan, results
        self._code: dict[tuple[str, ...], str] = {}
        self._settings: dict[str, str] = {}
        self._meshes: dict[str, str | None] = {}
        self._scores: dict[str, str] = {}

    def mesh(self, mesh: str) -> str | None:
        """Why a prepared mesh is stale, or None."""
        record = read_record(self.results / "meshes" / mesh / "mesh.json")
        if record is None:
            return None
        return _differs(record, "settings_hash", content_hash(self.plan.mesh_settings(mesh)), "settings")

    def model(self, model: str) -> str | None:
        """Why a tuned model is stale, or None."""
        record = read_record(self.results / "models" / model / "config.json")
        if record is None:
            return None
        settings = self.plan.model_settings(model)
        if any(content_hash(record.get(key)) != content_hash(value) for key, value in settings.items()):
            return "other settings"
        return _differs(record, "code", self.code(self.plan.model_modules(model)), "code")

    def texture(self, method: str, asset: Asset, run: dict[str, Any], path: Path) -> str | None:
        """Why a texture with the record `run`, which lies at `path`, is stale, or None."""
        if method not in self._settings:
            self._settings[method] = texture_inputs(self.plan.texture_settings(method, 0))
        reason = (
            _differs(run, "settings_hash", self._settings[method], "settings")
            or _differs(run, "code", self.code(self.plan.method_modules(method)), "code")
            or _differs(run, "mesh_hash", self._mesh_hash(asset.mesh), "mesh")
        )
        if reason or any(run.get(key, value) != value for key, value in asset.record().items()):
            return reason or "other settings"
        model = self.plan.config.methods[method].model
        adapter = None if model is None else self.results / "models" / model / ADAPTER_FILE
        return "older than its model" if adapter is not None and _newer(adapter, path) else None

    def scores(self, metric: str, method: str, textures: str) -> str | None:
        """Why a score file is stale, or None. textures: hash of the method's records, see `textures_hash`."""
        record = read_record(self.results / "scores" / metric / f"{method}.json")
        if record is None:
            return None
        if metric not in self._scores:
            self._scores[metric] = content_hash(self.plan.score_settings(metric))
        return (
            _differs(record, "settings_hash", self._scores[metric], "settings")
            or _differs(record, "code", self.code(self.plan.metric_modules(metric)), "code")
            or _differs(record, "textures_hash", textures, "textures")
        )

    def table(self, newest: float) -> str | None:
        """Why the table is stale, or None. newest: time of the newest score file."""
        path = self.results / "table.md"
        return "older than its scores" if path.is_file() and path.stat().st_mtime < newest else None

    def code(self, modules: list[str]) -> str:
        """Hash of the code of some modules, computed once."""
        key = tuple(modules)
        if key not in self._code:
            self._code[key] = code_version(*modules)
        return self._code[key]

    def _mesh_hash(self, mesh: str) -> str | None:
        if mesh not in self._meshes:
            path = self.results / "meshes" / mesh / "mesh.npz"
            self._meshes[mesh] = file_hash(path) if path.is_file() else None
        return self._meshes[mesh]

    @cached_property
    def newest_score(self) -> float:
        """Time of the newest score file; 0 without any."""
        files = (self.results / "scores").glob("*/*.tsv")
        return max((path.stat().st_mtime for path in files), default=0.0)


def _differs(record: dict[str, Any], key: str, expected: str | None, word: str) -> str | None:
    """Records of older versions lack the key: nothing is said of them."""
    return f"other {word}" if expected is not None and record.get(key, expected) != expected else None


def _newer(path: Path, than: Path) -> bool:
    try:
        return path.stat().st_mtime > than.stat().st_mtime
    except OSError:
        return False

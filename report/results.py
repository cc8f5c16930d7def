"""One results folder as figures and the gallery read it: everything is loaded once, when it is asked for."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from report.run_records import read_quality, read_runs, read_scores, read_training
from report.statistics import sample_means
from report.style import method_styles
from texgen.storage.result_records import check_run, checked_mesh


class Results:
    """settings: the settings of the table (methods, metrics, assets, ...). folder: the results folder.

    Meshes, textures and geometry are torch objects; torch is imported when the first of them is asked for.
    """

    def __init__(self, settings: dict[str, Any], folder: str | Path) -> None:
        self.settings, self.folder = settings, Path(folder)
        self.methods: dict[str, str] = settings["methods"]
        self.metrics: dict[str, dict] = settings["metrics"]
        self.assets: list[dict] = settings["assets"]
        self.reference: str = settings["reference"]
        self.tuned = [method for method in self.methods if method in settings["models"]]
        self.styles = method_styles(self.methods, self.reference, self.tuned)
        self._kept: dict[tuple, Any] = {}

    # ---- numbers -----------------------------------------------------------------------------------------
    @cached_property
    def scores(self) -> pd.DataFrame:
        names = {asset["asset"] for asset in self.assets}
        table = read_scores(self.folder / "scores", self.metrics, self.methods, names)
        path = self.folder / "quality.tsv"
        if path.is_file():
            measured = read_quality(path, self.methods, names)
            others = measured.loc[~measured["metric"].isin(list(self.metrics))]
            table = pd.concat([table, others], ignore_index=True)
        return table

    @cached_property
    def runs(self) -> dict[tuple[str, str], dict]:
        names = {asset["asset"] for asset in self.assets}
        runs = read_runs(self.folder / "textures", self.methods, names)
        return {(run["method"], run["asset"]): run for run in runs}

    def samples(self, method: str, metric: str) -> pd.Series:
        """Sample means of one method in one metric, by (mesh, prompt_id)."""
        table = self.scores

        def means() -> pd.Series:
            return sample_means(table.loc[table["method"].eq(method) & table["metric"].eq(metric)])

        return self._keep(("samples", method, metric), means)

    def asset_score(self, method: str, metric: str, asset: str) -> float:
        """Mean over the views of one asset; nan where there is none."""
        return float(self._asset_scores.get((method, metric, asset), float("nan")))

    @cached_property
    def _asset_scores(self) -> dict:
        return pd.Series(self.scores.groupby(["method", "metric", "asset"])["score"].mean()).to_dict()

    def own_metrics(self, method: str) -> list[str]:
        """The metrics that a tuned method's model was trained on; empty for others."""
        return self.settings["trained_on"].get(method, [])

    def tuned_on(self, kind: str) -> list[str]:
        """Methods whose model was trained on a metric of this kind."""
        return [
            method
            for method in self.tuned
            if any(self.metrics[metric]["kind"] == kind for metric in self.own_metrics(method))
        ]

    def label(self, metric: str) -> str:
        """Name of a metric with its direction."""
        facts = self.metrics[metric]
        return f"{facts['label']} {'↑' if facts['higher_is_better'] else '↓'}"

    def sign(self, metric: str) -> float:
        return 1.0 if self.metrics[metric]["higher_is_better"] else -1.0

    def history(self, method: str) -> list[dict]:
        """The training history behind a tuned method; empty where there is none."""
        return read_training(self.folder / "models" / self.settings["models"][method]["model"])

    # ---- textures and meshes -----------------------------------------------------------------------------
    def done(self, method: str, asset: str) -> bool:
        """Whether a method textured an asset."""
        run = self.runs.get((method, asset))
        return run is not None and run["status"] == "ok"

    def mesh(self, name: str):
        from texgen.mesh.mesh import load_mesh

        def load():
            checked_mesh(self.folder / "meshes", name)
            return load_mesh(self.folder / "meshes" / name / "mesh.npz")

        return self._keep(("mesh", name), load)

    def geometry(self, name: str):
        from texgen.geometry.prepared import PreparedGeometry

        def load():
            checked_mesh(self.folder / "meshes", name)
            return PreparedGeometry.load(self.folder / "meshes" / name / "geometry.npz")

        return self._keep(("geometry", name), load)

    def texture(self, method: str, asset: str):
        """[3, T, T] in [0, 1], row 0 at v = 0."""
        return self._picture(method, asset, "texture.png")

    def painted(self, method: str, asset: str):
        """[1, T, T], 1 where a view painted."""
        return self._picture(method, asset, "painted.png")[:1]

    def texture_path(self, method: str, asset: str) -> Path:
        return self.folder / "textures" / method / asset / "texture.png"

    def _picture(self, method: str, asset: str, name: str):
        from texgen.mesh.export import load_texture_png

        def load():
            check_run(self.folder / "textures" / method, self.runs[method, asset], [name])
            return load_texture_png(self.texture_path(method, asset).with_name(name))

        return self._keep((name, method, asset), load)

    def _keep(self, key: tuple, load):
        if key not in self._kept:
            self._kept[key] = load()
        return self._kept[key]

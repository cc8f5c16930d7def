"""The numbers of the results table: methods against metrics, with costs, comparisons and own rewards.

`build_table` is a pure function from scores and run records to a `Table`; `report.table` formats it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from report.statistics import (
    PairedDifference,
    Summary,
    holm,
    paired_difference,
    sample_means,
    summarize,
)


class Metric(NamedTuple):
    """One column: key of the score folder, label, whether larger is better, decimals shown."""

    key: str
    label: str
    higher_is_better: bool = True
    decimals: int = 3


@dataclass(frozen=True)
class TableSpec:
    """What to show.

    methods: (key, label) of the rows, in order. metrics: (key, label, higher_is_better, decimals) of the
    columns.
    baseline: the method that all others are compared with. trained_on: for each tuned method the metric(s)
    that is its own reward (a column or not). reward_metrics: label, direction and decimals of own rewards
    that are not columns; one that is not given is shown by its key, larger better, 4 decimals. seen_pairs:
    for each tuned method the (mesh, prompt_id) pairs it was trained on, left out of its own-reward row.
    caption: facts printed below the table as "key: value", in order (models, meshes, prompts, seeds,
    device, protocol, ...).
    miniature: whether the scorers are the miniature ones. title: heading of the markdown file.
    """

    methods: Sequence[tuple[str, str]]
    metrics: Sequence[tuple[str, str, bool, int]]
    baseline: str = "pretrained"
    trained_on: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    reward_metrics: Sequence[tuple[str, str, bool, int]] = ()
    seen_pairs: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict)
    caption: Mapping[str, str] = field(default_factory=dict)
    miniature: bool = False
    title: str = "Results"


@dataclass(frozen=True)
class Cell:
    """One method's result in one metric; `versus` is method - baseline, None for the baseline itself."""

    summary: Summary
    versus: PairedDifference | None
    adjusted_p: float | None
    best: bool
    trained: bool


@dataclass(frozen=True)
class Row:
    """One method. seconds and the calls are means over its ok runs (nan without any); n counts its
    samples.
    """

    key: str
    label: str
    cells: tuple[Cell, ...]
    seconds: float
    peak_memory_bytes: float
    unet_calls: float
    controlnet_calls: float
    n: int
    failed: int


@dataclass(frozen=True)
class OwnReward:
    """One tuned method's own reward on pairs it was not trained on."""

    key: str
    label: str
    metric: Metric
    baseline: Summary
    tuned: Summary
    difference: PairedDifference
    adjusted_p: float


@dataclass(frozen=True)
class Table:
    """All numbers of the table. failures: (label, asset, reason). ok_runs: the successful run
    records of the rows' methods."""

    spec: TableSpec
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    own_rewards: tuple[OwnReward, ...]
    failures: tuple[tuple[str, str, str], ...]
    ok_runs: tuple[Mapping, ...]


def build_table(scores: pd.DataFrame, runs: Sequence[Mapping], spec: TableSpec) -> Table:
    """Compute every number of the table.

    scores: rows as `report.read.read_scores` returns them: columns metric, method, asset, mesh, prompt_id,
    prompt, seed, view, azimuth, elevation, background, score. runs: run records (keys method, asset, mesh,
    prompt, seed, status "ok" or "failed", reason, seconds, peak_memory_bytes, calls {unet, controlnet},
    device). Means are over (mesh, prompt) samples; comparisons are paired with `spec.baseline` over the
    samples that both methods have, and their p values are Holm-corrected over all comparisons of the table.
    Raises ValueError when the baseline is not among the methods, or a score belongs to no successful run.
    """
    labels = dict(spec.methods)
    if spec.baseline not in labels:
        raise ValueError(f"The baseline '{spec.baseline}' is not among the methods {list(labels)}; add it.")
    for method in spec.trained_on:
        if method not in labels:
            raise ValueError(f"trained_on names '{method}', which is not among the methods {list(labels)}.")
    _check_scored_assets_ran(scores, runs, labels)

    metrics = tuple(Metric(*metric) for metric in spec.metrics)
    samples = {
        (method, metric): sample_means(rows)
        for (method, metric), rows in scores.groupby(["method", "metric"], sort=True)
    }
    empty = sample_means(scores.iloc[:0])

    versus = {}
    for method in labels:
        for metric in metrics:
            ours = samples.get((method, metric.key), empty)
            theirs = samples.get((spec.baseline, metric.key), empty)
            if method != spec.baseline and len(ours.index.intersection(theirs.index)):
                versus[method, metric.key] = paired_difference(ours, theirs)
    adjusted = dict(zip(versus, holm([result.p for result in versus.values()]), strict=True))

    rows = []
    for method, label in labels.items():
        cells = []
        for metric in metrics:
            means = {m: summarize(samples.get((m, metric.key), empty)).mean for m in labels}
            cells.append(
                Cell(
                    summary=summarize(samples.get((method, metric.key), empty)),
                    versus=versus.get((method, metric.key)),
                    adjusted_p=adjusted.get((method, metric.key)),
                    best=_is_best(means, method, metric.higher_is_better),
                    trained=metric.key in trained_metrics(spec, method),
                )
            )
        rows.append(_row(method, label, tuple(cells), [run for run in runs if run["method"] == method]))

    own = _own_rewards(samples, empty, spec, metrics, labels)
    failures = tuple(
        (labels[run["method"]], str(run["asset"]), str(run.get("reason") or "no reason recorded"))
        for run in runs
        if run["status"] != "ok" and run["method"] in labels
    )
    ok_runs = tuple(run for run in runs if run["status"] == "ok" and run["method"] in labels)
    return Table(spec, metrics, tuple(rows), own, failures, ok_runs)


def trained_metrics(spec: TableSpec, method: str) -> tuple[str, ...]:
    """The metrics that a method's model was trained on; empty for an untuned one."""
    named = spec.trained_on.get(method, ())
    return (named,) if isinstance(named, str) else tuple(named)


def _check_scored_assets_ran(scores: pd.DataFrame, runs: Sequence[Mapping], labels: Mapping) -> None:
    succeeded = {(run["method"], str(run["asset"])) for run in runs if run["status"] == "ok"}
    for method, asset in scores[["method", "asset"]].drop_duplicates().itertuples(index=False):
        if method in labels and (method, str(asset)) not in succeeded:
            raise ValueError(
                f"There are scores of method '{method}', asset '{asset}', but no successful run of it; "
                "run the scoring step again."
            )


def _is_best(means: Mapping[str, float], method: str, higher_is_better: bool) -> bool:
    known = [mean for mean in means.values() if not math.isnan(mean)]
    if len(known) < 2:  # nothing to be better than
        return False
    return means[method] == (max(known) if higher_is_better else min(known))


def _row(method: str, label: str, cells: tuple[Cell, ...], runs: Sequence[Mapping]) -> Row:
    ok = [run for run in runs if run["status"] == "ok"]

    def mean(values: list) -> float:
        numbers = [float(value) for value in values if value is not None]
        return float(np.mean(numbers)) if numbers else math.nan

    return Row(
        key=method,
        label=label,
        cells=cells,
        seconds=mean([run.get("seconds") for run in ok]),
        peak_memory_bytes=mean([run.get("peak_memory_bytes") for run in ok]),
        unet_calls=mean([run.get("calls", {}).get("unet") for run in ok]),
        controlnet_calls=mean([run.get("calls", {}).get("controlnet") for run in ok]),
        n=len({(run["mesh"], run.get("prompt_id", run["prompt"])) for run in ok}),
        failed=len(runs) - len(ok),
    )


def _own_rewards(
    samples: Mapping, empty: pd.Series, spec: TableSpec, metrics: Sequence[Metric], labels: Mapping[str, str]
) -> tuple[OwnReward, ...]:
    known = {metric.key: metric for metric in [*(Metric(*m) for m in spec.reward_metrics), *metrics]}
    found = []
    for method in labels:
        seen = set(spec.seen_pairs.get(method, ()))
        for key in trained_metrics(spec, method):
            ours, theirs = samples.get((method, key), empty), samples.get((spec.baseline, key), empty)
            both = [pair for pair in ours.index.intersection(theirs.index) if pair not in seen]
            metric = known.get(key, Metric(key, key, True, 4))
            found.append((method, metric, ours.loc[both], theirs.loc[both]))
    differences = [paired_difference(ours, theirs) for _, _, ours, theirs in found]
    tested = [i for i, difference in enumerate(differences) if difference.n]
    adjusted = [1.0] * len(differences)
    for i, p in zip(tested, holm([differences[i].p for i in tested]), strict=True):
        adjusted[i] = p
    return tuple(
        OwnReward(method, labels[method], metric, summarize(theirs), summarize(ours), difference, p)
        for (method, metric, ours, theirs), difference, p in zip(found, differences, adjusted, strict=True)
    )

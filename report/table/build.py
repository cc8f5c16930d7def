"""The numbers of the results table: methods against metrics, with costs, comparisons and own rewards.

`build_table` is a pure function from scores and run records to a `Table`, which `report.table.results_page`
formats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from report.statistics import holm, paired_difference, sample_means, summarize
from report.table.data import BaselineComparison, Cell, MethodRow, MetricColumn, OwnReward, Table, TableSpec
from texgen.errors import DamagedFileError


def build_table(scores: pd.DataFrame, runs: Sequence[Mapping], spec: TableSpec) -> Table:
    """Compute every number of the table.

    scores: rows as `report.run_records.read_scores` returns them: columns metric, method, asset, mesh,
    prompt_id, prompt, seed, view, azimuth, elevation, background, score. runs: run records (keys method,
    asset, mesh, prompt, seed, status "ok" or "failed", reason, device_seconds, clock, seconds,
    peak_memory_bytes, calls {unet, controlnet}, device). Means are over (mesh, prompt) samples; comparisons
    are paired with `spec.baseline` over the samples that both methods have, and their p values are
    Holm-corrected over all comparisons of the table.
    Raises ValueError when the baseline is not among the methods, or a score belongs to no successful run.
    """
    labels = dict(spec.methods)
    if spec.baseline not in labels:
        raise ValueError(f"The baseline '{spec.baseline}' is not among the methods {list(labels)}; add it.")
    for method in spec.trained_on:
        if method not in labels:
            raise ValueError(f"trained_on names '{method}', which is not among the methods {list(labels)}.")
    _check_scored_assets_ran(scores, runs, labels)

    metrics = tuple(MetricColumn(*metric) for metric in spec.metrics)
    samples = {key: sample_means(rows) for key, rows in scores.groupby(["method", "metric"], sort=True)}
    empty = sample_means(scores.iloc[:0])

    versus = {}
    for method in labels:
        for metric in metrics:
            ours = samples.get((method, metric.key), empty)
            theirs = samples.get((spec.baseline, metric.key), empty)
            if method != spec.baseline and len(ours.index.intersection(theirs.index)):
                versus[method, metric.key] = paired_difference(ours, theirs)
    adjusted = dict(zip(versus, holm([result.p for result in versus.values()]), strict=True))

    ranks = {metric.key: _ranks(samples, empty, spec, metric, labels) for metric in metrics}
    rows = []
    for method, label in labels.items():
        cells = []
        for metric in metrics:
            rank, tied = ranks[metric.key].get(method, (0, False))
            cells.append(
                Cell(
                    summary=summarize(samples.get((method, metric.key), empty)),
                    versus=versus.get((method, metric.key)),
                    adjusted_p=adjusted.get((method, metric.key)),
                    best=rank == 1,
                    trained=metric.key in trained_metrics(spec, method),
                    second=rank == 2,
                    tied=tied,
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
    opponents = _best_baselines(samples, empty, spec, metrics, labels)
    return Table(spec, metrics, tuple(rows), own, opponents, failures, ok_runs)


def trained_metrics(spec: TableSpec, method: str) -> tuple[str, ...]:
    """The metrics that a method's model was trained on; empty for an untuned one."""
    named = spec.trained_on.get(method, ())
    return (named,) if isinstance(named, str) else tuple(named)


def _check_scored_assets_ran(scores: pd.DataFrame, runs: Sequence[Mapping], labels: Mapping) -> None:
    succeeded = {(run["method"], str(run["asset"])) for run in runs if run["status"] == "ok"}
    for method, asset in scores[["method", "asset"]].drop_duplicates().itertuples(index=False):
        if method in labels and (method, str(asset)) not in succeeded:
            raise DamagedFileError(
                f"There are scores of method '{method}', asset '{asset}', but no successful run of it; "
                "run the scoring step again."
            )


def _ranks(
    samples: Mapping, empty: pd.Series, spec: TableSpec, metric: MetricColumn, labels: Mapping[str, str]
) -> dict[str, tuple[int, bool]]:
    """Method -> (rank of its mean, whether it cannot be told apart from the best).

    A method whose model was trained on the metric has no rank: its score says that training did what it was
    told. With fewer than two ranked methods there is nothing to be better than, and nobody has one.
    """
    sign = 1.0 if metric.higher_is_better else -1.0
    ranked = {}
    for method in labels:
        values = samples.get((method, metric.key), empty)
        if len(values) and metric.key not in trained_metrics(spec, method):
            ranked[method] = values
    if len(ranked) < 2:
        return {}
    means = {method: sign * float(values.mean()) for method, values in ranked.items()}
    order = sorted(set(means.values()), reverse=True)
    best = next(method for method in ranked if means[method] == order[0])
    ranks = {}
    for method, values in ranked.items():
        result = paired_difference(values, ranked[best])
        # Too few pairs for an interval tell nothing apart either.
        tied = method != best and not (result.low > 0.0 or result.high < 0.0)
        ranks[method] = (order.index(means[method]) + 1, tied)
    return ranks


def _best_baselines(
    samples: Mapping,
    empty: pd.Series,
    spec: TableSpec,
    metrics: Sequence[MetricColumn],
    labels: Mapping[str, str],
) -> tuple[BaselineComparison, ...]:
    tuned = [method for method in labels if trained_metrics(spec, method)]
    others = [method for method in labels if method not in tuned and method != spec.baseline]
    found = []
    for metric in metrics:
        sign = 1.0 if metric.higher_is_better else -1.0
        scored = [method for method in others if len(samples.get((method, metric.key), empty))]
        if not scored:
            continue
        means = {method: sign * float(samples[method, metric.key].mean()) for method in scored}
        opponent = max(scored, key=lambda method: means[method])
        for method in tuned:
            ours, theirs = samples.get((method, metric.key), empty), samples[opponent, metric.key]
            if len(ours.index.intersection(theirs.index)):
                found.append((method, metric, opponent, paired_difference(ours, theirs)))
    found.sort(key=lambda each: tuned.index(each[0]))
    adjusted = holm([difference.p for *_, difference in found])
    return tuple(
        BaselineComparison(
            key=method,
            label=labels[method],
            metric=metric,
            opponent=opponent,
            opponent_label=labels[opponent],
            difference=difference,
            adjusted_p=p,
            trained=metric.key in trained_metrics(spec, method),
        )
        for (method, metric, opponent, difference), p in zip(found, adjusted, strict=True)
    )


def _row(method: str, label: str, cells: tuple[Cell, ...], runs: Sequence[Mapping]) -> MethodRow:
    ok = [run for run in runs if run["status"] == "ok"]

    def mean(values: list) -> float:
        numbers = [float(value) for value in values if value is not None]
        return float(np.mean(numbers)) if numbers else math.nan

    return MethodRow(
        key=method,
        label=label,
        cells=cells,
        device_seconds=mean([run.get("device_seconds") for run in ok]),
        seconds=mean([run.get("seconds") for run in ok]),
        peak_memory_bytes=mean([run.get("peak_memory_bytes") for run in ok]),
        unet_calls=mean([run.get("calls", {}).get("unet") for run in ok]),
        controlnet_calls=mean([run.get("calls", {}).get("controlnet") for run in ok]),
        n=len({(run["mesh"], run.get("prompt_id", run["prompt"])) for run in ok}),
        failed=len(runs) - len(ok),
        devices=tuple(sorted({str(run["device"]) for run in ok if run.get("device")})),
        clocks=tuple(sorted({str(run["clock"]) for run in ok if run.get("clock")})),
    )


def _own_rewards(
    samples: Mapping,
    empty: pd.Series,
    spec: TableSpec,
    metrics: Sequence[MetricColumn],
    labels: Mapping[str, str],
) -> tuple[OwnReward, ...]:
    known = {metric.key: metric for metric in [*(MetricColumn(*m) for m in spec.reward_metrics), *metrics]}
    found = []
    for method in labels:
        seen = set(spec.seen_pairs.get(method, ()))
        for position, key in enumerate(trained_metrics(spec, method)):
            ours, theirs = samples.get((method, key), empty), samples.get((spec.baseline, key), empty)
            both = [pair for pair in ours.index.intersection(theirs.index) if pair not in seen]
            ours, theirs = ours.loc[both], theirs.loc[both]
            found.append(
                OwnReward(
                    key=method,
                    label=labels[method],
                    metric=known.get(key, MetricColumn(key, key, True, 4)),
                    baseline=summarize(theirs),
                    tuned=summarize(ours),
                    difference=paired_difference(ours, theirs),
                    adjusted_p=1.0,
                    leading=position == 0,
                )
            )
    # What models are tuned for is one question, what held them is another: two families of tests.
    for leading in (True, False):
        family = [i for i, own in enumerate(found) if own.leading is leading and own.difference.n]
        for i, p in zip(family, holm([found[i].difference.p for i in family]), strict=True):
            found[i] = replace(found[i], adjusted_p=p)
    return tuple(found)

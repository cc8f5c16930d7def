"""What the results table consists of: its specification, and the numbers of its rows and sections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from report.statistics import PairedDifference, Summary


class MetricColumn(NamedTuple):
    """One column: key of the score folder, label, whether larger is better, decimals shown at most."""

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
    of its reward (columns or not), the one that it is tuned for first. reward_metrics: label, direction and
    decimals of own rewards that are not columns; one that is not given is shown by its key, larger better,
    4 decimals. seen_pairs: for each tuned method the (mesh, prompt_id) pairs it was trained on, left out of
    its own-reward row.
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
    """One method's result in one metric.

    versus: method - baseline, None for the baseline itself. best, second: rank of the mean among the column's
    cells whose model was not trained on the metric; equal means share a rank. tied: the paired interval of
    the difference to the best mean includes 0, or there are too few pairs for one.
    """

    summary: Summary
    versus: PairedDifference | None
    adjusted_p: float | None
    best: bool
    trained: bool
    second: bool = False
    tied: bool = False


@dataclass(frozen=True)
class MethodRow:
    """One method. device_seconds, seconds (wall time) and the calls are means over its ok runs (nan without
    any); clocks: what device_seconds were read from. n counts its samples.
    """

    key: str
    label: str
    cells: tuple[Cell, ...]
    device_seconds: float
    seconds: float
    peak_memory_bytes: float
    unet_calls: float
    controlnet_calls: float
    n: int
    failed: int
    devices: tuple[str, ...] = ()
    clocks: tuple[str, ...] = ()


@dataclass(frozen=True)
class BaselineComparison:
    """One tuned method against that untuned one (the reference aside) with the best mean in a metric."""

    key: str
    label: str
    metric: MetricColumn
    opponent: str
    opponent_label: str
    difference: PairedDifference
    adjusted_p: float
    trained: bool


@dataclass(frozen=True)
class OwnReward:
    """One term of a tuned method's reward on pairs it was not trained on.

    leading: the first term, for which the model is tuned; the others hold it. adjusted_p: after Holm's
    correction over the leading terms of all models, or over all others.
    """

    key: str
    label: str
    metric: MetricColumn
    baseline: Summary
    tuned: Summary
    difference: PairedDifference
    adjusted_p: float
    leading: bool


@dataclass(frozen=True)
class Table:
    """All numbers of the table. failures: (label, asset, reason). ok_runs: the successful run
    records of the rows' methods."""

    spec: TableSpec
    metrics: tuple[MetricColumn, ...]
    rows: tuple[MethodRow, ...]
    own_rewards: tuple[OwnReward, ...]
    best_baselines: tuple[BaselineComparison, ...]
    failures: tuple[tuple[str, str, str], ...]
    ok_runs: tuple[Mapping, ...]

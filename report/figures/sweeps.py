"""Figures of several trainings: the same with other seeds, and with more or less holding back."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.figures.trainings import repeat_groups, sweep_groups
from report.results import Results
from report.statistics import summarize
from report.style import WIDTH, NotDrawn, wrap


def repeats(results: Results) -> Figure:
    """Held-out reward of repeated trainings against steps, and the spread of their evaluation."""
    groups = repeat_groups(results.settings.get("trainings", {}))
    if not groups:
        raise NotDrawn("No two models of this run differ in the seed of training alone.")
    figure, axes = plt.subplots(len(groups), 2, figsize=(WIDTH, 2.1 * len(groups) + 0.2), squeeze=False)
    for (left, right), group in zip(axes, groups, strict=True):
        trainings = results.settings["trainings"]
        for method in group:
            rows = [row for row in results.history(method) if row.get("heldout_reward") is not None]
            colour = results.styles[method]["color"]
            left.plot(
                [row["step"] for row in rows],
                [row["heldout_reward"] for row in rows],
                "o-",
                color=colour,
                markersize=3,
                label=f"seed {trainings[method]['seed']}",
            )
        left.set_xlabel("optimiser step")
        left.set_ylabel("held-out reward")
        left.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        left.legend(fontsize=6)
        left.set_title(wrap(results.methods[group[0]], 40))
        _spread(right, results, group)
    return figure


def _spread(axis, results: Results, group: list[str]) -> None:
    """Means of each training in each metric, in standard errors of the reference's samples around it."""
    metrics = list(results.metrics)
    for row, metric in enumerate(metrics):
        base = summarize(results.samples(results.reference, metric))
        unit = base.standard_error if base.standard_error and base.standard_error > 0 else 1.0
        values = []
        for method in group:
            mean = summarize(results.samples(method, metric)).mean
            values.append(results.sign(metric) * (mean - base.mean) / unit)
            axis.plot(values[-1], row, "o", color=results.styles[method]["color"], markersize=4)
        values = [value for value in values if not math.isnan(value)]
        if len(values) > 1:
            spread = float(np.std(values, ddof=1))
            centre = float(np.mean(values))
            axis.plot([centre - spread, centre + spread], [row, row], "-", color="#1c1c1c", linewidth=0.8)
    axis.axvline(0, color="#1c1c1c", linewidth=0.6)
    axis.set_yticks(range(len(metrics)), [results.label(metric) for metric in metrics])
    axis.set_ylim(len(metrics) - 0.5, -0.5)
    axis.set_xlabel("gain over the untuned model, in its standard errors")


def regularisation(results: Results) -> Figure:
    """Own reward and every other score against the strength of what holds a model near the untuned one."""
    sweeps = sweep_groups(results.settings.get("trainings", {}))
    if not sweeps:
        raise NotDrawn(
            "No model of this run is used with several lora_scale, and no two differ in kl_weight alone."
        )
    figure, axes = plt.subplots(len(sweeps), 2, figsize=(WIDTH, 2.1 * len(sweeps) + 0.2), squeeze=False)
    names = {"lora_scale": "LoRA scale", "kl_weight": "weight of the divergence"}
    for (left, right), (field, members) in zip(axes, sweeps, strict=True):
        own = results.own_metrics(members[0][1])
        values = [value for value, _ in members]
        for axis, metrics in ((left, own), (right, [m for m in results.metrics if m not in own])):
            for metric in metrics:
                base = summarize(results.samples(results.reference, metric))
                unit = base.standard_error if base.standard_error and base.standard_error > 0 else 1.0
                gains = [
                    results.sign(metric)
                    * (summarize(results.samples(method, metric)).mean - base.mean)
                    / unit
                    for _, method in members
                ]
                axis.plot(values, gains, "o-", markersize=3.5, label=results.label(metric))
            axis.axhline(0, color="#1c1c1c", linewidth=0.6)
            axis.set_xlabel(names[field])
            axis.set_ylabel("gain, standard errors")
            axis.legend(fontsize=5.5)
        left.set_title(f"trained on: {wrap(results.methods[members[-1][1]], 30)}", fontsize=7)
        right.set_title("other scores", fontsize=7)
    return figure

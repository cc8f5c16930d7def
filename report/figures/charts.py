"""Figures of numbers alone: training, drift, distributions, win rates, time against quality."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, MaxNLocator

from report.results import Results
from report.statistics import summarize, wilson, win_rate
from report.style import WIDTH, NotDrawn, wrap
from texgen.timing import CPU_CLOCK, GPU_CLOCK

SMOOTHING = 9
"""Optimiser steps of the running median through the training reward."""


def training(results: Results) -> Figure:
    """Reward of each optimiser step and held-out reward, a panel per tuned model."""
    histories = {method: results.history(method) for method in results.tuned}
    histories = {method: rows for method, rows in histories.items() if len(rows) > 1}
    if not histories:
        raise NotDrawn("No model was tuned in this run, so there is no reward to show against steps.")
    columns = min(3, len(histories))
    rows = math.ceil(len(histories) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH * max(columns, 1.6) / 3, 1.9 * rows), squeeze=False
    )
    for axis, (method, history) in zip(axes.flat, histories.items(), strict=False):
        colour = results.styles[method]["color"]
        steps, rewards = _column(history, "reward")
        axis.plot(steps, rewards, ".", color=colour, alpha=0.3, markersize=3, markeredgewidth=0, label="step")
        if len(steps) >= SMOOTHING:
            label = f"median of {SMOOTHING} steps"
            axis.plot(steps, running_median(rewards, SMOOTHING), color=colour, label=label)
        held_steps, held = _column(history, "heldout_reward")
        if len(held):
            axis.plot(held_steps, held, "o-", color="#1c1c1c", markerfacecolor="white", label="held-out")
        names = ", ".join(results.metrics[name]["label"] for name in results.own_metrics(method))
        axis.set_title(f"{wrap(results.methods[method], 34)}\n{wrap(names, 34)}")
        axis.set_xlabel("optimiser step")
        axis.set_ylabel("reward")
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axis.grid(axis="y")
    for axis in axes.flat[len(histories) :]:
        axis.set_visible(False)
    # One entry per name, from whichever panel has it.
    entries: dict = {}
    for axis in axes.flat:
        entries |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))
    return figure


def drift(results: Results) -> Figure:
    """Reward against the distance from the untuned model: along training, and per sample of the evaluation.

    The upper row needs the columns `heldout_kl` or `kl` of a history; without them there is the lower alone.
    """
    if not results.tuned:
        raise NotDrawn("No model was tuned in this run, so nothing has drifted.")
    change = {method: _texture_change(results, method) for method in results.tuned}
    change = {method: points for method, points in change.items() if points}
    if not change:
        raise NotDrawn("No tuned model and the reference have textured the same asset.")
    with_kl = {method: divergences(results.history(method)) for method in change}
    rows = 2 if any(len(points) for _, points in with_kl.values()) else 1
    columns = len(change)
    figure, axes = plt.subplots(
        rows, columns, figsize=(min(WIDTH, 2.35 * max(columns, 1.3)), 2.1 * rows), squeeze=False
    )
    for column, (method, points) in enumerate(change.items()):
        colour, marker = results.styles[method]["color"], results.styles[method]["marker"]
        metric = results.own_metrics(method)[0]
        x, y = np.array(points).T
        axis = axes[-1, column]
        axis.axhline(0, color="#1c1c1c", linewidth=0.6)
        axis.plot(x, y, marker, color=colour, alpha=0.75, markeredgewidth=0)
        axis.plot(x.mean(), y.mean(), marker, color="#1c1c1c", markersize=7, fillstyle="none")
        axis.set_xlim(0, 1.1 * x.max())
        axis.set_xlabel("texture change (RMS)")
        axis.set_ylabel(f"change of {results.label(metric)}")
        axes[0, column].set_title(wrap(results.methods[method], 20 if columns > 3 else 30))
        if rows == 2:
            _kl_panel(axes[0, column], *with_kl[method], colour)
    return figure


def divergences(history: list[dict]) -> tuple[str, np.ndarray]:
    """("held-out" or "training", [n, 3] of divergence, reward, step): held-out where it was measured."""
    for prefix, word in (("heldout_", "held-out"), ("", "training")):
        names = (f"{prefix}kl", f"{prefix}reward", "step")
        rows = [[row[name] for name in names] for row in history if row.get(names[0]) is not None]
        rows = [row for row in rows if row[1] is not None]
        if rows:
            return word, np.array(rows, dtype=float)
    return "training", np.zeros((0, 3))


def _kl_panel(axis, word: str, points: np.ndarray, colour: str) -> None:
    if not len(points):
        axis.text(0.5, 0.5, "no divergence in the history", ha="center", transform=axis.transAxes)
        axis.set_axis_off()
        return
    divergence, reward, step = points.T
    axis.plot(divergence, reward, "-", color=colour, alpha=0.35, linewidth=0.8)
    axis.scatter(divergence, reward, c=step, cmap="cividis", s=9, linewidths=0, zorder=3)
    axis.set_xlabel(f"KL ({word})")
    axis.set_ylabel(f"{word} reward")


def _texture_change(results: Results, method: str) -> list[tuple[float, float]]:
    """(RMS change of the texture on the charts, change of the own reward) of every sample."""
    metric = results.own_metrics(method)[0]
    points = []
    for asset in results.assets:
        name = asset["asset"]
        if not (results.done(method, name) and results.done(results.reference, name)):
            continue
        mask = results.geometry(asset["mesh"]).atlas.mask[0] > 0
        before, after = results.texture(results.reference, name), results.texture(method, name)
        distance = float(((before - after) ** 2).mean(dim=0)[mask].mean().sqrt())
        gain = results.asset_score(method, metric, name) - results.asset_score(
            results.reference, metric, name
        )
        if not math.isnan(gain):  # a mesh that the metric cannot judge
            points.append((distance, gain))
    return points


def distributions(results: Results) -> Figure:
    """Every sample of every method, a panel per metric; thin lines join the same (mesh, prompt)."""
    metrics, methods = list(results.metrics), list(results.methods)
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    height = 0.55 + 0.24 * len(methods)
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, max(1.3, height) * rows + 0.1), squeeze=False, sharey=True
    )
    for axis, metric in zip(axes.flat, metrics, strict=False):
        samples = [results.samples(method, metric) for method in methods]
        common = set.intersection(*(set(values.index) for values in samples))
        for pair in sorted(common):
            axis.plot([values[pair] for values in samples], range(len(methods)), color="#d9d9d9", lw=0.5)
        for i, (method, values) in enumerate(zip(methods, samples, strict=True)):
            style, summary = results.styles[method], summarize(values)
            trained = metric in results.own_metrics(method)
            face = "white" if trained else style["color"]
            axis.plot(
                values, [i] * len(values), "o", color=style["color"], markerfacecolor=face, markersize=3.2,
                markeredgewidth=0.7, alpha=0.75,
            )  # fmt: skip
            axis.plot([summary.mean] * 2, [i - 0.32, i + 0.32], color="#1c1c1c", linewidth=1.4)
        axis.set_title(results.label(metric))
        axis.set_yticks(range(len(methods)), [wrap(results.methods[method], 24) for method in methods])
        axis.set_ylim(len(methods) - 0.4, -0.6)
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.grid(axis="x")
    for axis in axes.flat[len(metrics) :]:
        axis.set_visible(False)
    return figure


def winrates(results: Results) -> Figure:
    """Per cent of samples in which the row's method beats the column's, a matrix per metric."""
    metrics, methods = list(results.metrics), list(results.methods)
    if len(methods) < 2:
        raise NotDrawn("There is one method only, so nobody wins.")
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    side = WIDTH / columns
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, 0.82 * side * rows + 0.5), squeeze=False)
    # Points per cell, of which a number of three digits may take two thirds.
    size = min(7.0, max(4.0, 0.38 * 72 * 0.72 * side / len(methods)))
    image = None
    for index, metric in enumerate(metrics):
        axis = axes.flat[index]
        counts: list[int] = []
        matrix = np.full((len(methods), len(methods)), np.nan)
        for i, row in enumerate(methods):
            for j, column in enumerate(methods):
                if i == j:
                    continue
                a, b = results.samples(row, metric), results.samples(column, metric)
                common = a.index.intersection(b.index)
                if not len(common):
                    continue
                rate = win_rate(results.sign(metric) * (a[common] - b[common]).to_numpy())
                low, high = wilson(rate, len(common))
                counts.append(len(common))
                matrix[i, j] = 100 * rate
                clear = low > 0.5 or high < 0.5
                ink = "white" if abs(rate - 0.5) > 0.32 else "#1c1c1c"
                weight = "bold" if clear else "regular"
                axis.text(
                    j,
                    i,
                    f"{100 * rate:.0f}",
                    ha="center",
                    va="center",
                    color=ink,
                    weight=weight,
                    fontsize=size,
                    in_layout=False,  # inside its cell; to lay out a thousand of them takes seconds
                )
        image = axis.imshow(matrix, cmap="PuOr_r", vmin=0, vmax=100, interpolation="nearest")
        axis.set_title(f"{results.label(metric)}  ({sample_count(counts)})")
        numbers = [str(k + 1) for k in range(len(methods))]
        axis.set_xticks(range(len(methods)), numbers, fontsize=size)
        names = [f"{wrap(results.methods[m], 26)}  {k + 1}" for k, m in enumerate(methods)]
        axis.set_yticks(range(len(methods)), names if index % columns == 0 else numbers, fontsize=size)
        axis.tick_params(length=0)
        for spine in axis.spines.values():
            spine.set_visible(False)
    for axis in axes.flat[len(metrics) :]:
        axis.set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.7, pad=0.01, aspect=22)
    bar.set_label("row beats column, % of samples")
    bar.outline.set_visible(False)
    return figure


def sample_count(counts: list[int]) -> str:
    """E.g. "n = 12" or "n = 7 to 12"."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def time_quality(results: Results) -> Figure:
    """Mean device seconds per texture against the mean of each metric, with standard errors of the mean."""
    seconds = {
        method: [
            run["device_seconds"]
            for (name, _), run in results.runs.items()
            if name == method and run.get("device_seconds")
        ]
        for method in results.methods
    }
    seconds = {method: values for method, values in seconds.items() if values}
    if not seconds:
        raise NotDrawn("No run has recorded its device seconds.")
    known = {str(run["clock"]) for run in results.runs.values() if run.get("clock")}
    clocks = {(CPU_CLOCK,): "CPU seconds", (GPU_CLOCK,): "GPU seconds"}.get(tuple(known), "device seconds")
    metrics = list(results.metrics)
    columns = min(3, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(WIDTH, 1.75 * rows + 0.35), squeeze=False)
    for axis, metric in zip(axes.flat, metrics, strict=False):
        for method, values in seconds.items():
            summary, style = summarize(results.samples(method, metric)), results.styles[method]
            trained = metric in results.own_metrics(method)
            axis.errorbar(
                np.mean(values), summary.mean, yerr=summary.standard_error, fmt=style["marker"],
                color=style["color"], markerfacecolor="white" if trained else style["color"],
                elinewidth=0.8, capsize=2, label=results.methods[method],
            )  # fmt: skip
        if max(map(np.mean, seconds.values())) > 8 * min(map(np.mean, seconds.values())):
            axis.set_xscale("log")
            # Plain numbers: texts are drawn without mathematics, see report.escaping.
            axis.xaxis.set_major_formatter("{x:g}")
            axis.xaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, 0.4)))
        else:
            axis.set_xlim(0, 1.12 * max(map(np.mean, seconds.values())))
        axis.margins(y=0.12)
        axis.set_xlabel(f"{clocks} per texture")
        axis.set_ylabel(results.label(metric))
        axis.grid()
    for axis in axes.flat[len(metrics) :]:
        axis.set_visible(False)
    # Legend entries show the method; open markers are explained in the caption.
    handles = [
        plt.Line2D([], [], linestyle="", color=results.styles[m]["color"], marker=results.styles[m]["marker"])
        for m in seconds
    ]
    labels = [results.methods[method] for method in seconds]
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """Median over a centred window that is cut at the ends, [n] -> [n]."""
    half = window // 2
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def _column(history: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps, values) of the rows that have a value."""
    rows = [(row["step"], row[name]) for row in history if row.get(name) is not None]
    return np.array([step for step, _ in rows]), np.array([value for _, value in rows], dtype=float)

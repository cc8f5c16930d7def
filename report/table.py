"""The blocks of the results page: scores, comparisons, failures, own rewards, what it was made with.

It only arranges the numbers of `report.table_build`; `report.blocks` writes them as Markdown, LaTeX or HTML,
`report.table_csv` as one unrounded row per method.
"""

from __future__ import annotations

import math

from report.blocks import Block, Text, to_markdown
from report.statistics import EXACT_SIGN_FLIP_LIMIT, RANDOM_SIGN_PATTERNS, PairedDifference, smallest_p
from report.table_data import Cell, Metric, Table

LEVEL = 0.05
TRAINED, BETTER, WORSE, TIED, ABSENT = "†", "▲", "▼", "≈", "–"


def markdown(table: Table) -> str:
    """The table with all its sections as Markdown."""
    return to_markdown(table_blocks(table))


def table_blocks(table: Table) -> list[Block]:
    """Every section of one table, in the order of the page."""
    sections = [scores_block(table), own_block(table), baselines_block(table), failures_block(table)]
    return [block for block in sections if block is not None] + [made_with_block(table)]


def scores_block(table: Table, title: str | None = None, cost: bool = True) -> Block:
    """Methods against metrics, with costs and n (cost=False: n alone)."""
    header = ["Method"]
    for i, metric in enumerate(table.metrics):
        trained = TRAINED if any(row.cells[i].trained for row in table.rows) else ""
        header.append(f"{metric.label}{trained} {'↑' if metric.higher_is_better else '↓'}")
    header += ["seconds per mesh", "model calls (UNet / ControlNet)", "peak memory, GB"] if cost else []
    body = []
    for row in table.rows:
        shown = zip(row.cells, table.metrics, strict=True)
        line = [Text(row.label), *(_score(cell, metric, row.n) for cell, metric in shown)]
        if cost:
            calls = f"{number(row.unet_calls)} / {number(row.controlnet_calls)}"
            line += [Text(decimal(row.seconds, 1)), Text(calls), Text(gigabytes(row.peak_memory_bytes))]
        failed = f" ({row.failed} failed)" if row.failed else ""
        body.append([*line, Text(f"{row.n}{failed}")])
    return Block(title or table.spec.title, [*header, "n"], body, reading_notes(table, cost))


def own_block(table: Table) -> Block | None:
    """Each tuned model under its own reward, on pairs that it was not trained on."""
    if not table.own_rewards:
        return None
    baseline = dict(table.spec.methods)[table.spec.baseline]
    header = ["Model", "Own reward", baseline, "Tuned", *_COMPARISON]
    body = []
    for own in table.own_rewards:
        digits = own.metric.decimals
        means = [Text(decimal(own.baseline.mean, digits)), Text(decimal(own.tuned.mean, digits))]
        body.append(
            [Text(own.label), Text(_arrow(own.metric)), *means]
            + _comparison(own.metric, own.difference, own.adjusted_p)
        )
    note = (
        "Each tuned model under the reward that it was trained on, over the evaluation's (mesh, prompt) "
        "pairs that were not in its training; both means are over the n pairs that both methods have. "
        + _comparison_note("the rows of this section")
    )
    return Block("Own held-out reward", header, body, [note])


def baselines_block(table: Table, title: str = "Against the best other method") -> Block | None:
    """Each tuned model against the best untuned method other than the reference, metric by metric."""
    if not table.best_baselines:
        return None
    header = ["Model", "Metric", "Best other method", *_COMPARISON]
    body = [
        [
            Text(each.label),
            Text(_arrow(each.metric), mark=TRAINED if each.trained else ""),
            Text(each.opponent_label),
            *_comparison(each.metric, each.difference, each.adjusted_p),
        ]
        for each in table.best_baselines
    ]
    reference = dict(table.spec.methods)[table.spec.baseline]
    note = (
        f"The opponent is the untuned method other than {reference} with the best mean of the metric. It is "
        "chosen on these same samples, which favours it: a win is safe, a loss is overstated. "
        + _comparison_note("the rows of this section")
    )
    return Block(title, header, body, [note])


def failures_block(table: Table) -> Block | None:
    """Failed runs with their reasons."""
    lines = [f"{label}, {asset}: {' '.join(reason.split())}" for label, asset, reason in table.failures]
    return Block("Failed runs", notes=lines) if lines else None


def made_with_block(table: Table) -> Block:
    """Meshes, prompts, seeds, devices and the caption's facts."""
    lines = []
    if table.ok_runs:
        meshes = sorted({run["mesh"] for run in table.ok_runs})
        seeds = sorted({run["seed"] for run in table.ok_runs})
        prompts = {run.get("prompt_id", run["prompt"]) for run in table.ok_runs}
        lines.append(
            f"{count(len(meshes), 'mesh', 'meshes')} ({', '.join(meshes)}), "
            f"{count(len(prompts), 'prompt')}, {count(len(seeds), 'seed')} ({', '.join(map(str, seeds))})."
        )
    devices = sorted({str(run["device"]) for run in table.ok_runs if run.get("device")})
    if devices:
        apart = " Seconds of different devices are not comparable." if len(devices) > 1 else ""
        lines.append(f"Device: {'; '.join(devices)}.{apart}")
    lines += [f"{key[:1].upper()}{key[1:]}: {value}" for key, value in table.spec.caption.items()]
    return Block("Made with", notes=lines)


def reading_notes(table: Table, cost: bool = True) -> list[str]:
    """What a cell is and what the marks mean."""
    spec, rows = table.spec, table.rows
    cells = [cell for row in rows for cell in row.cells]
    labels = dict(spec.methods)
    versus = [cell.versus for cell in cells if cell.versus is not None]
    lines = [
        "Mean ± standard error over n samples; one sample is one (mesh, prompt) pair, with views and seeds "
        "averaged inside it. The best mean of a column is bold, the second underlined."
    ]
    if any(cell.tied for cell in cells):
        lines.append(
            f"{TIED}: cannot be told apart from the best of its column: the 95 % bootstrap interval of the "
            "paired difference includes 0."
        )
    if versus:
        lines.append(
            f"{BETTER} / {WORSE}: better / worse than {labels[spec.baseline]}, paired over the samples that "
            f"both have: two-sided sign-flip test (all sign patterns for n ≤ {EXACT_SIGN_FLIP_LIMIT}, else "
            f"{RANDOM_SIGN_PATTERNS:,} random ones), p < {LEVEL} after Holm's correction over the "
            f"{len(versus)} comparisons of this table."
        )
        floor = len(versus) * min(smallest_p(result.n) for result in versus)
        if floor >= LEVEL:
            lines.append(
                f"With {max(result.n for result in versus)} samples the smallest corrected p that can occur "
                f"is {show_p(min(1.0, floor))}: no cell could be marked."
            )
    if any(cell.trained for cell in cells):
        lines.append(
            f"{TRAINED}: the row's model was trained on this metric, which is no independent evidence; such "
            "cells are not ranked."
        )
    if len({row.n for row in rows if row.n}) > 1:
        lines.append(
            "n differs between rows: those means are over different samples, the comparisons are not."
        )
    if table.failures:
        lines.append("Failed runs are not in the means; their reasons are listed below.")
    if cost:
        lines.append(
            "Seconds, model calls and peak memory are per texture, in the process, without loading models."
        )
        lines += programs_note(table)
    if spec.miniature:
        lines.append(
            "**The scorers are the miniature ones of this repository: these scores are not comparable with "
            "published ones, only with each other.**"
        )
    return lines


def programs_note(table: Table) -> list[str]:
    """What differs for rows that the authors' own programs made; empty when there are none."""
    methods = {run["method"] for run in table.ok_runs if run.get("kind") == "official"}
    rows = [row.label for row in table.rows if row.key in methods]
    if not rows:
        return []
    return [
        f"{', '.join(rows)}: the authors' own programs; their seconds are those of whole processes, loading "
        "of models included, and their model calls cannot be counted."
    ]


_COMPARISON = ("Difference", "95 % interval", "Win rate", "p", "p (Holm)", "n")


def _comparison(metric: Metric, difference: PairedDifference, adjusted_p: float) -> list[Text]:
    digits, d = metric.decimals, difference
    if d.n == 0:
        return [*(Text(ABSENT) for _ in range(5)), Text("0")]
    interval = ABSENT if math.isnan(d.low) else f"[{signed(d.low, digits)}, {signed(d.high, digits)}]"
    rate, low, high = wins(metric, d)
    won = f"{rate:.2f} [{low:.2f}, {high:.2f}]"
    cells = (signed(d.mean, digits), interval, won, show_p(d.p), show_p(adjusted_p), str(d.n))
    return [Text(cell) for cell in cells]


def _comparison_note(family: str) -> str:
    return (
        "The interval is a BCa bootstrap of the mean paired difference, widened for small n; the win rate is "
        "the share of pairs in which the model is better, ties one half, with Wilson's 95 % interval; "
        f"p is a two-sided sign-flip test; p (Holm) is corrected over {family}."
    )


def wins(metric: Metric, difference: PairedDifference) -> tuple[float, float, float]:
    """Share of pairs in which the method is the better one, with its interval."""
    rate = (difference.win_rate, difference.win_low, difference.win_high)
    return rate if metric.higher_is_better else (1 - rate[0], 1 - rate[2], 1 - rate[1])


def _score(cell: Cell, metric: Metric, n: int) -> Text:
    summary = cell.summary
    if summary.n == 0:
        return Text(ABSENT)
    text = decimal(summary.mean, metric.decimals)
    if not math.isnan(summary.standard_error):
        text += f" ± {decimal(summary.standard_error, metric.decimals)}"
    marks = []
    if cell.adjusted_p is not None and cell.adjusted_p < LEVEL:
        marks.append(BETTER if (cell.versus.mean > 0) == metric.higher_is_better else WORSE)
    if cell.tied:
        marks.append(TIED)
    if cell.trained:
        marks.append(TRAINED)
    if summary.n != n:
        marks.append(f"(n = {summary.n})")
    return Text(text, cell.best, cell.second, cell.trained, " ".join(marks))


def cost_block(table: Table, wall_seconds: dict[str, float], training: dict[str, dict]) -> Block:
    """What each method costs. wall_seconds: of its texturing jobs, as the workflow measured them; training:
    per tuned method `steps` and `seconds` of its history."""
    header = ["Method", "seconds per mesh", "shortest to longest", "UNet calls", "ControlNet calls"]
    header += ["peak memory, GB", "wall time of the jobs, min", "training steps", "training, min", "device"]
    body = []
    for row in table.rows:
        seconds = [run["seconds"] for run in table.ok_runs if run["method"] == row.key and run.get("seconds")]
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}" if seconds else ABSENT
        trained = training.get(row.key)
        line = [row.label, decimal(row.seconds, 1), spread, number(row.unet_calls)]
        line += [number(row.controlnet_calls), gigabytes(row.peak_memory_bytes)]
        line += [decimal(wall_seconds.get(row.key, math.nan) / 60, 1)]
        line += [str(trained["steps"]), decimal(trained["seconds"] / 60, 1)] if trained else [ABSENT] * 2
        body.append([Text(cell) for cell in (*line, "; ".join(row.devices) or ABSENT)])
    notes = [
        "Seconds are measured inside the process, after a warm-up and without loading models; on a GPU after "
        "synchronising it. Wall time is that of the whole texturing jobs, loading included.",
        "Model calls count UNet and ControlNet evaluations per texture, a guidance pair as one; they do not "
        "depend on the device. Peak memory is the device's on a GPU, else that of the process, with the "
        "models.",
        "Training is paid once per model, not per mesh; its held-out measurements are not counted.",
        *programs_note(table),
    ]
    return Block("Cost", header, body, notes)


def _arrow(metric: Metric) -> str:
    return f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """E.g. "1 seed", "3 seeds"."""
    return f"{n} {singular if n == 1 else plural or singular + 's'}"


def decimal(value: float, digits: int) -> str:
    return ABSENT if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int) -> str:
    return ABSENT if math.isnan(value) else f"{value:+.{digits}f}"


def number(value: float) -> str:
    """A mean count: without decimals when whole."""
    return ABSENT if math.isnan(value) else f"{value:.1f}".removesuffix(".0")


def gigabytes(value: float) -> str:
    return ABSENT if math.isnan(value) else f"{value / 1e9:.2f}"


def show_p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"

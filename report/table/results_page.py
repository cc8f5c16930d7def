"""The blocks of the results page: scores, comparisons, failures, own rewards, what it was made with.

Means are printed with as many decimals as their standard errors deserve (two figures of the error). This only
arranges the numbers of `report.table.build`; `report.table.blocks` writes them as Markdown, text,
LaTeX or HTML, `report.table.csv_rows` as one unrounded row per method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from report.statistics import PairedDifference
from report.table.blocks import Block, Text, to_markdown
from report.table.data import Cell, MethodRow, MetricColumn, Table
from report.table.notes import (
    BETTER,
    LEVEL,
    TIED,
    TRAINED,
    WORSE,
    comparison_notes,
    device_heading,
    further_notes,
    programs_note,
    reading_notes,
    timing_note,
)
from report.table.numbers import ABSENT, count, decimal, gigabytes, number, show_p, signed


def markdown(table: Table) -> str:
    """The table with all its sections as Markdown."""
    return to_markdown(table_blocks(table))


def table_blocks(table: Table) -> list[Block]:
    """Every section of one table, in the order of the page."""
    sections = [scores_block(table), *own_blocks(table), baselines_block(table), failures_block(table)]
    return [block for block in sections if block is not None] + [made_with_block(table)]


def scores_block(table: Table, title: str | None = None, main: bool = True) -> Block:
    """Methods against metrics. main: with costs and all notes; else with n and the notes of its own alone."""
    header = ["Method"]
    for i, metric in enumerate(table.metrics):
        trained = TRAINED if any(row.cells[i].trained for row in table.rows) else ""
        header.append(f"{metric.label}{trained} {'↑' if metric.higher_is_better else '↓'}")
    header += [device_heading(table), "wall s", "calls", "GB"] if main else []
    columns = zip(*(row.cells for row in table.rows), strict=True)
    digits = [
        shown_decimals(metric, [cell.summary.standard_error for cell in cells])
        for metric, cells in zip(table.metrics, columns, strict=True)
    ]
    body = []
    for row in table.rows:
        shown = zip(row.cells, table.metrics, digits, strict=True)
        line = [Text(row.label), *(_score(cell, metric, places, row.n) for cell, metric, places in shown)]
        if main:
            line += [Text(decimal(row.device_seconds, 1)), Text(decimal(row.seconds, 1))]
            line += [Text(_calls(row)), Text(gigabytes(row.peak_memory_bytes))]
        failed = f" ({row.failed} failed)" if row.failed else ""
        body.append([*line, Text(f"{row.n}{failed}")])
    notes = reading_notes(table) if main else further_notes(table)
    return Block(title or table.spec.title, [*header, "n"], body, notes)


def shown_decimals(metric: MetricColumn, errors: Sequence[float]) -> int:
    """Decimals of a column: two figures of its median standard error, at most the metric's own."""
    errors = [error for error in errors if error > 0]
    if not errors:
        return metric.decimals
    return min(metric.decimals, max(0, 1 - math.floor(math.log10(median(errors)))))


def _calls(row: MethodRow) -> str:
    """UNet evaluations per texture, and those of the ControlNet where they are another number."""
    unet, controlnet = number(row.unet_calls), number(row.controlnet_calls)
    return unet if unet == controlnet else f"{unet} / {controlnet}"


def own_blocks(table: Table) -> list[Block | None]:
    """Each tuned model under its own reward, on pairs that it was not trained on; then what held it."""
    return [_own_block(table, leading=True), _own_block(table, leading=False)]


def _own_block(table: Table, leading: bool) -> Block | None:
    rows = [own for own in table.own_rewards if own.leading is leading]
    if not rows:
        return None
    baseline = dict(table.spec.methods)[table.spec.baseline]
    header = ["Model", "Own reward" if leading else "Term", baseline, "Tuned", *_COMPARISON]
    body = []
    for own in rows:
        digits = shown_decimals(own.metric, [own.baseline.standard_error, own.tuned.standard_error])
        means = [Text(decimal(own.baseline.mean, digits)), Text(decimal(own.tuned.mean, digits))]
        body.append(
            [Text(own.label), Text(_arrow(own.metric)), *means]
            + _comparison(own.metric, own.difference, own.adjusted_p)
        )
    if not leading:
        notes = ["Read as the section above; Holm's correction is over the rows of this one."]
        return Block("Terms that hold a model", header, body, notes)
    notes = [
        "Each tuned model under the reward that it was tuned for, the first that its block names, over the "
        "evaluation's (mesh, prompt) pairs that were not in its training; both means are over the n pairs "
        "that both methods have.",
        *comparison_notes(),
        "Each model was trained once: no interval here covers how another training would differ.",
    ]
    return Block("Own held-out reward", header, body, notes)


def baselines_block(
    table: Table, title: str = "Against the best other method", main: bool = True
) -> Block | None:
    """Each tuned model against the best untuned method other than the reference, metric by metric.

    main: with all notes; else this block follows another of its kind.
    """
    if not table.best_baselines:
        return None
    header = ["Model", "Metric", "Opponent", *_COMPARISON]
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
    notes = [
        f"The opponent is the untuned method other than {reference} with the best mean of the metric. It is "
        "chosen on these same samples, which favours it: a win is conservative, a loss is overstated.",
        *comparison_notes(),
    ]
    if not main:
        notes = [f"Read as the section above; Holm's correction is over the {len(body)} rows of this one."]
    return Block(title, header, body, notes)


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


_COMPARISON = ("Difference [95 %]", "Win rate [95 %]", "p", "Holm", "n")


def _comparison(metric: MetricColumn, difference: PairedDifference, adjusted_p: float) -> list[Text]:
    d = difference
    if d.n == 0:
        return [*(Text(ABSENT) for _ in range(4)), Text("0")]
    digits = shown_decimals(metric, [(d.high - d.low) / 4])  # an interval is about four standard errors wide
    change = signed(d.mean, digits)
    if not math.isnan(d.low):
        change += f" [{signed(d.low, digits)}, {signed(d.high, digits)}]"
    rate, low, high = wins(metric, d)
    won = f"{rate:.2f} [{low:.2f}, {high:.2f}]"
    return [Text(cell) for cell in (change, won, show_p(d.p), show_p(adjusted_p), str(d.n))]


def wins(metric: MetricColumn, difference: PairedDifference) -> tuple[float, float, float]:
    """Share of pairs in which the method is the better one, with its interval."""
    rate = (difference.win_rate, difference.win_low, difference.win_high)
    return rate if metric.higher_is_better else (1 - rate[0], 1 - rate[2], 1 - rate[1])


def _score(cell: Cell, metric: MetricColumn, digits: int, n: int) -> Text:
    summary = cell.summary
    if summary.n == 0:
        return Text(ABSENT)
    text = decimal(summary.mean, digits)
    if not math.isnan(summary.standard_error):
        text += f" ± {decimal(summary.standard_error, digits)}"
    marks = []
    if cell.versus is not None and cell.adjusted_p is not None and cell.adjusted_p < LEVEL:
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
    header = ["Method", device_heading(table), "from–to", "wall s", "UNet", "ControlNet", "GB", "jobs, min"]
    header += ["training steps", "training, min", "device"]
    body = []
    for row in table.rows:
        runs = [run for run in table.ok_runs if run["method"] == row.key]
        seconds = [run["device_seconds"] for run in runs if run.get("device_seconds")]
        spread = f"{min(seconds):.1f}–{max(seconds):.1f}" if seconds else ABSENT
        trained = training.get(row.key)
        line = [row.label, decimal(row.device_seconds, 1), spread, decimal(row.seconds, 1)]
        line += [number(row.unet_calls)]
        line += [number(row.controlnet_calls), gigabytes(row.peak_memory_bytes)]
        line += [decimal(wall_seconds.get(row.key, math.nan) / 60, 1)]
        line += [str(trained["steps"]), decimal(trained["seconds"] / 60, 1)] if trained else [ABSENT] * 2
        body.append([Text(cell) for cell in (*line, "; ".join(row.devices) or ABSENT)])
    notes = [
        f"{timing_note(table)} from–to: the range of the former. Both are measured inside the process, "
        "after a warm-up. jobs: wall time of the whole texturing jobs, loading included.",
        "UNet, ControlNet: evaluations per texture, a guidance pair as one; they do not depend on the "
        "device. GB: peak memory, the device's on a GPU, else that of the process, with the models.",
        "Training is paid once per model, not per mesh; its held-out measurements are not counted.",
        *programs_note(table),
    ]
    return Block("Cost", header, body, notes)


def _arrow(metric: MetricColumn) -> str:
    return f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"

"""The blocks of the results page: scores, comparisons, failures, own rewards, what it was made with.

Means are printed with as many decimals as their standard errors deserve (two figures of the error). This only
arranges the numbers of `report.table_build`; `report.blocks` writes them as Markdown, text,
LaTeX or HTML, `report.table_csv` as one unrounded row per method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from report.blocks import Block, Text, to_markdown
from report.statistics import (
    EXACT_SIGN_FLIP_LIMIT,
    RANDOM_SIGN_PATTERNS,
    SMALLEST_INTERVAL,
    PairedDifference,
    smallest_p,
)
from report.table_data import Cell, Metric, Row, Table

LEVEL = 0.05
TRAINED, BETTER, WORSE, TIED, ABSENT = "†", "▲", "▼", "≈", "–"


def markdown(table: Table) -> str:
    """The table with all its sections as Markdown."""
    return to_markdown(table_blocks(table))


def table_blocks(table: Table) -> list[Block]:
    """Every section of one table, in the order of the page."""
    sections = [scores_block(table), own_block(table), baselines_block(table), failures_block(table)]
    return [block for block in sections if block is not None] + [made_with_block(table)]


def scores_block(table: Table, title: str | None = None, main: bool = True) -> Block:
    """Methods against metrics. main: with costs and all notes; else with n and the notes of its own alone."""
    header = ["Method"]
    for i, metric in enumerate(table.metrics):
        trained = TRAINED if any(row.cells[i].trained for row in table.rows) else ""
        header.append(f"{metric.label}{trained} {'↑' if metric.higher_is_better else '↓'}")
    header += ["s / mesh", "calls", "GB"] if main else []
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
            line += [Text(decimal(row.seconds, 1)), Text(_calls(row)), Text(gigabytes(row.peak_memory_bytes))]
        failed = f" ({row.failed} failed)" if row.failed else ""
        body.append([*line, Text(f"{row.n}{failed}")])
    notes = reading_notes(table) if main else further_notes(table)
    return Block(title or table.spec.title, [*header, "n"], body, notes)


def shown_decimals(metric: Metric, errors: Sequence[float]) -> int:
    """Decimals of a column: two figures of its median standard error, at most the metric's own."""
    errors = [error for error in errors if error > 0]
    if not errors:
        return metric.decimals
    return min(metric.decimals, max(0, 1 - math.floor(math.log10(median(errors)))))


def _calls(row: Row) -> str:
    """UNet evaluations per texture, and those of the ControlNet where they are another number."""
    unet, controlnet = number(row.unet_calls), number(row.controlnet_calls)
    return unet if unet == controlnet else f"{unet} / {controlnet}"


def own_block(table: Table) -> Block | None:
    """Each tuned model under its own reward, on pairs that it was not trained on."""
    if not table.own_rewards:
        return None
    baseline = dict(table.spec.methods)[table.spec.baseline]
    header = ["Model", "Own reward", baseline, "Tuned", *_COMPARISON]
    body = []
    for own in table.own_rewards:
        digits = shown_decimals(own.metric, [own.baseline.standard_error, own.tuned.standard_error])
        means = [Text(decimal(own.baseline.mean, digits)), Text(decimal(own.tuned.mean, digits))]
        body.append(
            [Text(own.label), Text(_arrow(own.metric)), *means]
            + _comparison(own.metric, own.difference, own.adjusted_p)
        )
    notes = [
        "Each tuned model under the reward that it was trained on, over the evaluation's (mesh, prompt) "
        "pairs that were not in its training; both means are over the n pairs that both methods have.",
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


def reading_notes(table: Table) -> list[str]:
    """What a cell is, what the marks mean, and what was tested."""
    spec, cells = table.spec, [cell for row in table.rows for cell in row.cells]
    lines = [
        "Mean ± standard error over n samples; one sample is one (mesh, prompt) pair, with views and seeds "
        "averaged inside it. The best mean of a column is bold (¹ in plain text), the second underlined (²); "
        "they are ranked before rounding."
    ]
    lines += marks_notes(table)
    pairs, meshes = _pairs_and_meshes(table)
    if pairs > meshes > 0:
        lines.append(
            f"The {pairs} pairs are on {count(meshes, 'mesh', 'meshes')} and count as independent; pairs of "
            "one mesh may be more alike than that."
        )
    if any(cell.trained for cell in cells):
        lines.append(
            f"{TRAINED}: the row's model was trained on this metric, which is no independent evidence; such "
            "cells are not ranked."
        )
    lines += samples_notes(table)
    if table.failures:
        lines.append("Failed runs are not in the means; their reasons are listed below.")
    lines.append(
        "s / mesh: mean seconds per texture, without loading models. calls: UNet evaluations per texture, a "
        "guidance pair as one (UNet / ControlNet where they differ). GB: peak memory. More under Cost."
    )
    lines += programs_note(table)
    if spec.miniature:
        lines.append(
            "**The scorers are the miniature ones of this repository: these scores are not comparable with "
            "published ones, only with each other.**"
        )
    return lines


def further_notes(table: Table) -> list[str]:
    """What differs from the notes of the first table."""
    compared = sum(cell.versus is not None for row in table.rows for cell in row.cells)
    lines = [
        "Read as the first table"
        + (f"; Holm's correction is over the {compared} comparisons of this one." if compared else ".")
    ]
    return lines + _nothing_markable(table) + samples_notes(table)


def marks_notes(table: Table) -> list[str]:
    """Ties, and differences from the baseline."""
    cells = [cell for row in table.rows for cell in row.cells]
    compared = sum(cell.versus is not None for cell in cells)
    lines = []
    if any(cell.tied for cell in cells):
        lines.append(
            f"{TIED}: cannot be told apart from the best of its column: the 95 % bootstrap interval of the "
            "paired difference includes 0, without correction for the number of rows, or there are fewer "
            f"than {SMALLEST_INTERVAL} pairs. It is no claim of equality."
        )
    if compared:
        baseline = dict(table.spec.methods)[table.spec.baseline]
        lines.append(
            f"{BETTER} / {WORSE}: better / worse than {baseline}, paired over the samples that both have: "
            f"two-sided sign-flip test, p < {LEVEL} after Holm's correction over the {compared} comparisons "
            f"of this table. {_SIGN_FLIP}"
        )
    return lines + _nothing_markable(table)


def samples_notes(table: Table) -> list[str]:
    """Says so when rows or cells rest on different samples."""
    lines = []
    if len({row.n for row in table.rows if row.n}) > 1:
        lines.append(
            "n differs between rows: those means are over different samples, the comparisons are not."
        )
    if any(0 < cell.summary.n != row.n for row in table.rows for cell in row.cells):
        lines.append("(n = …): a cell with fewer samples, because the metric has no value for some meshes.")
    return lines


def _nothing_markable(table: Table) -> list[str]:
    versus = [cell.versus for row in table.rows for cell in row.cells if cell.versus is not None]
    floor = len(versus) * min((smallest_p(result.n) for result in versus), default=0.0)
    if floor < LEVEL:
        return []
    return [
        f"With {max(result.n for result in versus)} samples the smallest corrected p that can occur is "
        f"{show_p(min(1.0, floor))}: no cell could be marked {BETTER} or {WORSE}."
    ]


def _pairs_and_meshes(table: Table) -> tuple[int, int]:
    pairs = {(run["mesh"], run.get("prompt_id", run["prompt"])) for run in table.ok_runs}
    return len(pairs), len({mesh for mesh, _ in pairs})


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


_COMPARISON = ("Difference [95 %]", "Win rate [95 %]", "p", "Holm", "n")
_SIGN_FLIP = (
    f"It counts all sign patterns for n ≤ {EXACT_SIGN_FLIP_LIMIT}, else {RANDOM_SIGN_PATTERNS:,} random ones."
)


def _comparison(metric: Metric, difference: PairedDifference, adjusted_p: float) -> list[Text]:
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


def comparison_notes() -> list[str]:
    """What the columns of a paired comparison are."""
    return [
        "Difference: mean over the pairs, model minus opponent, with its BCa bootstrap interval, widened for "
        f"small n and left out below {SMALLEST_INTERVAL} pairs. Win rate: share of pairs in which the model "
        "is better, ties one half, with Wilson's interval.",
        f"p: two-sided sign-flip test. {_SIGN_FLIP} Holm: p after Holm's correction over the rows of this "
        "section.",
    ]


def wins(metric: Metric, difference: PairedDifference) -> tuple[float, float, float]:
    """Share of pairs in which the method is the better one, with its interval."""
    rate = (difference.win_rate, difference.win_low, difference.win_high)
    return rate if metric.higher_is_better else (1 - rate[0], 1 - rate[2], 1 - rate[1])


def _score(cell: Cell, metric: Metric, digits: int, n: int) -> Text:
    summary = cell.summary
    if summary.n == 0:
        return Text(ABSENT)
    text = decimal(summary.mean, digits)
    if not math.isnan(summary.standard_error):
        text += f" ± {decimal(summary.standard_error, digits)}"
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
    header = ["Method", "s / mesh", "from–to", "UNet", "ControlNet", "GB", "jobs, min"]
    header += ["training steps", "training, min", "device"]
    body = []
    for row in table.rows:
        seconds = [run["seconds"] for run in table.ok_runs if run["method"] == row.key and run.get("seconds")]
        spread = f"{min(seconds):.1f}–{max(seconds):.1f}" if seconds else ABSENT
        trained = training.get(row.key)
        line = [row.label, decimal(row.seconds, 1), spread, number(row.unet_calls)]
        line += [number(row.controlnet_calls), gigabytes(row.peak_memory_bytes)]
        line += [decimal(wall_seconds.get(row.key, math.nan) / 60, 1)]
        line += [str(trained["steps"]), decimal(trained["seconds"] / 60, 1)] if trained else [ABSENT] * 2
        body.append([Text(cell) for cell in (*line, "; ".join(row.devices) or ABSENT)])
    notes = [
        "s / mesh: mean seconds per texture and their range, measured inside the process, after a warm-up "
        "and without loading models; on a GPU after synchronising it. jobs: wall time of the whole texturing "
        "jobs, loading included.",
        "UNet, ControlNet: evaluations per texture, a guidance pair as one; they do not depend on the "
        "device. GB: peak memory, the device's on a GPU, else that of the process, with the models.",
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
    """Two figures, from 0.0001 on."""
    if p < 0.0001:
        return "< 0.0001"
    return f"{p:.{min(4, max(2, 1 - math.floor(math.log10(p))))}f}"

"""The results table as markdown and CSV: it only formats the numbers of `report.table_build`."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Sequence
from pathlib import Path

from report.statistics import EXACT_SIGN_FLIP_LIMIT, RANDOM_SIGN_PATTERNS, PairedDifference, smallest_p
from report.table_build import Cell, Metric, Row, Table, TableSpec, build_table

__all__ = ["Metric", "Table", "TableSpec", "build_table", "markdown", "write_csv", "write_markdown"]

LEVEL = 0.05
TRAINED, BETTER, WORSE, ABSENT = "†", "▲", "▼", "–"


def write_markdown(table: Table, path: str | Path) -> None:
    """Write the table, its caption, the failures and the own-reward section as markdown (atomically)."""
    _write_text(path, markdown(table))


def write_csv(table: Table, path: str | Path) -> None:
    """Write one row per method with every number behind the table, unrounded (atomically). Missing =
    empty.
    """
    out = io.StringIO()  # a model trained on several metrics has the first in the own_reward columns
    records = [_record(table, row) for row in table.rows]
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    _write_text(path, out.getvalue())


def markdown(table: Table) -> str:
    """The markdown text of the table."""
    header = ["Method"]
    for i, metric in enumerate(table.metrics):
        trained = TRAINED if any(row.cells[i].trained for row in table.rows) else ""
        header.append(f"{metric.label}{trained} {'↑' if metric.higher_is_better else '↓'}")
    header += ["seconds per mesh", "model calls (UNet / ControlNet)", "n"]
    body = []
    for row in table.rows:
        shown = zip(row.cells, table.metrics, strict=True)
        cells = [_show_cell(cell, metric, row.n) for cell, metric in shown]
        failed = f" ({row.failed} failed)" if row.failed else ""
        calls = f"{_number(row.unet_calls)} / {_number(row.controlnet_calls)}"
        body.append([row.label, *cells, _decimal(row.seconds, 1), calls, f"{row.n}{failed}"])
    parts = [f"# {table.spec.title}", _grid(header, body), "\n".join(f"- {note}" for note in notes(table))]
    if table.failures:
        lines = [f"- {label}, {asset}: {' '.join(reason.split())}" for label, asset, reason in table.failures]
        parts += ["## Failed runs", "\n".join(lines)]
    if table.own_rewards:
        parts += ["## Own held-out reward", _own_grid(table), _own_note()]
    return "\n\n".join(parts) + "\n"


def _own_grid(table: Table) -> str:
    baseline = dict(table.spec.methods)[table.spec.baseline]
    header = ["Model", "Own reward", baseline, "Tuned", "Difference", "95 % interval", "p", "p (Holm)", "n"]
    body = []
    for own in table.own_rewards:
        digits, d = own.metric.decimals, own.difference
        interval = ABSENT if math.isnan(d.low) else f"[{_signed(d.low, digits)}, {_signed(d.high, digits)}]"
        arrow = "↑" if own.metric.higher_is_better else "↓"
        body.append(
            [own.label, f"{own.metric.label} {arrow}", _decimal(own.baseline.mean, digits)]
            + [_decimal(own.tuned.mean, digits), _signed(d.mean, digits), interval]
            + [_show_p(d.p) if d.n else ABSENT, _show_p(own.adjusted_p) if d.n else ABSENT, str(d.n)]
        )
    return _grid(header, body)


def _own_note() -> str:
    return (
        "Each tuned model under the reward that it was trained on, over the evaluation's (mesh, prompt) "
        "pairs that were not in its training; both means are over the n pairs that both methods have. The "
        "interval is a BCa bootstrap of the mean paired difference, p a two-sided sign-flip test; p (Holm) "
        "is corrected over the rows of this section."
    )


def notes(table: Table) -> list[str]:
    """The caption: what a cell is, what the marks mean, and what everything was made with."""
    spec, rows = table.spec, table.rows
    labels = dict(spec.methods)
    versus = [cell.versus for row in rows for cell in row.cells if cell.versus is not None]
    lines = [
        "Mean ± standard error over n samples; one sample is one (mesh, prompt) pair, with views and seeds "
        "averaged inside it. The best mean of a column is bold."
    ]
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
                f"is {_show_p(min(1.0, floor))}: no cell could be marked."
            )
    if any(cell.trained for row in rows for cell in row.cells):
        lines.append(
            f"{TRAINED}: the row's model was trained on this metric, which is no independent evidence."
        )
    if len({row.n for row in rows if row.n}) > 1:
        lines.append(
            "n differs between rows: those means are over different samples, the comparisons are not."
        )
    if table.failures:
        lines.append("Failed runs are not in the means; their reasons are listed below.")
    lines.append("Seconds and model calls are per texture, inside the process, without loading models.")
    return lines + _made_with(table)


def _made_with(table: Table) -> list[str]:
    lines = []
    if table.ok_runs:
        meshes = sorted({run["mesh"] for run in table.ok_runs})
        seeds = sorted({run["seed"] for run in table.ok_runs})
        prompts = {run.get("prompt_id", run["prompt"]) for run in table.ok_runs}
        lines.append(
            f"{len(meshes)} meshes ({', '.join(meshes)}), {len(prompts)} prompts, {len(seeds)} seeds "
            f"({', '.join(map(str, seeds))})."
        )
    devices = sorted({str(run["device"]) for run in table.ok_runs if run.get("device")})
    if devices:
        apart = " Seconds of different devices are not comparable." if len(devices) > 1 else ""
        lines.append(f"Device: {'; '.join(devices)}.{apart}")
    lines += [f"{key[:1].upper()}{key[1:]}: {value}" for key, value in table.spec.caption.items()]
    if table.spec.miniature:
        lines.append(
            "**The scorers are the miniature ones of this repository: these scores are not comparable with "
            "published ones, only with each other.**"
        )
    return lines


def _record(table: Table, row: Row) -> dict:
    record = {"method": row.key, "label": row.label, "n": row.n, "failed": row.failed}
    for metric, cell in zip(table.metrics, row.cells, strict=True):
        name, versus = metric.key, cell.versus
        record[f"{name}_mean"] = _plain(cell.summary.mean)
        record[f"{name}_standard_error"] = _plain(cell.summary.standard_error)
        record[f"{name}_n"] = cell.summary.n
        record[f"{name}_difference"] = _plain(versus.mean) if versus else ""
        record[f"{name}_low"] = _plain(versus.low) if versus else ""
        record[f"{name}_high"] = _plain(versus.high) if versus else ""
        record[f"{name}_p"] = _plain(versus.p) if versus else ""
        record[f"{name}_p_holm"] = _plain(cell.adjusted_p) if versus else ""
        record[f"{name}_win_rate"] = _plain(_win_rate(metric, versus)) if versus else ""
        record[f"{name}_trained_on"] = int(cell.trained)
    for name in ("seconds", "peak_memory_bytes", "unet_calls", "controlnet_calls"):
        record[name] = _plain(getattr(row, name))
    own = next((own for own in table.own_rewards if own.key == row.key), None)
    record["own_reward"] = own.metric.key if own else ""
    record["own_reward_baseline"] = _plain(own.baseline.mean) if own else ""
    record["own_reward_tuned"] = _plain(own.tuned.mean) if own else ""
    for name, value in (("difference", "mean"), ("low", "low"), ("high", "high"), ("p", "p"), ("n", "n")):
        record[f"own_reward_{name}"] = _plain(getattr(own.difference, value)) if own else ""
    record["own_reward_p_holm"] = _plain(own.adjusted_p) if own else ""
    return record


def _win_rate(metric: Metric, versus: PairedDifference) -> float:
    """Share of pairs in which the method is the better one."""
    return versus.win_rate if metric.higher_is_better else 1.0 - versus.win_rate


def _show_cell(cell: Cell, metric: Metric, n: int) -> str:
    summary = cell.summary
    if summary.n == 0:
        return ABSENT
    text = _decimal(summary.mean, metric.decimals)
    if not math.isnan(summary.standard_error):
        text += f" ± {_decimal(summary.standard_error, metric.decimals)}"
    if cell.best:
        text = f"**{text}**"
    if cell.adjusted_p is not None and cell.adjusted_p < LEVEL:
        text += f" {BETTER if (cell.versus.mean > 0) == metric.higher_is_better else WORSE}"
    if cell.trained:
        text += f" {TRAINED}"
    return text if summary.n == n else f"{text} (n = {summary.n})"


def _grid(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in [header, *body]]
    lines = ["| " + " | ".join(line) + " |" for line in escaped]
    return "\n".join([lines[0], "|---" + "|---:" * (len(header) - 1) + "|", *lines[1:]])


def _decimal(value: float, digits: int) -> str:
    return ABSENT if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float, digits: int) -> str:
    return ABSENT if math.isnan(value) else f"{value:+.{digits}f}"


def _number(value: float) -> str:
    """A mean count: without decimals when whole."""
    return ABSENT if math.isnan(value) else f"{value:.1f}".removesuffix(".0")


def _show_p(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _plain(value: float | None) -> float | str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


def _write_text(path: str | Path, text: str) -> None:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)

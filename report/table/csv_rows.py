"""The results tables as one CSV row per method, with every number behind them, unrounded."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence

from report.escaping import csv_cell
from report.table.data import MethodRow, Table
from report.table.results_page import wins


def to_csv(tables: Sequence[Table]) -> str:
    """One row per method over the metrics of all tables (same methods); missing = empty.

    A model trained on several metrics has the first in the own_reward columns.
    """
    records = []
    for i, row in enumerate(tables[0].rows):
        record = {"method": row.key, "label": csv_cell(row.label), "n": row.n, "failed": row.failed}
        for table in tables:
            record |= _metrics(table, table.rows[i])
        for name in ("device_seconds", "seconds", "peak_memory_bytes", "unet_calls", "controlnet_calls"):
            record[name] = _plain(getattr(row, name))
        record["clock"] = "; ".join(row.clocks)
        record["device"] = csv_cell("; ".join(row.devices))
        records.append(record | _own_reward(tables[0], row))
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _metrics(table: Table, row: MethodRow) -> dict:
    record = {}
    for metric, cell in zip(table.metrics, row.cells, strict=True):
        name, versus = metric.key, cell.versus
        record[f"{name}_mean"] = _plain(cell.summary.mean)
        record[f"{name}_standard_error"] = _plain(cell.summary.standard_error)
        record[f"{name}_n"] = cell.summary.n
        for key, value in (("difference", "mean"), ("low", "low"), ("high", "high"), ("p", "p")):
            record[f"{name}_{key}"] = _plain(getattr(versus, value)) if versus else ""
        record[f"{name}_p_holm"] = _plain(cell.adjusted_p) if versus else ""
        rates = wins(metric, versus) if versus else ("", "", "")
        for key, value in zip(("win_rate", "win_low", "win_high"), rates, strict=True):
            record[f"{name}_{key}"] = _plain(value)
        record[f"{name}_trained_on"] = int(cell.trained)
    return record


def _own_reward(table: Table, row: MethodRow) -> dict:
    own = next((own for own in table.own_rewards if own.key == row.key), None)
    record = {
        "own_reward": own.metric.key if own else "",
        "own_reward_baseline": _plain(own.baseline.mean) if own else "",
        "own_reward_tuned": _plain(own.tuned.mean) if own else "",
    }
    for name, value in (("difference", "mean"), ("low", "low"), ("high", "high"), ("p", "p"), ("n", "n")):
        record[f"own_reward_{name}"] = _plain(getattr(own.difference, value)) if own else ""
    record["own_reward_p_holm"] = _plain(own.adjusted_p) if own else ""
    return record


def _plain(value: float | str | None) -> float | str:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value

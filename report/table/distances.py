"""Distances of the methods' renders to reference pictures, as a table."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from report.table.blocks import Block, Text
from report.table.numbers import ABSENT


def distance_block(path: Path, methods: dict[str, str]) -> Block:
    """A row per method of the file that the step `distances` wrote."""
    with open(path, newline="", encoding="utf-8") as stream:
        found = {row["method"]: row for row in csv.DictReader(stream, delimiter="\t")}
    values = {method: float(row["cmmd"]) for method, row in found.items() if method in methods}
    least = min((value for value in values.values() if not math.isnan(value)), default=math.nan)
    rows = []
    for method, label in methods.items():
        value = values.get(method, math.nan)
        shown = ABSENT if math.isnan(value) else f"{value:.3f}"
        rows.append([Text(label), Text(shown, best=value == least), Text(found[method]["renders"])])
    first = next(iter(found.values()))
    notes = [
        f"CMMD of all scored renders to {first['references']} reference pictures, by the CLIP "
        f"{first['clip']}: squared maximum mean discrepancy of embeddings, Gaussian kernel of width 10, "
        "times 1000. It compares sets, so there is no sample for each prompt and no test; values of other "
        "references, cameras, backgrounds or CLIPs cannot be compared with these."
    ]
    return Block("Distance to reference pictures", ["Method", "CMMD ↓", "renders"], rows, notes)

"""Build the results tables from scores, quality measures and run records, in every format."""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from report.run_records import quality_columns, read_quality, read_runs, read_scores, read_training
from report.table.blocks import Block, Text, to_html, to_latex, to_markdown, to_text
from report.table.build import build_table
from report.table.csv_rows import to_csv
from report.table.data import Table, TableSpec
from report.table.distances import distance_block
from report.table.mesh_notes import meshes_block
from report.table.results_page import (
    baselines_block,
    cost_block,
    failures_block,
    made_with_block,
    own_blocks,
    scores_block,
)
from texgen.errors import DamagedFileError
from texgen.storage.files import read_bytes
from texgen.storage.result_records import checked_scores
from workflow import provenance
from workflow.config.sheets import ConfigError
from workflow.runtime.step_errors import run_step


def table_spec(settings: dict[str, Any]) -> TableSpec:
    """What to show, from the settings file of the job; its metrics are those of all tables."""
    evaluation = settings["evaluation"]
    seen = frozenset(tuple(pair) for pair in settings["training_pairs"])
    evaluated = {(asset["mesh"], asset["prompt_id"]) for asset in settings["assets"]}
    held_out = "prompts and meshes that no model was trained on"
    if settings["models"] and evaluated & seen:
        # A published protocol that trains on what it evaluates: said in every table, and nothing is left out.
        held_out = (
            f"NOT HELD OUT: {len(evaluated & seen)} of {len(evaluated)} evaluated (mesh, prompt) pairs are "
            "those that the tuned models were trained on, as in the published protocol"
        )
        seen = frozenset()
    backgrounds = ", ".join(evaluation["backgrounds"])
    sources = "; ".join(
        f"{mesh}: {facts['source'].removeprefix('https://')} ({facts['licence']})"
        for mesh, facts in settings["meshes"].items()
    )
    caption = {
        "models": f"backbone {settings['backbone']}",
        "mesh sources": sources,
        "protocol": f"cameras '{evaluation['rig']}', {evaluation['size']} pixel renders, "
        f"backgrounds {backgrounds}; {held_out}",
    }
    forms: dict[str, list[str]] = {}
    for metric in settings["metrics"].values():
        if metric.get("form"):
            forms.setdefault(metric["form"], []).append(metric["label"])
    if forms:
        each = "; ".join(f"{form}: {', '.join(labels)}" for form, labels in forms.items())
        caption["forms of the geometric rewards"] = f"{each} (docs/rewards.md)"
    if settings["note"]:
        caption["note"] = settings["note"]
    return TableSpec(
        methods=list(settings["methods"].items()),
        metrics=[
            (name, metric["label"], metric["higher_is_better"], metric["decimals"])
            for name, metric in settings["metrics"].items()
        ],
        baseline=settings["reference"],
        trained_on=settings["trained_on"],
        seen_pairs=dict.fromkeys(settings["trained_on"], seen),
        caption=caption,
        miniature=settings["miniature"],
        title=settings["title"],
    )


def build_tables(
    settings: dict[str, Any],
    scores: pd.DataFrame,
    quality: tuple[pd.DataFrame, list[tuple[str, str, bool, int]]] | None,
    runs: list[dict[str, Any]],
) -> tuple[Table, Table | None]:
    """The table of preference metrics, and that of geometry metrics with the quality measures.

    quality: rows of these measures, and their columns (`report.run_records.quality_columns`).
    Each corrects its own comparisons. Without preference metrics (or without the others) there is one table.
    """
    spec = table_spec(settings)
    geometric = {name for name, metric in settings["metrics"].items() if metric["group"] == "geometry"}
    main = [metric for metric in spec.metrics if metric[0] not in geometric] or list(spec.metrics)
    second = [metric for metric in spec.metrics if metric not in main]
    if quality is not None:
        known = set(settings["metrics"])
        measured, columns = quality
        second += [metric for metric in columns if metric[0] not in known]
        scores = pd.concat([scores, measured[~measured["metric"].isin(known)]], ignore_index=True)
    first = build_table(scores, runs, replace(spec, metrics=main, reward_metrics=list(spec.metrics)))
    if not second:
        return first, None
    return first, build_table(scores, runs, replace(spec, metrics=second, miniature=False))


def published_rows(path: str) -> list[dict[str, str]]:
    """The rows of the sheet of published numbers. Raises ConfigError."""
    columns = ("label", "metric", "mean", "plus_minus")
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text.") from None
    rows = list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))
    for number, row in enumerate(rows, start=2):
        missing = [column for column in columns if row.get(column) is None]
        if missing:
            raise ConfigError(
                f"{path}, row {number}: has no {missing[0]}; the columns are {', '.join(columns)}, "
                "separated by tabs."
            )
    if not rows:
        raise ConfigError(f"{path}: has no rows; its columns are {', '.join(columns)}.")
    return rows


def published_block(path: str, metrics: dict[str, dict[str, Any]]) -> Block:
    """The published numbers, as they were printed, under the labels of our own metrics (by their keys)."""
    rows = published_rows(path)
    ours = {name: f"{m['label']} {'↑' if m['higher_is_better'] else '↓'}" for name, m in metrics.items()}
    columns = list(dict.fromkeys(row["metric"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    cells = {
        (row["label"], row["metric"]): row["mean"] + (f" ± {row['plus_minus']}" if row["plus_minus"] else "")
        for row in rows
    }
    names = {"seconds": "s / mesh"} | ours
    header = ["Method", *(names.get(column, column) for column in columns)]
    return Block(
        "Published numbers, for orientation",
        header,
        [[Text(label), *(Text(cells.get((label, column), "–")) for column in columns)] for label in labels],
        [
            "As printed with the paper (arXiv 2506.18331). Its prompts, meshes, seeds, views, checkpoints "
            "and the meaning of its ± are not known: none of these numbers is reproduced here, and a "
            "difference to the table above says nothing about either."
        ],
    )


def wall_seconds(results: Path, methods: list[str]) -> dict[str, float]:
    """Wall time of the texturing jobs of each method, from the workflow's own measurement where it is."""
    found = {}
    for method in methods:
        seconds = 0.0
        for path in (results / "benchmarks" / "texture").glob(f"{method}.*.tsv"):
            seconds += benchmark_seconds(path)
        if seconds:
            found[method] = seconds
    return found


def benchmark_seconds(path: Path) -> float:
    """Wall time in a file that snakemake measured a job into, which tells it twice: 12.3 and 0:00:12."""
    try:
        (row,) = csv.DictReader(read_bytes(path).decode().splitlines(), delimiter="\t")
        seconds = float(row["s"])
        *days, clock = row["h:m:s"].split(", ")
        hours, minutes, rest = map(int, clock.split(":"))
        total = sum(int(day.split()[0]) for day in days) * 86400 + hours * 3600 + minutes * 60 + rest
        if abs(seconds - total) > 1:
            raise ValueError("its two times differ")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(
            f"{path} is not a complete measurement of snakemake ({error}); delete it to leave "
            "out the wall time."
        ) from None
    return seconds


def training_cost(results: Path, settings: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Steps and seconds of the training behind each tuned method, from its history where it is."""
    found = {}
    for method, model in settings["models"].items():
        rows = read_training(results / "models" / model["model"])
        if rows:
            seconds = sum(row.get("seconds") or 0.0 for row in rows)
            found[method] = {"steps": max(row["step"] for row in rows), "seconds": seconds}
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the job")
    parser.add_argument("--results", type=Path, required=True, help="folder with scores/ and textures/")
    parser.add_argument("--quality", type=Path, help="quality measures, for the second table")
    parser.add_argument("--markdown", type=Path, required=True, help="tables to write")
    parser.add_argument("--csv", type=Path, required=True, help="numbers to write")
    parser.add_argument("--text", type=Path, help="tables to write for terminals")
    parser.add_argument("--latex", type=Path, help="tables to write, for booktabs")
    parser.add_argument("--html", type=Path, help="tables to write as a page")
    options = parser.parse_args(arguments)
    settings = provenance.read_settings(options.settings)
    assets = {asset["asset"] for asset in settings["assets"]}
    methods = list(settings["methods"])
    scores = read_scores(options.results / "scores", settings["metrics"], methods, assets)
    quality = None
    if options.quality is not None:
        quality = read_quality(options.quality, methods, assets), quality_columns(options.quality)
    runs = read_runs(options.results / "textures", methods, assets, complete=True)
    first, second = build_tables(settings, scores, quality, runs)

    blocks = [scores_block(first)]
    if second is not None:
        blocks.append(scores_block(second, "Geometry and texture quality", main=False))
    if settings["published"] is not None:
        blocks.insert(1, published_block(settings["published"], settings["metrics"]))
    distances = options.results / "distances.tsv"
    if settings["evaluation"].get("references") is not None and distances.is_file():
        checked_scores(distances)
        blocks.append(distance_block(distances, settings["methods"]))
    blocks += [*own_blocks(first), baselines_block(first)]
    if second is not None:
        title = "Against the best other method: geometry and texture quality"
        blocks.append(baselines_block(second, title, main=blocks[-1] is None))
    cost = cost_block(first, wall_seconds(options.results, methods), training_cost(options.results, settings))
    meshes = meshes_block(options.results / "meshes", settings["meshes"])
    blocks += [cost, failures_block(first), meshes, made_with_block(first)]
    blocks = [block for block in blocks if block is not None]

    provenance.write_text(options.csv, to_csv([table for table in (first, second) if table is not None]))
    if options.text is not None:
        provenance.write_text(options.text, to_text(blocks))
    if options.latex is not None:
        provenance.write_text(options.latex, to_latex(blocks))
    if options.html is not None:
        provenance.write_text(options.html, to_html(blocks, settings["title"]))
    provenance.write_text(options.markdown, to_markdown(blocks))
    print(f"{options.markdown}: {len(first.rows)} methods, {len(settings['metrics'])} metrics")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

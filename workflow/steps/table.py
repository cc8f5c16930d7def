"""Build results/table.md and results/table.csv from scores and run records."""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import Any

from report.read import read_runs, read_scores
from report.table import TableSpec, build_table, markdown, write_csv
from workflow import provenance


def table_spec(settings: dict[str, Any]) -> TableSpec:
    """What to show, from the settings file of the job."""
    evaluation = settings["evaluation"]
    seen = frozenset(tuple(pair) for pair in settings["training_pairs"])
    backgrounds = ", ".join(evaluation["backgrounds"])
    sources = "; ".join(
        f"{mesh}: {facts['source'].removeprefix('https://')} ({facts['licence']})"
        for mesh, facts in settings["meshes"].items()
    )
    caption = {
        "models": f"backbone {settings['backbone']}",
        "mesh sources": sources,
        "protocol": f"cameras '{evaluation['rig']}', {evaluation['size']} pixel renders, "
        f"backgrounds {backgrounds}; prompts and meshes that no model was trained on",
    }
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


def published_section(path: str) -> str:
    """The published numbers as a markdown section, as they were printed."""
    with open(path, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    labels = list(dict.fromkeys(row["label"] for row in rows))
    cells = {
        (row["label"], row["metric"]): row["mean"] + (f" ± {row['plus_minus']}" if row["plus_minus"] else "")
        for row in rows
    }
    lines = [
        "## Published numbers, for orientation",
        "",
        "As printed with the paper (arXiv 2506.18331); protocol, prompts and the meaning of ± are not known, "
        "and nothing of it is reproduced here.",
        "",
        "| Method | " + " | ".join(metrics) + " |",
        "|---" + "|---:" * len(metrics) + "|",
    ]
    for label in labels:
        lines.append(
            f"| {label} | " + " | ".join(cells.get((label, metric), "–") for metric in metrics) + " |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the job")
    parser.add_argument("--results", type=Path, required=True, help="folder with scores/ and textures/")
    parser.add_argument("--markdown", type=Path, required=True, help="table to write")
    parser.add_argument("--csv", type=Path, required=True, help="numbers to write")
    options = parser.parse_args(arguments)
    settings = provenance.read_json(options.settings)
    assets = {asset["asset"] for asset in settings["assets"]}
    scores = read_scores(options.results / "scores", settings["metrics"], settings["methods"], assets)
    runs = read_runs(options.results / "textures", settings["methods"], assets)
    table = build_table(scores, runs, table_spec(settings))
    text = markdown(table)
    if settings["published"] is not None:
        text += "\n" + published_section(settings["published"])
    write_csv(table, options.csv)
    provenance.write_text(options.markdown, text)
    print(f"{options.markdown}: {len(table.rows)} methods, {len(table.metrics)} metrics")
    return 0


if __name__ == "__main__":
    sys.exit(main())

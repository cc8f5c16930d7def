"""`texreward weights`: what published weights a configuration needs, what is here, and their download."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from texgen import shipped
from texgen.storage.plain_text import terminal
from workflow.config.configuration import load_config


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser("weights", help="published weights: what is here, what is missing, download")
    actions = parser.add_subparsers(dest="action", required=True)
    for action, text, run in (
        ("check", "list weights with size, licence and hash; exit status 1 when some are missing", check),
        ("fetch", "download what is missing at its pinned revision and verify it", download),
    ):
        one = actions.add_parser(action, help=text)
        one.add_argument(
            "--config",
            default=shipped.configuration("paper"),
            help="configuration (default: %(default)s)",
        )
        one.add_argument("--json", action="store_true", help="print records as JSON")
        one.set_defaults(run=run)


def check(options: argparse.Namespace) -> int:
    """Print what is present; status 1 when something is missing or not what it should be."""
    from workflow.weights.published import rows

    found = rows(load_config(options.config))
    print(json.dumps(found, indent=2) if options.json else table(found))
    return int(any(not row["present"] or row["hash"] == "WRONG" for row in found))


def download(options: argparse.Namespace) -> int:
    """Download and verify; then print what is present."""
    from rewards.checkpoints.store import WeightsMissing
    from workflow.weights.published import require

    try:
        require(load_config(options.config), lambda text: print(text, file=sys.stderr, flush=True))
    except WeightsMissing as error:
        print(terminal(error), file=sys.stderr)
        return 2
    return check(options)


def table(found: list[dict[str, Any]]) -> str:
    """Aligned text, one line per file."""
    from workflow.weights.planned_downloads import size_text

    if not found:
        return "This configuration needs no weights from a network."
    lines = [("state", "source", "file", "size", "sha256", "hash", "licence", "used by")]
    for row in found:
        lines.append(
            (
                "present" if row["present"] else "missing",
                row["source"] + (f"@{row['revision'][:8]}" if row["revision"] else ""),
                row["file"],
                size_text(row["bytes"]),
                (row["sha256"] or "-")[:12],
                row["hash"],
                row["licence"],
                ", ".join(row["used_by"]),
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )

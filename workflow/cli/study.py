"""`texreward study`: blinded pairwise booklets from a results folder, and the summary of their answers."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from texgen import shipped
from workflow.config.configuration import load_config
from workflow.config.sheets import ConfigError
from workflow.jobs.plan import Plan
from workflow.provenance import read_json, write_json, write_text


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    study = commands.add_parser("study", help="a blinded pairwise user study of a finished run")
    parts = study.add_subparsers(dest="part", required=True)
    make = parts.add_parser("make", help="write booklets (pages for participants) and their key")
    make.add_argument(
        "--config", default=shipped.project_configuration(), help="configuration of the finished run"
    )
    make.add_argument("--results", help="results folder (default: the configuration's)")
    make.add_argument("--out", required=True, help="folder for booklets and key")
    make.add_argument("--booklets", type=int, default=8, help="different booklets (default: %(default)s)")
    make.add_argument("--trials", type=int, default=24, help="pairs per booklet (default: %(default)s)")
    make.add_argument("--seed", type=int, default=0, help="of the choice and order of pairs")
    make.set_defaults(run=make_study)
    collect = parts.add_parser("collect", help="summarise saved answers by a Bradley-Terry model")
    collect.add_argument("answers", nargs="+", metavar="ANSWERS", help="files that participants saved")
    collect.add_argument("--key", required=True, help="key.json of the study")
    collect.add_argument("--out", help="also write the summary as this Markdown file")
    collect.set_defaults(run=collect_study)


def make_study(options: argparse.Namespace) -> int:
    """Write booklet-<k>.html and key.json."""
    if options.booklets < 1 or options.trials < 1:
        raise ConfigError("--booklets and --trials must be at least 1.")
    config = load_config(options.config)
    folder = Path(options.results or config.results)
    from report.results import Results
    from report.study.booklets import booklet_page, comparable_pairs, key_record, plan_trials

    results = Results(Plan(config).table_settings(), folder)
    pairs = comparable_pairs(results)
    if not pairs:
        raise ConfigError(f"{folder}: no asset was textured by two methods; run the workflow first.")
    booklets = plan_trials(pairs, options.booklets, options.trials, options.seed)
    out = Path(options.out)
    key = key_record(results, booklets)
    if (out / "key.json").exists() and read_json(out / "key.json") != key:
        raise ConfigError(
            f"{out} holds another study, and its answers need its key; choose another --out or move it away."
        )
    strips: dict = {}
    turntables: dict = {}
    for number, trials in enumerate(booklets, start=1):
        page = booklet_page(results, trials, number, strips, turntables)
        write_text(out / f"booklet-{number}.html", page)
    write_json(out / "key.json", key)
    repeats = sum(bool(trial.repeat_of) for trial in booklets[0])
    print(
        f"{out}: {len(booklets)} booklets, each with {len(booklets[0]) - repeats} of {len(pairs)} pairs and "
        f"{repeats} of them again with sides swapped. Keep key.json away from participants."
    )
    return 0


def collect_study(options: argparse.Namespace) -> int:
    """Print, and with --out write, strengths of the methods with intervals."""
    from report.study.booklets import read_everyone, read_key, summary_block
    from report.table.blocks import to_markdown

    try:
        key = read_key(options.key)
        text = to_markdown([summary_block(key, read_everyone(options.answers, key))])
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from None
    if options.out:
        write_text(options.out, text)
    print(text)
    return 0

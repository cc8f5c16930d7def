"""`texreward plan`: what a configuration will cost, before anything runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from texgen import shipped
from workflow.cli.checks import with_sheets
from workflow.config.configuration import load_config


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser("plan", help="jobs, evaluations, hours, disk and downloads of a run")
    parser.add_argument(
        "--config", default=shipped.configuration("paper"), help="configuration (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        help="device seconds of one evaluation at 512 pixels on your machine, whether painting or training",
    )
    parser.add_argument(
        "--measured",
        type=Path,
        help="where to take them from: the result of make gpu-check, or a results folder (default: the "
        "configuration's, where it has textures)",
    )
    parser.set_defaults(run=show)


def show(options: argparse.Namespace) -> int:
    """Print the estimate, beside what the same methods have taken where they have run."""
    from workflow.jobs.estimate import Rates, costs, measured_rates, spent_seconds
    from workflow.jobs.plan import Plan

    plan = Plan(with_sheets(load_config(options.config)))
    results = Path(plan.config.results)
    if options.seconds is None:
        place = options.measured or results
        rates, source = measured_rates(place, plan.config.scoring.precision), f"measured, {place}"
    else:
        rates, source = Rates(options.seconds, {}), "as given"
    found = costs(plan)
    print(f"{plan.config.title}: {len(plan.meshes)} meshes, {len(plan.assets)} assets per method")
    print(f"{'':34}{'jobs':>5}{'evaluations':>14}{'hours':>8}{'taken, h':>10}{'disk':>10}")
    for cost in found:
        taken = spent_seconds(results, cost.name.removeprefix("textures "))
        print(
            f"{cost.name:34}{cost.jobs:5}{_evaluations(cost):>14}{_hours(cost, rates):>8}"
            f"{'-' if taken is None else f'{taken / 3600:.2f}':>10}{cost.disk / 1e9:8.1f} GB"
        )
    total = sum(cost.evaluations for cost in found)
    jobs, disk = sum(cost.jobs for cost in found) + len(plan.meshes), sum(cost.disk for cost in found)
    hours = "-" if rates is None else f"{sum(rates.hours(cost) or 0.0 for cost in found):.2f}"
    print(f"{'in all':34}{jobs:5}{total:14,.0f}{hours:>8}{'':10}{disk / 1e9:8.1f} GB")
    if rates is None:
        print(
            "Hours need the seconds of one evaluation on your machine: run `make gpu-check` and give "
            "--measured results/gpu-check.json, or --seconds."
        )
    else:
        passes = "".join(
            f", {1000 * each:.4g} ms a training pass of {name}" for name, each in rates.training.items()
        )
        print(f"At {1000 * rates.painting:.4g} ms an evaluation{passes} ({source}); at most.")
        if rates.image is None:
            print("Scores are not in the hours: how long an image takes was not measured.")
        else:
            print(f"Scores at {1 / rates.image:.4g} images/s of CLIP ViT-L/14; larger networks take longer.")
        if not rates.training and any(cost.passes for cost in found):
            print("No training was measured: its passes, with a backward pass, take longer than this says.")
    for line in downloads(plan):
        print(line)
    return 0


def _evaluations(cost: Any) -> str:
    return "-" if cost.images else f"{cost.evaluations:,.0f}"


def _hours(cost: Any, rates: Any) -> str:
    hours = None if rates is None else rates.hours(cost)
    return "-" if hours is None else f"{hours:.2f}"


def downloads(plan: Any) -> list[str]:
    """What is to be downloaded, with the sizes that are known without asking a network."""
    from workflow.weights.planned_downloads import size_text
    from workflow.weights.published import needs

    absent = [need for need in needs(plan.config) if need.path() is None]
    if not absent:
        return ["Nothing is to be downloaded."]
    lines = [
        f"to download: {need.name}, {size_text(need.want.size if need.want else None)}" for need in absent
    ]
    return [
        *lines,
        "Sizes shown as - are asked, and all are summed, before `texreward weights fetch` begins.",
    ]

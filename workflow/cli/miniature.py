"""`texreward miniature evaluate`: what the shipped small models can do on unseen meshes."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from texgen.miniature.evaluation_options import add_arguments


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser("miniature", help="the small models that the repository ships")
    actions = parser.add_subparsers(dest="action", required=True)
    one = actions.add_parser("evaluate", help="judge them on unseen meshes and print a table")
    add_arguments(one)
    one.set_defaults(run=evaluate)


def evaluate(options: argparse.Namespace) -> int:
    """Evaluate; status 2 and one sentence where the models are not there."""
    from texgen.miniature.evaluate import run

    try:
        return run(options)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2

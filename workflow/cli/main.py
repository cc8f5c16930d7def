"""The command `texreward`: texture, score, weights, status and more, without starting the workflow."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from texgen import shipped
from texgen.storage.plain_text import terminal
from workflow.cli import history as cli_history
from workflow.cli import init as cli_init
from workflow.cli import miniature as cli_miniature
from workflow.cli import plan as cli_plan
from workflow.cli import prompts as cli_prompts
from workflow.cli import push as cli_push
from workflow.cli import score as cli_score
from workflow.cli import study as cli_study
from workflow.cli import texture_options as cli_texture
from workflow.cli import weights as cli_weights
from workflow.cli.studio import command as cli_studio
from workflow.cli.terminal import quieten_libraries, say
from workflow.config.configuration import load_config
from workflow.provenance import git_revision
from workflow.runtime.early_end import end_as_usual
from workflow.runtime.step_errors import plain_sentence


def status(options: argparse.Namespace) -> int:
    """Print what a configuration's results folder holds."""
    from workflow.jobs.plan import Plan
    from workflow.jobs.status import report, stages

    config = Path(options.config)
    if not config.is_file() and not shipped.is_installed() and (shipped.root() / config).is_file():
        os.chdir(shipped.root())  # called from elsewhere: the sheets and the results are the project's
    found = stages(Plan(load_config(options.config)))
    if options.json:
        print(json.dumps([asdict(stage) for stage in found], indent=2))
    else:
        print(terminal(report(found)))
    return 0


def installed_version() -> str:
    """Version of the installed package, with the commit of a checkout."""
    try:
        number = version("texreward")
    except PackageNotFoundError:
        number = "(not installed)"
    revision = git_revision()
    return number if revision is None else f"{number}, commit {revision}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="texreward", description=str(__doc__).splitlines()[0])
    parser.add_argument("--version", action="version", version=f"texreward {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    cli_texture.add_parser(commands)
    tell = commands.add_parser("status", help="what is done, missing and failed in a results folder")
    tell.add_argument("--config", default="config/config.yaml", help="configuration (default: %(default)s)")
    tell.add_argument("--json", action="store_true", help="print it as JSON")
    tell.set_defaults(run=status)
    cli_init.add_parser(commands)
    cli_history.add_parser(commands)
    cli_score.add_parser(commands)
    cli_weights.add_parser(commands)
    cli_plan.add_parser(commands)
    cli_studio.add_parser(commands)
    cli_study.add_parser(commands)
    cli_miniature.add_parser(commands)
    cli_prompts.add_parser(commands)
    cli_push.add_parser(commands)
    return parser


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of a command line; what is wrong with them ends the program, as argparse does."""
    parser = build_parser()
    options, rest = parser.parse_known_args(arguments)
    # argparse takes several words for one argument only where no option stands between them.
    words = options.command == "texture" and not any(each.startswith("-") for each in rest)
    if rest and not words:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.inputs += rest
    return options


def main(arguments: list[str] | None = None) -> int:
    """Entry point; a mistake of the user ends in one sentence and status 2."""
    end_as_usual()
    options = parse(arguments)
    quieten_libraries()
    try:
        return options.run(options)
    except KeyboardInterrupt:
        say("stopped.")
        return 130
    except Exception as error:
        sentence = plain_sentence(error)
        if sentence is None:
            raise
        say(terminal(sentence))
        return 2


if __name__ == "__main__":
    sys.exit(main())

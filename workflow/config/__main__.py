"""`python -m workflow.config`: check configurations, list their fields, write their schema."""

from __future__ import annotations

import argparse
import sys

from workflow.config.configuration import load_config, load_sheets
from workflow.config.describe import SCHEMA_PATH, defaults_text, schema_text
from workflow.config.sheets import ConfigError


def _check(paths: list[str]) -> int:
    failed = False
    for path in paths:
        try:
            config = load_config(path)
            meshes, prompts = load_sheets(config)
        except ConfigError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        print(
            f"{path}: valid; {len(config.methods)} methods, {len(config.models)} tuned models, "
            f"{len(config.metrics)} metrics, {len(meshes)} meshes, {len(prompts)} prompts."
        )
    return int(failed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m workflow.config",
        description="Check configurations, list their fields, write their schema.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check configuration files and the sheets they name")
    check.add_argument("files", nargs="+")
    schema = commands.add_parser("schema", help="write the JSON schema")
    schema.add_argument("--check", action="store_true", help="only compare; exit 1 when it differs")
    commands.add_parser("defaults", help="print every field with its default and meaning")
    options = parser.parse_args(arguments)
    if options.command == "check":
        return _check(options.files)
    if options.command == "defaults":
        print(defaults_text())
        return 0
    if options.check:
        same = SCHEMA_PATH.is_file() and SCHEMA_PATH.read_text(encoding="utf-8") == schema_text()
        if not same:
            print(f"{SCHEMA_PATH.name} is stale; run `python -m workflow.config schema`.", file=sys.stderr)
        return int(not same)
    SCHEMA_PATH.parent.mkdir(exist_ok=True)
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

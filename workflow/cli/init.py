"""`texreward init`: a folder of one's own in which the workflow runs, with its configuration and sheets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from texgen import shipped
from texgen.storage.files import write_text
from workflow.cli.checks import UsageError
from workflow.config.configuration import Config, load_config
from workflow.config.describe import schema_text

SNAKEFILE = """\
# Made by `texreward init`. The workflow is a module of this one, so rules of your own can stand below.
#
#   snakemake --cores all        everything that config/config.yaml asks for, in results/
from texreward import SNAKEFILE

if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


module texreward:
    snakefile:
        SNAKEFILE
    config:
        config


use rule * from texreward


# A module's handlers do not run by themselves; these lock the results folder, look for missing weights and
# write what the jobs read.
onstart:
    texreward.onstart()


onsuccess:
    texreward.onsuccess()


onerror:
    texreward.onerror()
"""
SCHEMA = f"config/{shipped.PROJECT_SCHEMA}"
PROFILES = ("profiles/default/profile.yaml", "profiles/slurm/profile.yaml")


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser = commands.add_parser("init", help="write a project folder: Snakefile, configuration, sheets")
    parser.add_argument("folder", help="folder to write to; nothing that is there is changed")
    parser.add_argument(
        "--config",
        default="config",
        choices=shipped_configurations(),
        help="shipped configuration to begin with (default: %(default)s)",
    )
    parser.set_defaults(run=init)


def shipped_configurations() -> list[str]:
    """Names of the configurations that come with the code."""
    return sorted(path.stem for path in (shipped.root() / "config").glob("*.yaml"))


def init(options: argparse.Namespace) -> int:
    """Write the folder and say what to do next. Raises UsageError, with nothing written, where it cannot."""
    folder = Path(options.folder)
    files = project_files(options.config)
    try:
        place = next((each for each in (folder, *folder.absolute().parents) if each.exists()), folder)
        present = next((name for name in files if (folder / name).exists()), None)
    except OSError as error:
        raise UsageError(f"{options.folder[:200]!r} ({error.strerror}); choose another folder.") from None
    if not place.is_dir():
        raise UsageError(f"{place} is a file; choose another folder.")
    if present is not None:
        raise UsageError(f"{folder / present} is there already; choose another folder, or move it away.")
    for name, text in files.items():
        write_text(folder / name, text)
    print(f"{folder}: {', '.join(files)}")
    print(f"Change the sheets and config/config.yaml, then: cd {folder} && snakemake --cores all")
    return 0


def project_files(name: str) -> dict[str, str]:
    """Path in the project folder -> text, of a shipped configuration and all that it needs beside weights."""
    config = shipped.configuration(name)
    lines = Path(config).read_text(encoding="utf-8").splitlines(keepends=True)
    if lines[0].startswith("# yaml-language-server:"):
        lines[0] = f"# yaml-language-server: $schema={Path(SCHEMA).name}\n"
    kept = {each: _shipped_text(each) for each in (*sheets(load_config(config)), *PROFILES)}
    return {"Snakefile": SNAKEFILE, "config/config.yaml": "".join(lines), SCHEMA: schema_text(), **kept}


def sheets(config: Config) -> list[str]:
    """The sheets that a configuration names."""
    return [each for each in (config.meshes.table, config.prompts, config.published) if each is not None]


def _shipped_text(name: str) -> str:
    return (shipped.root() / name).read_text(encoding="utf-8")

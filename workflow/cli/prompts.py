"""`texreward prompts`: a sheet of prompts from a text file with one prompt per line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from workflow.config.sheets import NAME, SPLITS, ConfigError
from workflow.provenance import write_text


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    one = commands.add_parser("prompts", help="make a sheet of prompts from a text file, one a line")
    one.add_argument("file", help="text file, e.g. Assets/rabbit_texture.txt of the paper's release")
    one.add_argument("--mesh", required=True, help="mesh of the mesh sheet that the prompts are for, or *")
    one.add_argument("--split", choices=SPLITS, default="both", help="(default: %(default)s)")
    one.add_argument("--out", required=True, help="sheet to write")
    one.set_defaults(run=make_sheet)


def make_sheet(options: argparse.Namespace) -> int:
    """Write the sheet; blank lines and repeated prompts are left out, and said."""
    path = Path(options.file)
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as UTF-8 text ({error}).") from None
    prompts = list(dict.fromkeys(" ".join(line.split()) for line in lines if line))
    if not prompts:
        raise ConfigError(f"{path}: holds no prompt; write one on each line.")
    if options.mesh != "*" and not NAME.fullmatch(options.mesh):
        raise ConfigError(f"--mesh is {options.mesh!r}; give a name of the mesh sheet, or *.")
    stem = "prompt" if options.mesh == "*" else options.mesh
    rows = ["prompt_id\tmesh\tprompt\tsplit"]
    rows += [f"{stem}_{n}\t{options.mesh}\t{text}\t{options.split}" for n, text in enumerate(prompts, 1)]
    write_text(Path(options.out), "\n".join(rows) + "\n")
    left = len(lines) - len(prompts)
    print(
        f"{options.out}: {len(prompts)} prompts"
        + (f", {left} blank or repeated lines left out" if left else "")
    )
    return 0

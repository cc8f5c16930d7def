"""What keeps an authors' program from running, said before hours are spent on it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from baselines.official.adapter import Program, Setup

# Finds packages without importing them, in the folder that the program runs in.
_FIND = (
    "import sys, json, importlib.util as u;"
    "print(json.dumps([n for n in sys.argv[1:] if u.find_spec(n) is None]))"
)


def missing(program: Program, setup: Setup) -> list[str]:
    """What is missing for a run, one sentence each; empty when nothing is."""
    found = _checkout(program, setup.checkout)
    if not setup.python.is_file():
        found.append(
            f"{program.name}: there is no interpreter {setup.python}; make the environment of "
            "baselines/official/environments/ and name its bin/python."
        )
    elif setup.checkout.is_dir():
        found += _modules(program, setup)
    return found


def _checkout(program: Program, checkout: Path) -> list[str]:
    if not checkout.is_dir():
        return [
            f"{program.name}: there is no checkout {checkout}; `git clone {program.repository}` and check "
            f"out {program.commit}."
        ]
    found = [
        f"{program.name}: {checkout} lacks {name}, so it is not a whole checkout of {program.repository}."
        for name in program.files
        if not (checkout / name).exists()
    ]
    found += [
        f"{program.name}: {checkout} lacks {name}; download it from {address}."
        for name, address in program.downloads.items()
        if not (checkout / name).is_file()
    ]
    return found


def _modules(program: Program, setup: Setup) -> list[str]:
    command = [str(setup.python), "-c", _FIND, *program.modules]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=setup.checkout, timeout=120, check=True
        )
        absent = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        return [f"{program.name}: {setup.python} does not run as a Python interpreter ({error})."]
    return [
        f"{program.name}: the environment of {setup.python} lacks the package {name}; see "
        "baselines/official/environments/."
        for name in absent
    ]


def revision(checkout: Path) -> str:
    """Commit of a checkout, with + when tracked files differ from it; "unknown" where git cannot tell."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != Path(checkout).resolve():
            return "unknown"
        dirty = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+" if dirty else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"

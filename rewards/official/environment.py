"""The environment of the official packages: `.official`, made once from requirements.txt.

    python -m rewards.official.environment      make it, or say that it is there

Imports no torch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from texgen import shipped
from texgen.errors import PlainError

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
ROOT = Path(__file__).resolve().parents[2]


class EnvironmentMissing(PlainError):
    """The environment of the official packages is not there and cannot be made; told in one sentence."""


def folder() -> Path:
    """Where it is: the environment variable TEXREWARD_OFFICIAL, else .official in the project."""
    return Path(os.environ.get("TEXREWARD_OFFICIAL") or ROOT / ".official")


def interpreter() -> Path:
    """Its Python. Raises EnvironmentMissing when it was not made, or from another list of packages."""
    if shipped.is_installed():
        # Its programs are given the folder of our packages, which here holds all others, too.
        raise EnvironmentMissing("The official packages run in a checkout alone; clone the repository.")
    if not _complete(folder()):
        raise EnvironmentMissing(
            f"The environment of the official packages is not at {folder()}; run `make official` (it needs "
            "the package index once)."
        )
    return folder() / "bin" / "python"


def make() -> Path:
    """Make the environment unless it is there; returns its Python."""
    place = folder()
    if not _complete(place):
        print(f"Making {place} with the official scoring packages ...", flush=True)
        venv.create(place, with_pip=True, clear=True, symlinks=True)
        python = place / "bin" / "python"
        command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", REQUIREMENTS]
        if subprocess.run(command).returncode != 0:
            raise EnvironmentMissing(
                f"The packages of {REQUIREMENTS} could not be installed into {place}; pip says why above."
            )
        packages = _site_packages(python)
        # torch, numpy and pillow of this environment, after the pinned packages of the other.
        (packages / "texreward_base.pth").write_text(sysconfig.get_path("purelib") + "\n")
        # The package hpsv2 lacks the vocabulary that its tokenizer reads; open_clip carries the same file.
        vocabulary = "bpe_simple_vocab_16e6.txt.gz"
        shutil.copy(
            packages / "open_clip" / vocabulary, packages / "hpsv2" / "src" / "open_clip" / vocabulary
        )
        shutil.copy(REQUIREMENTS, place / REQUIREMENTS.name)  # last: a killed installation is never complete
    return interpreter()


def _complete(place: Path) -> bool:
    copy = place / REQUIREMENTS.name
    return copy.is_file() and copy.read_bytes() == REQUIREMENTS.read_bytes()


def _site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return Path(
        subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    )


def main() -> int:
    try:
        print(f"official packages: {make()}")
    except EnvironmentMissing as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

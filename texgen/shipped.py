"""Where that lies which comes with the code: configurations, profiles, the weights of the miniature.

In a checkout it lies in its root. A wheel carries the same folders in texreward/shipped (setup.py).
Imports no torch: the workflow's rules use it too.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePath

HOME = Path(__file__).resolve().parents[1]
"""The folder that holds the packages: a checkout's root, or site-packages."""
INSTALLED = Path("texreward", "shipped")
MINIATURE = PurePath("models", "miniature")
"""Where configurations say that the miniature is."""
PROJECT_SCHEMA = "config.schema.json"
VARIABLE = "TEXREWARD_MINIATURE"
"""Environment variable with another folder of miniature models, laid out as models/miniature."""


def is_installed() -> bool:
    """Whether this code was installed from a wheel, and does not run in a checkout."""
    return (HOME / INSTALLED).is_dir()


def root() -> Path:
    """The folder with config/, profiles/ and models/miniature/."""
    return HOME / INSTALLED if is_installed() else HOME


def configuration(name: str) -> str:
    """The file of a shipped configuration, e.g. paper."""
    return str(root() / "config" / f"{name}.yaml")


def project_configuration() -> str:
    """What commands use where none is named: the configuration of the project in the working directory, as
    `texreward init` makes them with a schema beside it, else the shipped one."""
    own = Path("config", "config.yaml")
    return str(own) if own.is_file() and own.with_name(PROJECT_SCHEMA).is_file() else configuration("config")


def miniature() -> Path:
    """The folder of the miniature: that of TEXREWARD_MINIATURE, else what comes with the code."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else root() / MINIATURE


def located(place: str) -> str:
    """Where a file or folder lies that a configuration names.

    That is its own name, seen from the working directory, but for the miniature: models/miniature/... is
    below TEXREWARD_MINIATURE where that is set, else in the working directory if it is there, else with the
    code.
    """
    path = PurePath(place)
    if path.parts[:2] != MINIATURE.parts:
        return place
    inside = miniature().joinpath(*path.parts[2:])
    if os.environ.get(VARIABLE) or (inside.exists() and not Path(place).exists()):
        return str(inside)
    return place


def of_the_miniature(place: str) -> bool:
    """Whether weights are the small ones that come with the code, or that it trains: .../miniature/... ."""
    path = Path(place).resolve()
    return "miniature" in path.parts or path.is_relative_to(miniature().resolve())


def downloads() -> Path:
    """Folder for meshes that the command line downloads: resources/ of a checkout, else the user's cache."""
    if not is_installed():
        return HOME / "resources"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "texreward"

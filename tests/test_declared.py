"""Every package that is imported is declared, and every declared one is imported or needed for a reason."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("texgen", "rewards", "baselines", "report", "workflow", "texreward")
OWN = {*PACKAGES, "benchmarks", "tests", "reference"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
# Not installed by default: a rasteriser, the authors' packages in environments of their own, a fuzzer.
ELSEWHERE = {
    "nvdiffrast",
    "ImageReward",
    "hpsv2",
    "open_clip",
    "clip",
    "cyclereward",
    "torchvision",
    "atheris",
}
# Not imported by our code: the program that runs it and its plugin, a carrier of meshes, tools.
RUN = {"snakemake", "snakemake-executor-plugin-slurm", "pymeshlab", "ninja", "ruff", "snakefmt"}
RUN |= {"pytest-timeout", "pytest-xdist"}
RUN |= {"tensorboard"}  # by torch.utils.tensorboard
# Extras that neither the default run nor the tests need: not in the lock, and maybe not here to be asked.
OPTIONAL = ("cuda", "upscale", "formats", "tensorboard")
DISTRIBUTIONS = {"pxr": ["usd-core"], "DracoPy": ["dracopy"], "spandrel": ["spandrel"]}


def imported(*folders: str) -> dict[str, set[str]]:
    """Top-level package -> files that import it."""
    found: dict[str, set[str]] = {}
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in (
                {name.split(".")[0] for name in names} - OWN - ELSEWHERE - set(sys.stdlib_module_names)
            ):
                found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(requirements: list[str]) -> set[str]:
    return {normal(re.match(r"[A-Za-z0-9._-]+", each)[0]) for each in requirements}


NEEDED = declared(PROJECT["dependencies"])
CHOSEN = declared([each for name in OPTIONAL for each in PROJECT["optional-dependencies"][name]])
EXTRA = declared([each for group in PROJECT["optional-dependencies"].values() for each in group])


@pytest.mark.parametrize(
    ("folders", "allowed"),
    [
        (PACKAGES, NEEDED | CHOSEN),
        (("tests", "benchmarks"), NEEDED | EXTRA),
    ],
)
def test_what_is_imported_is_declared(folders, allowed):
    places = {**DISTRIBUTIONS, **packages_distributions()}
    for name, files in imported(*folders).items():
        distributions = {normal(each) for each in places.get(name, [name])}
        assert distributions & allowed, f"{name}, imported by {min(files)}, is not declared in pyproject.toml"


def test_what_is_declared_is_imported():
    places = {**DISTRIBUTIONS, **packages_distributions()}
    used = {
        normal(each)
        for name in imported(*PACKAGES, "tests", "benchmarks")
        for each in places.get(name, [name])
    }
    assert (NEEDED | EXTRA) - used - RUN == set()


def test_what_is_declared_is_locked():
    locked = declared(
        [line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line]
    )
    assert (NEEDED | EXTRA) - CHOSEN <= locked

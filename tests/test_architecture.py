"""docs/architecture.md names what is there: every room, and no module, file or class that is gone."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("texreward", "workflow", "report", "baselines", "rewards", "texgen")
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# Folders that are no rooms of code: data, pages, what others wrote.
DATA = {"schemas", "rules", "envs", "vendor", "templates", "report", "environments", "shipped"}


def expanded(name):
    """`report.{table, study}` -> both."""
    head, inside, tail = re.fullmatch(r"([^{]*)(?:\{([^}]*)\})?(.*)", name).groups()
    return [head + each.strip() + tail for each in inside.split(",")] if inside else [name]


NAMED = {name for quoted in re.findall(r"`([^`\n]+)`", TEXT) for name in expanded(quoted)}


def test_every_room_is_in_its_table():
    rooms = {
        f"{package}.{path.name}"
        for package in PACKAGES
        for path in (ROOT / package).iterdir()
        if path.is_dir() and any(path.glob("*.py")) and path.name not in DATA
    }
    assert sorted(rooms - NAMED) == []


DOTTED = sorted(name for name in NAMED if re.match(rf"({'|'.join(PACKAGES)})\.[\w.]+$", name))
PLACES = sorted(name for name in NAMED if re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", name))


@pytest.mark.parametrize("name", DOTTED)
def test_what_it_names_by_dots_is_there(name):
    try:
        if find_spec(name) is not None:
            return
    except ModuleNotFoundError:
        pass
    module, _, inside = name.rpartition(".")
    assert hasattr(import_module(module), inside), f"{name} is not there"


@pytest.mark.parametrize("name", PLACES)
def test_what_it_names_by_slashes_is_there(name):
    if name.startswith("results/"):
        return
    assert (ROOT / name).exists(), f"{name} is not there"


def test_it_is_one_page():
    words = len(TEXT.split())
    assert words <= 1600, f"it has {words} words; move what is about one part into that part's page"

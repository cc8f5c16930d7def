"""Imports point one way: between packages, between the rooms in them, and away from the miniature."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# A package may import those after it.
PACKAGES = ("texreward", "workflow", "report", "baselines", "rewards", "texgen")
ALLOWED = {
    "workflow": {"report", "baselines", "rewards", "texgen"},
    "report": {"texgen"},
    "baselines": {"texgen"},
    "rewards": {"texgen"},
    "texgen": set(),
}
MINIATURE = "texgen.miniature"


def modules():
    """Dotted name -> what it imports of this project, dotted; type-checking imports count, too."""
    files = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            files[name] = path
    return {name: imports(path, files) for name, path in files.items()}


def imports(path, known):
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in known else node.module for name in inside}
    return {name for name in found if name.split(".")[0] in PACKAGES}


@pytest.fixture(scope="module")
def graph():
    return modules()


def room(name):
    """The folder of a module below its package; the module itself where it lies in no room."""
    return ".".join(name.split(".")[:2])


def test_packages_import_only_those_below_them(graph):
    for name, targets in graph.items():
        own = name.split(".")[0]
        beyond = {
            target for target in targets if target.split(".")[0] not in {own, *ALLOWED.get(own, PACKAGES)}
        }
        assert not beyond, f"{name} imports {', '.join(sorted(beyond))}"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_room_of_a_package_is_above_itself(graph, package):
    rooms = {}
    for name, targets in graph.items():
        if name.split(".")[0] == package and name != package:
            rooms.setdefault(room(name), set()).update(
                room(target) for target in targets if target.split(".")[0] == package and target != package
            )
    for own, targets in rooms.items():
        targets.discard(own)
    try:
        TopologicalSorter(rooms).prepare()
    except CycleError as error:
        circle = error.args[1]
        ties = [
            f"{name} -> {target}"
            for name, targets in graph.items()
            for target in targets
            for before, after in zip(circle, circle[1:], strict=False)
            if {room(name), room(target)} == {before, after}
        ]
        pytest.fail(f"a circle of rooms, {' - '.join(circle)}: {'; '.join(sorted(ties))}")


def test_the_core_does_not_know_the_miniature(graph):
    knows = {
        name
        for name, targets in graph.items()
        if not name.startswith(MINIATURE) and any(target.startswith(MINIATURE) for target in targets)
    }
    assert not {name for name in knows if name.startswith(("texgen.", "rewards.", "baselines.", "report."))}

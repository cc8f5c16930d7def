"""One name, one meaning: no class, type or module of the packages has the name of another."""

import ast
import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("texreward", "workflow", "report", "baselines", "rewards", "texgen")


def named(tree):
    """Names of classes and of types that a module defines at its top."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            # Constants are in capitals; what begins with one and goes on in small letters is a type.
            if re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", name):
                yield name


def test_no_class_or_type_is_defined_twice():
    found = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for name in named(ast.parse(path.read_text(encoding="utf-8"))):
                found[name].append(path.relative_to(ROOT).as_posix())
    twice = {name: places for name, places in found.items() if len(places) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(places)}" for name, places in twice.items())


# Their modules carry the names of rules, of commands and of baselines, on purpose in each.
NAMED_AFTER = {
    "a rule of the workflow": "workflow/steps",
    "a command": "workflow/cli",
    "a baseline, its settings": "baselines/presets",
    "a baseline, its authors' program": "baselines/official",
}


def test_no_module_is_named_as_another_is():
    found = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT)
            if path.stem.startswith("__") or place.parent.as_posix() in NAMED_AFTER.values():
                continue
            found[path.stem].append(place.as_posix())
    twice = {name: places for name, places in found.items() if len(places) > 1}
    assert not twice, "\n".join(f"{name}: {', '.join(places)}" for name, places in twice.items())

"""No module has more than 300 lines, no function that a user extends more than seven parameters."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("texreward", "workflow", "report", "baselines", "rewards", "texgen")
EXTENDED = ("rewards", "baselines", "report")
MOST_LINES, MOST_PARAMETERS = 300, 7


def sources(packages):
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def test_no_module_has_more_than_300_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources(PACKAGES)}
    long = {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > MOST_LINES}
    assert not long


def test_no_function_that_a_user_extends_takes_more_than_seven_parameters():
    wide = []
    for path in sources(EXTENDED):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                count = len([each for each in given if each.arg not in ("self", "cls")])
                if count > MOST_PARAMETERS:
                    wide.append(f"{path.relative_to(ROOT).as_posix()}: {node.name} takes {count}")
    assert not wide

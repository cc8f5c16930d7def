"""No module has more than 300 lines, no function more than seven parameters."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("texreward", "workflow", "report", "baselines", "rewards", "texgen")
MOST_LINES, MOST_PARAMETERS = 300, 7
# "file: function" -> why it takes more. What travels together is a small frozen dataclass, so there is none.
EXCEPTIONS: dict[str, str] = {}


def sources():
    for package in PACKAGES:
        yield from sorted((ROOT / package).rglob("*.py"))


def parameters(function):
    """Names of all parameters of a function, *args and **options too, but not self and cls."""
    given = function.args
    each = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [one.arg for one in each if one is not None and one.arg not in ("self", "cls")]


def wide_functions(code):
    """Name -> how many parameters, of the functions of a module that take too many."""
    functions = [
        n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    counts = {function.name: len(parameters(function)) for function in functions}
    return {name: count for name, count in counts.items() if count > MOST_PARAMETERS}


def test_no_module_has_more_than_300_lines():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in sources()}
    long = {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > MOST_LINES}
    assert not long


def test_no_function_takes_more_than_seven_parameters():
    wide = {
        f"{path.relative_to(ROOT).as_posix()}: {name}": count
        for path in sources()
        for name, count in wide_functions(path.read_text(encoding="utf-8")).items()
    }
    assert set(wide) == set(EXCEPTIONS), "name an exception with its reason, or take one away"


def test_every_kind_of_parameter_counts():
    assert wide_functions("class A:\n async def f(self, a, b, /, c, d, *e, f, g, **h): ...") == {"f": 8}
    assert wide_functions("def f(a, b, c, d, e, f, g): ...") == {}

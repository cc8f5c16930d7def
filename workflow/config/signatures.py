"""What a class or function takes, read from its source: so that a configuration is checked without torch.

Only plain annotations and literal defaults are understood; a parameter without an annotation takes anything.
"""

from __future__ import annotations

import ast
import typing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pydantic

from workflow.code_identity import module_path

REQUIRED = object()
# What an annotation may be made of.
_NAMES = {
    **{kind.__name__: kind for kind in (int, float, str, bool, list, dict, tuple)},
    **{name: getattr(typing, name) for name in ("Annotated", "Literal", "Any", "Optional")},
    "Field": pydantic.Field,
}


@dataclass(frozen=True)
class Parameter:
    """One parameter. default: `REQUIRED` where there is none."""

    name: str
    annotation: Any
    default: Any


@dataclass(frozen=True)
class Signature:
    """parameters: without self, cls and **options. open: whether it takes any other keyword, too."""

    parameters: tuple[Parameter, ...]
    open: bool = False
    constants: typing.Mapping[str, Any] = typing.cast(typing.Mapping[str, Any], None)


def of_module(module: str, name: str, method: str = "__init__") -> Signature:
    """The signature of a function or class of a first-party module; method: of a class, which one."""
    path = module_path(module)
    if path is None:
        raise ValueError(f"There is no module {module}.")
    return of_file(path, name, method)


def defaults_of(module: str, name: str) -> dict[str, Any]:
    """The defaults of a function or class of a first-party module: whoever repeats one in a configuration
    asks here, so that it stands once, where it is used."""
    parameters = of_module(module, name).parameters
    return {each.name: each.default for each in parameters if each.default is not REQUIRED}


@cache
def of_file(path: Path, name: str, method: str = "__init__") -> Signature:
    """The same in a file. Raises ValueError with one sentence where the file or the name is not there."""
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from error
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not Python ({error})") from error
    found = {node.name: node for node in tree.body if isinstance(node, _DEFINITIONS)}
    if name not in found:
        has = ", ".join(found) or "no class or function"
        raise ValueError(f"{path} has no class or function {name!r}; it has {has}")
    node = found[name]
    if not isinstance(node, ast.ClassDef):
        return _of_function(node)
    constants = _constants(node)
    methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    if method in methods:
        own = _of_function(methods[method], bound=True)
        return Signature(own.parameters, own.open, constants)
    if method == "__init__" and any("dataclass" in ast.unparse(each) for each in node.decorator_list):
        fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
        parts = [_parameter(ast.unparse(each.target), each.annotation, each.value) for each in fields]
        return Signature(tuple(parts), constants=constants)
    return Signature((), constants=constants)


_DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


def _constants(node: ast.ClassDef) -> dict[str, Any]:
    """Literal attributes of a class: `a = 1`, `a: int = 1` and `a, b = 1, 2`."""
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and each.value is not None:
            pairs.append((each.target, each.value))
        if isinstance(each, ast.Assign):
            for target in each.targets:
                if isinstance(target, ast.Tuple) and isinstance(each.value, ast.Tuple):
                    pairs += zip(target.elts, each.value.elts, strict=False)
                else:
                    pairs.append((target, each.value))
    return {
        target.id: ast.literal_eval(value)
        for target, value in pairs
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant)
    }


def _of_function(node: ast.FunctionDef, bound: bool = False) -> Signature:
    given = [*node.args.posonlyargs, *node.args.args]
    values: list[ast.expr | None] = [None] * (len(given) - len(node.args.defaults)) + [*node.args.defaults]
    pairs = list(zip(given, values, strict=True))[1 if bound else 0 :]
    pairs += list(zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True))
    parts = tuple(_parameter(each.arg, each.annotation, value) for each, value in pairs)
    return Signature(parts, node.args.kwarg is not None)


def _parameter(name: str, annotation: ast.expr | None, value: ast.expr | None) -> Parameter:
    default: Any = REQUIRED
    if value is not None:
        try:
            default = ast.literal_eval(value)
        except ValueError:
            default = None
    kind: Any = Any
    if annotation is not None:
        try:
            kind = eval(ast.unparse(annotation), {"__builtins__": {}}, dict(_NAMES))
        except Exception:
            kind = Any
    return Parameter(name, kind, default)

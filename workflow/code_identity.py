"""The identity of the code that a job runs: a hash that comments, docstrings and layout do not change.

Snakemake does not see edits of imported modules; as a rule parameter this hash makes it see them. It covers
the job's own modules and every first-party module that they import. An import inside a function counts when
that function may be called: when its name stands anywhere in code that counts (as a name, an attribute or a
string), or when it belongs to the job's own modules. That errs on the side of counting too much. Modules that
are loaded by a computed name (`import_module`) are the job's to list: `Job.modules`.

Found by reading source, so nothing is executed and torch is not loaded.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from workflow.provenance import ROOT, content_hash

# First-party code whose edits change results. The rest of `workflow` only moves files and strings about.
CODE_PREFIXES = ("texgen", "rewards", "baselines", "report", "workflow.steps")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class CodePart:
    """A stretch of code: what it imports, and the names that stand in it."""

    imports: frozenset[str]
    names: frozenset[str]


@dataclass(frozen=True)
class Source:
    """A module: what runs when it is imported, its functions by name, and its code without comments."""

    body: CodePart
    functions: tuple[tuple[str, CodePart], ...]
    text: str


def code_version(*modules: str, files: Iterable[str | Path] = ()) -> str:
    """Short hash of the code of modules, of source files outside of the package, and of all that they import.

    Raises FileNotFoundError for a module that is not there.
    """
    sources = reached(*modules, files=files)
    return content_hash([(name, source.text) for name, source in sorted(sources.items())])[:12]


def reached(*modules: str, files: Iterable[str | Path] = ()) -> dict[str, Source]:
    """Module (or file) -> source of everything that a job of these modules may run."""
    missing = [name for name in modules if module_path(name) is None]
    if missing:
        raise FileNotFoundError(f"There is no module {missing[0]!r} below {ROOT.name}/.")
    found: dict[str, Source] = {f"file {Path(path).name}": read_source(Path(path), "") for path in files}
    own = set(found) | set(modules)
    waiting = [*modules, *(part for name in modules for part in parents(name))]
    names: set[str] = set()
    for source in found.values():
        for part in (source.body, *(each for _, each in source.functions)):
            names |= part.names
            waiting += part.imports
    counted: set[tuple[str, str]] = set()
    while True:
        while waiting:
            name = waiting.pop()
            path = module_path(name)
            if name not in found and path is not None and name.startswith(CODE_PREFIXES):
                source = found[name] = read_source(path, name)
                names |= source.body.names
                waiting += source.body.imports
        called = [
            (name, function, part)
            for name, source in found.items()
            for function, part in source.functions
            if (name, function) not in counted
            and (name in own or function in names or function.startswith("__"))
        ]
        if not called:
            return found
        for name, function, part in called:
            counted.add((name, function))
            names |= part.names
            waiting += part.imports


def module_path(name: str) -> Path | None:
    """File of a first-party module, None where there is none."""
    base = ROOT.joinpath(*name.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if name and path.is_file():
            return path
    return None


def parents(name: str) -> Iterator[str]:
    """Packages of a module: their own code runs before it."""
    parts = name.split(".")
    return (".".join(parts[:i]) for i in range(1, len(parts)))


@cache
def read_source(path: Path, name: str) -> Source:
    """What a module imports and names, and its code."""
    tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    functions: list[tuple[str, ast.AST]] = []
    body = _part(_executed(tree, functions), package)
    parts = tuple((function, _part(ast.walk(node), package)) for function, node in functions)
    return Source(body, parts, ast.unparse(_without_docstrings(tree)))


def _executed(node: ast.AST, functions: list[tuple[str, ast.AST]]) -> Iterator[ast.AST]:
    """Nodes that run on import; functions are put aside, but for their decorators and defaults."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, FUNCTIONS):
            functions.append((child.name, child))
            for each in (*child.decorator_list, *child.args.defaults, *filter(None, child.args.kw_defaults)):
                yield from ast.walk(each)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from _executed(ast.Module(child.orelse, []), functions)
        else:
            yield child
            yield from _executed(child, functions)


def _part(nodes: Iterable[ast.AST], package: str) -> CodePart:
    imports: set[str] = set()
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            imports.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, package)
            imports.add(base)
            imports.update(f"{base}.{alias.name}" for alias in node.names)
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.keyword) and node.arg:
            names.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            names.add(node.value)
    return CodePart(
        frozenset(imports | {part for each in imports for part in parents(each)}), frozenset(names)
    )


def _absolute(node: ast.ImportFrom, package: str) -> str:
    base = node.module or ""
    if node.level:
        kept = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*kept, *([base] if base else [])])
    return base


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)):
            texts = [each for each in node.body if not _is_text(each)]
            node.body = texts or [ast.Pass()]
    return tree


def _is_text(node: ast.stmt) -> bool:
    """A string that stands by itself: a docstring, or the description of a constant."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )

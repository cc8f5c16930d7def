"""Turns pydantic's errors into one sentence each: file, field, what is wrong, what is allowed."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

MOST_LISTED = 30
"""Names that are worth listing beside a guess."""


def sentence(where: str, root: type[BaseModel], error: Mapping[str, Any]) -> str:
    """One sentence for one item of `ValidationError.errors()`; `root` is the model that was validated."""
    location = error["loc"]
    path, kinds = _walk(root, location)
    field = _dotted(path)
    if error["type"] == "extra_forbidden":
        known = sorted({name for model in kinds for name in model.model_fields})
        guess = difflib.get_close_matches(str(location[-1]), known, n=1)
        hint = f" (did you mean {guess[0]!r}?)" if guess else ""
        if guess and len(known) > MOST_LISTED:
            return f"{where}: {field} is not a known field{hint}."
        return f"{where}: {field} is not a known field{hint}; allowed here are {', '.join(known)}."
    if error["type"] == "missing":
        return f"{where}: {field} is missing; it must be given."
    if error["type"] == "union_tag_invalid":
        tag, allowed = _short(repr(error["ctx"]["tag"])), error["ctx"]["expected_tags"]
        return f"{where}: {field}.kind is {tag}; allowed are {allowed}."
    if error["type"] == "union_tag_not_found":
        return f"{where}: {field}.kind is missing; it says which kind of metric this is."
    message = error["msg"].removeprefix("Value error, ")
    if not path:
        return f"{where}: {message}."
    if isinstance(error["input"], dict | list | BaseModel):
        return f"{where}, {field}: {message[0].lower()}{message[1:]}."
    return f"{where}: {field} is {_short(repr(error['input']))}; {message[0].lower()}{message[1:]}."


def _walk(root: type[BaseModel], location: Iterable[Any]) -> tuple[list[Any], list[type[BaseModel]]]:
    """Follow an error's location through the models.

    Returns the keys that stand in the file (without the tags that pydantic adds for unions) and the models
    that the last key's parent may be.
    """
    path: list[Any] = []
    here: list[Any] = [root]
    parents: list[type[BaseModel]] = [root]
    for key in location:
        models = [kind for kind in here if isinstance(kind, type) and issubclass(kind, BaseModel)]
        tagged = [kind for kind in models if _tag(kind) == key and key not in kind.model_fields]
        if tagged:
            here = parents = tagged
            continue
        if key == "[key]":
            continue
        path.append(key)
        if models:
            parents = models
            here = [
                part
                for kind in models
                if key in kind.model_fields
                for part in _parts(kind.model_fields[key].annotation)
            ]
        else:
            here = [part for kind in here for part in _parts(_value_type(kind))]
    return path, parents


def nested_models(annotation: Any) -> list[type[BaseModel]]:
    """The models in an annotation, in order: members of unions, values of dicts, items of lists."""
    found = []
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, BaseModel):
            found.append(part)
        elif typing.get_args(part) and typing.get_origin(part) is not typing.Literal:
            found += nested_models(typing.get_args(part)[-1])
    return found


def _tag(kind: type[BaseModel]) -> str | None:
    field = kind.model_fields.get("kind")
    allowed = typing.get_args(field.annotation) if field else ()
    return allowed[0] if len(allowed) == 1 else None


def _value_type(kind: Any) -> Any:
    arguments = typing.get_args(kind)
    return arguments[-1] if arguments else None


def _parts(annotation: Any) -> list[Any]:
    """The alternatives of an annotation: members of a union, without Annotated wrappers."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _parts(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [part for member in typing.get_args(annotation) for part in _parts(member)]
    return [annotation]


def _dotted(path: list[Any]) -> str:
    text = ""
    for key in path:
        key = key if isinstance(key, int) else _short(str(key))
        text += f"[{key}]" if isinstance(key, int) else (f".{key}" if text else key)
    return text


def _short(text: str, most: int = 80) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."

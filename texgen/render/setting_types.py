"""Types of settings with the rules that their values obey: one list for code, configuration and documents.

A settings class is a frozen dataclass whose fields are annotated with these types and described in place. Its
values are checked when it is made, and the configuration's model of it is derived from it. Imports no torch.
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from texgen.render.rigs import RIGS

WholeNumber = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=8)]
Unit = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Colour = Annotated[list[Unit], Field(min_length=3, max_length=3)]
Rig = Literal[*RIGS]
DepthConvention = Literal["disparity-global", "disparity-view", "linear-0.5-1", "linear-50-255"]
WordRule = Literal["intex", "texture", "text2tex", "syncmvd", "none"]
Rasterizer = Literal["warp", "nvdiffrast"]


def _only_known_words(text: str) -> str:
    """A template that can be filled in: no other word than {prompt} and {view}, each without a format."""
    rule = "use {prompt} and {view} only, and write any other brace twice"
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError(rule) from None
    words = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    if any(word not in (("prompt", "", None), ("view", "", None)) for word in words):
        raise ValueError(rule)
    if ("prompt", "", None) not in words:
        raise ValueError("must hold {prompt}, which stands for the prompt of the sheet")
    return text


Template = Annotated[str, AfterValidator(_only_known_words)]


class GivenAs(NamedTuple):
    """What a user gives for a field that is stored in another, unchangeable form: part of an annotation."""

    annotation: Any


@cache
def given_types(settings: type) -> dict[str, Any]:
    """Field -> annotation of what may be given for it, with its rules and its description."""
    hints = get_type_hints(settings, include_extras=True)
    return {entry.name: _given(hints[entry.name]) for entry in fields(settings)}


def _given(annotation: Any) -> Any:
    if get_origin(annotation) is not Annotated:
        return annotation
    _, *extras = get_args(annotation)
    stand_in = next((extra.annotation for extra in extras if isinstance(extra, GivenAs)), None)
    if stand_in is None:
        return annotation
    return Annotated[stand_in, *(extra for extra in extras if not isinstance(extra, GivenAs))]


@cache
def _checkers(settings: type) -> dict[str, TypeAdapter]:
    return {name: TypeAdapter(annotation) for name, annotation in given_types(settings).items()}


def check_fields(settings: Any, where: str) -> None:
    """Check every field of a settings object. Raises ValueError with one sentence for the first bad one."""
    for name, checker in _checkers(type(settings)).items():
        value = getattr(settings, name)
        try:
            checker.validate_python(value)
        except ValidationError as error:
            rule = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise ValueError(f"{where}: {name} is {value!r}; {rule[0].lower()}{rule[1:]}.") from None

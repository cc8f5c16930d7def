"""What every block of the configuration is built on: strictness, names, colours, places of weights."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from texgen.render.setting_types import Colour as Colour
from texgen.render.setting_types import Unit as Unit
from texgen.storage.plain_text import UNSHOWABLE
from workflow.config.sheets import LONGEST_NAME, NAME

Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$", max_length=LONGEST_NAME)]


def _input_path(text: str) -> str:
    """A path of something that is read, as snakemake, a shell and the file system take it."""
    if not text.strip():
        raise ValueError("it is empty; write a path, or leave the field out")
    if UNSHOWABLE.search(text):
        raise ValueError("it holds a character that cannot be printed; remove it")
    if "{" in text or "}" in text:
        raise ValueError("snakemake would take the braces for wildcards; rename the file or folder")
    if text.startswith("~"):
        raise ValueError("~ is not replaced by a home folder here; write the whole path")
    longest = max(len(part.encode()) for part in text.split("/"))
    if longest > LONGEST_PART or len(text.encode()) > LONGEST_PATH:
        raise ValueError(f"file systems allow {LONGEST_PART} bytes for a name and {LONGEST_PATH} for a path")
    return text


def _plain_path(text: str) -> str:
    """A path that is also written and stands in commands: no quotes, no blanks at the ends, no option."""
    _input_path(text)
    if text.startswith("-"):
        raise ValueError(f"programs take a path that begins with '-' for an option; write ./{text}")
    wrong = re.search(r"[^\w ./~@+=,:-]", text)
    if wrong or text != text.strip():
        raise ValueError(
            f"{repr(wrong[0]) if wrong else 'a blank at its end'} cannot stand in it; allowed are letters, "
            "digits, blanks between them and . / _ ~ @ + = , : -"
        )
    return text


LONGEST_PART, LONGEST_PATH = 255, 1024
InputPath = Annotated[str, AfterValidator(_input_path)]
PlainPath = Annotated[str, AfterValidator(_plain_path)]


class Strict(BaseModel):
    """Base of every block: unknown keys are refused, numbers are not read from strings."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @field_validator("*", mode="after")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        """Texts are shown in tables, pages and terminals; line ends and tabs may stand in them."""
        wrong = UNSHOWABLE.search(re.sub(r"[\n\t]", " ", value)) if isinstance(value, str) else None
        if wrong:
            raise ValueError(f"the character U+{ord(wrong[0]):04X} cannot be printed; remove it")
        return value


class Weights(Strict):
    """Where the weights of one model are: exactly one of `folder` and `hub`."""

    folder: InputPath | None = Field(
        default=None, description="Folder in diffusers or transformers layout, from the root."
    )
    hub: str | None = Field(default=None, description="Hub id, organisation/name; downloaded on first use.")
    revision: str | None = Field(
        default=None, description="Branch, tag or commit of the hub id; null = its default."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Weights:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("give exactly one of folder and hub")
        if self.revision is not None and self.hub is None:
            raise ValueError("a revision belongs to a hub id, not to a folder")
        return self

    @property
    def source(self) -> str:
        """What loaders take: the folder or the hub id."""
        return self.folder or self.hub  # type: ignore[return-value]

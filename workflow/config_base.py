"""What every block of the configuration is built on: strictness, names, colours, places of weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from texgen.setting_types import Colour as Colour
from texgen.setting_types import Unit as Unit
from workflow.tables import LONGEST_NAME, NAME

Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$", max_length=LONGEST_NAME)]
# A path that snakemake and a shell take as it stands: no braces, quotes, or blanks at the ends.
PlainPath = Annotated[str, StringConstraints(pattern=r"^[\w./~@+=,-]([\w ./~@+=,:-]*[\w./~@+=,:-])?$")]


class Strict(BaseModel):
    """Base of every block: unknown keys are refused, numbers are not read from strings."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Weights(Strict):
    """Where the weights of one model are: exactly one of `folder` and `hub`."""

    folder: str | None = Field(None, description="Folder in diffusers or transformers layout, from the root.")
    hub: str | None = Field(None, description="Hub id, organisation/name; downloaded on first use.")
    revision: str | None = Field(None, description="Branch, tag or commit of the hub id; null = its default.")

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

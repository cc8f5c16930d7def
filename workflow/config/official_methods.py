"""Configuration of the authors' own programs as methods."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workflow.config.strict import InputPath, Strict


class OfficialProgram(Strict):
    """An authors' own program: your checkout of it and the environment that it runs in."""

    program: Literal["texture", "text2tex", "intex", "paint3d", "syncmvd", "mv_adapter"] = Field(
        description="Which program."
    )
    checkout: InputPath = Field(description="Folder of your clone of its repository; from the root.")
    python: InputPath = Field(
        description="Interpreter of its environment (baselines/official/environments); from the root.",
    )
    timeout: float = Field(
        default=3600.0, gt=0, description="Longest time for one asset, loading of models included; seconds."
    )
    arguments: list[str] = Field(default=[], description="Further words of its command line, one item each.")

"""Settings of psd-like and DreamDPO (arXiv 2502.04370). Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from texgen.painting.method_facts import BACKPROJECTION, FITTING, INPAINTING, MethodFacts, OwnSettings
from texgen.painting.presets import Preset
from texgen.render.setting_types import Count, NotNegative, Positive, Unit, WholeNumber

PRESET = Preset(
    name="psd-like",
    rig="default",
    steps=300,
    eta=0.0,
    guidance_scale=7.5,
    control_role="depth",
    show_known="never",
    prompt_template="{prompt}, {view} view",
    negative_prompt="",
    fill="surface",
)
"""`steps` are steps of the optimiser here."""


@dataclass(frozen=True)
class PSDSettings(OwnSettings, preset=PRESET.name):
    """What the preset does not hold."""

    objective: Annotated[
        Literal["psd-like", "dreamdpo"], Field(description="Which direction moves the texture.")
    ] = "psd-like"
    learning_rate: Annotated[Positive, Field(description="Adam's, on the texture's levels.")] = 0.02
    last_rate: Annotated[
        Unit,
        Field(description="The learning rate of the last step, as a share of the first; it falls linearly."),
    ] = 1.0
    levels: Annotated[
        Count,
        Field(
            description=(
                "Resolutions that the texture is a sum of, each half of the next, so that large areas "
                "move together."
            )
        ),
    ] = 5
    t_max: Annotated[Unit, Field(description="Largest noise level at the beginning, as a share.")] = 0.98
    t_min: Annotated[Unit, Field(description="Smallest noise level, as a share.")] = 0.02
    t_until: Annotated[Unit, Field(description="Largest noise level at the end, as a share.")] = 0.5
    threshold: Annotated[
        NotNegative, Field(description="DreamDPO's least gap of scores for using the loser.")
    ] = 0.0
    pair_weight: Annotated[
        NotNegative,
        Field(
            description=(
                "Weight of psd-like's pair term, omega = pair_weight (1 - sigmoid(gap / temperature))."
            )
        ),
    ] = 1.0
    temperature: Annotated[Positive, Field(description="Temperature of the gap of scores.")] = 0.1
    negative_every: Annotated[
        WholeNumber, Field(description="Steps between tunings of the negative embedding; 0 = never.")
    ] = 10
    negative_rate: Annotated[Positive, Field(description="Step length of a tuning.")] = 0.01
    negative_bound: Annotated[
        Positive, Field(description="Largest root mean square change of the embedding.")
    ] = 0.1
    negative_score: Annotated[
        NotNegative, Field(description="Weight of the scores themselves in a tuning.")
    ] = 0.1


FACTS = MethodFacts(
    PRESET,
    PSDSettings,
    ignores=(
        "scheduler",
        *INPAINTING,
        *BACKPROJECTION,
        *FITTING,
        "min_cosine",
        "spacing",
        "last_signal",
        "eta",
    ),
    needs_control=True,
)

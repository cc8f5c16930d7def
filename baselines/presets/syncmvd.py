"""Published settings of SyncMVD (arXiv 2311.12891, its released program). Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import atan, degrees
from typing import Annotated

from pydantic import Field

from texgen.painting.method_facts import BACKPROJECTION, FITTING, INPAINTING, MethodFacts, OwnSettings
from texgen.painting.presets import Preset
from texgen.render.setting_types import Count, NotNegative, Unit, WholeNumber

FAR = 40.0
"""Distance of the cameras that stand in for orthographic ones, in world units."""

PRESET = Preset(
    name="syncmvd",
    rig="syncmvd",
    distance=FAR,
    fov_y=2 * degrees(atan(0.8 / FAR)),
    word_rule="syncmvd",
    image_size=768,
    render_size=1536,
    steps=30,
    eta=1.0,
    last_signal="one",
    guidance_scale=15.5,
    depth_convention="disparity-view",
    control_role="depth",
    show_known="never",
    crop=False,
    prompt_template="{prompt}, {view} view.",
    negative_prompt=(
        "oversmoothed, blurry, depth of field, out of focus, low quality, bloom, glowing effect."
    ),
    projection="gradient_mean",
    fill="none",
)


@dataclass(frozen=True)
class SyncMVDSettings(OwnSettings, preset=PRESET.name):
    """What the preset does not hold."""

    latent_texture_size: Annotated[Count, Field(description="Side of the texture of latents.")] = 512
    texture_step_until: Annotated[
        Unit,
        Field(
            description=(
                "The step is taken on the texture while t exceeds this share of the training steps' "
                "complement (0.8: while t > 200)."
            )
        ),
    ] = 0.8
    reference_until: Annotated[
        WholeNumber, Field(description="Views also attend to the front view while t exceeds this.")
    ] = 800
    exponent: Annotated[NotNegative, Field(description="Exponent of the cosine weights at the end.")] = 6.0
    control_start: Annotated[
        NotNegative,
        Field(description="Strength of the ControlNet at the beginning; the first step has control_end."),
    ] = 0.9
    control_end: Annotated[NotNegative, Field(description="Strength of the ControlNet at the end.")] = 0.7
    control_until: Annotated[Unit, Field(description="Share of the steps that have a ControlNet.")] = 0.99
    random_background: Annotated[
        bool,
        Field(
            description=(
                "Colours behind the views change at random until 80 % of the steps, as released; false = "
                "the preset's background."
            )
        ),
    ] = True
    front_negative: Annotated[
        str, Field(description="What the negative prompts of views other than front add.")
    ] = ", front view."


FACTS = MethodFacts(
    PRESET,
    SyncMVDSettings,
    ignores=(
        "scheduler",
        *INPAINTING,
        *BACKPROJECTION,
        *FITTING,
        "min_cosine",
        "fill",
        "crop",
        "crop_margin",
    ),
    needs_control=True,
)

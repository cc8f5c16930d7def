"""Published settings of Text2Tex (arXiv 2303.11396, its released run script). Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from texgen.painting.method_facts import BACKPROJECTION, FITTING, MethodFacts, OwnSettings
from texgen.painting.presets import Preset
from texgen.render.setting_types import Count, NotNegative, Rig, Side, Unit, WholeNumber

PRESET = Preset(
    name="text2tex",
    rig="text2tex",
    distance=1.6,
    fov_y=90.0,
    word_rule="text2tex",
    image_size=768,
    render_size=1536,
    texture_size=1024,
    steps=50,
    eta=0.0,
    guidance_scale=10.0,
    start="render",
    same_noise=True,
    blending="after",
    depth_convention="linear-50-255",
    control_role="depth",
    show_known="never",
    unpainted="checker",
    crop=False,
    prompt_template=(
        "the {view} view of {prompt}, best quality, high quality, extremely detailed, good geometry"
    ),
    negative_prompt="deformed, extra digit, fewer digits, cropped, worst quality, low quality, smoke",
    projection="overwrite4",
)


@dataclass(frozen=True)
class Text2TexSettings(OwnSettings, preset=PRESET.name):
    """What the preset does not hold."""

    view_threshold: Annotated[
        Unit, Field(description="Similarity from which a pixel can be painted; 0 to 1.")
    ] = 0.1
    score_threshold: Annotated[Unit, Field(description="The same while candidates are scored.")] = 0.01
    update_strength: Annotated[Unit, Field(description="Share of the noise in updates; 0 to 1.")] = 0.3
    update_share: Annotated[
        Unit, Field(description="Updates that concern a smaller share of the object are left out.")
    ] = 0.05
    rounds: Annotated[WholeNumber, Field(description="Chosen views that are refined.")] = 20
    candidates: Annotated[Rig, Field(description="Rig that refinement chooses from.")] = "text2tex_candidates"
    candidate_size: Annotated[
        Count, Field(description="Side of the renders that candidates are judged on; pixels.")
    ] = 768
    atlas_role: Annotated[
        str,
        Field(
            description=(
                "What fills the atlas at the end: unet (the inpainting UNet), a ControlNet role, or none."
            )
        ),
    ] = "unet"
    atlas_size: Annotated[Side, Field(description="Side of the atlas while it is filled; pixels.")] = 512
    atlas_steps: Annotated[Count, Field(description="Denoising steps of that.")] = 50
    atlas_guidance: Annotated[NotNegative, Field(description="Guidance of that.")] = 7.5


FACTS = MethodFacts(
    PRESET,
    Text2TexSettings,
    ignores=(*BACKPROJECTION, *FITTING, "min_cosine"),
    own_roles=lambda settings: (settings.atlas_role,),
    hint=', or leave the atlas as it is with atlas_role "none"',
)

"""Published settings of Paint3D (arXiv 2312.13913, its released program). Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians
from typing import Annotated, Literal

from pydantic import Field

from texgen.painting.method_facts import BACKPROJECTION, FITTING, MethodFacts, OwnSettings
from texgen.painting.presets import Preset
from texgen.render.setting_types import NotNegative, Side, Template, Unit

PRESET = Preset(
    name="paint3d",
    rig="paint3d",
    distance=1.392 / 0.6,
    distance_unit="radius",
    fov_y=54.0,
    word_rule="none",
    render_size=2048,
    steps=20,
    eta=1.0,
    spacing="linspace",
    last_signal="one",
    guidance_scale=3.0,
    same_noise=True,
    blending="after_next",
    blend_noise="fixed",
    depth_convention="linear-0.5-1",
    control_role="depth",
    also_controls=(("inpaint", 0.5),),
    crop=False,
    prompt_template="{prompt}",
    negative_prompt=(
        "strong light, Bright light, intense light, dazzling light, brilliant light, radiant light, Shade, "
        "darkness, silhouette, dimness, obscurity, shadow, glasses"
    ),
    min_cosine=cos(radians(68)),
    projection="face_gather",
    fill="none",
)

UV_PASSES = {"full": ("uv", "tile"), "inpaint": ("uv",), "none": ()}
"""Passes over the atlas by `uv_stage`."""


@dataclass(frozen=True)
class Paint3DSettings(OwnSettings, preset=PRESET.name):
    """What the preset does not hold; its guidance and extra ControlNets are those of inpainting."""

    first_guidance: Annotated[NotNegative, Field(description="Guidance of the first pair of views.")] = 7.0
    uv_stage: Annotated[
        Literal["full", "inpaint", "none"],
        Field(
            description=(
                "Stage 2: full, inpaint (without the tile pass) or none, for backbones without the "
                "ControlNets."
            )
        ),
    ] = "full"
    uv_size: Annotated[Side, Field(description="Side of the atlas in stage 2; pixels.")] = 1024
    uv_role: Annotated[str, Field(description="ControlNet role for position maps.")] = "uv_position"
    uv_paste: Annotated[
        bool,
        Field(
            description=(
                "Only larger unpainted parts change in stage 2, small holes have the preset's fill; false "
                "= as released: all texels come out of the autoencoder."
            )
        ),
    ] = False
    tile_strength: Annotated[Unit, Field(description="Strength of the tile pass; 0 to 1.")] = 0.75
    tile_guidance: Annotated[NotNegative, Field(description="Guidance of the tile pass.")] = 7.0
    tile_template: Annotated[Template, Field(description="Prompt of the tile pass, with {prompt}.")] = (
        "UV map, {prompt}, high quality, best quality"
    )
    tile_negative: Annotated[str, Field(description="Negative prompt of the tile pass.")] = (
        "blur, low quality, noisy image, over-exposed, shadow"
    )


def own_roles(settings: Paint3DSettings) -> tuple[str, ...]:
    """ControlNets of the passes over the atlas."""
    needed = {"uv": settings.uv_role, "tile": "tile"}
    return tuple(needed[name] for name in UV_PASSES[settings.uv_stage])


FACTS = MethodFacts(
    PRESET,
    Paint3DSettings,
    ignores=(*BACKPROJECTION, *FITTING),
    own_roles=own_roles,
    hint=', or leave its pass out with uv_stage "inpaint" (no tile pass) or "none"',
)

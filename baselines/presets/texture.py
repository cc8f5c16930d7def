"""Published settings of TEXTure (arXiv 2302.01721, its released program). Imports no torch."""

from __future__ import annotations

from texgen.painting.method_facts import BACKPROJECTION, MethodFacts
from texgen.painting.presets import Preset

PRESET = Preset(
    name="texture",
    rig="texture",
    distance=1.392 / 0.6,
    distance_unit="radius",
    fov_y=60.0,
    word_rule="texture",
    render_size=1200,
    scheduler="pndm",
    steps=50,
    eta=0.0,
    guidance_scale=7.5,
    same_noise=True,
    blend_noise="fixed",
    refine="checker",
    refine_strength=25 / 51,
    window=(11, 19),
    window_role="unet",
    depth_convention="linear-0.5-1",
    control_role="depth",
    show_known="never",
    unpainted="mean",
    prompt_template="A photo of {prompt}, {view} view",
    negative_prompt="",
    projection="fit_adam",
    fill="mean",
)

FACTS = MethodFacts(
    PRESET,
    ignores=(*BACKPROJECTION, "min_cosine"),
)

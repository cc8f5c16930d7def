"""The presets against the published settings."""

import subprocess
import sys

import pytest

from texgen.painting.presets import PRESETS, Preset, get_preset
from texgen.render.cameras import RIGS


def test_published_settings():
    paper, intex = PRESETS["texgen"], PRESETS["intex"]
    for preset in (paper, intex):
        assert (preset.image_size, preset.render_size, preset.texture_size) == (512, 1024, 1024)
        assert (preset.distance, preset.fov_y, preset.guidance_scale) == (2.5, 50.0, 7.5)
        assert preset.depth_convention == "disparity-global" and preset.accumulate == "mean"
    assert (paper.scheduler, paper.steps, paper.eta, paper.refine_strength) == ("ddim", 10, 1.0, 0.0)
    assert (intex.scheduler, intex.steps, intex.refine_strength) == ("unipc", 20, 0.6)
    assert intex.projection == "scatter_mip"


def test_published_costs():
    # Guidance pairs when no view is skipped: six views of ten steps, eleven views of twenty.
    cost = {name: len(RIGS[preset.rig]) * preset.steps for name, preset in PRESETS.items()}
    assert cost == {"texgen": 60, "intex": 220}


def test_prompts():
    prompt = PRESETS["texgen"].view_prompt("a {red} cat", "front")
    assert prompt == "masterpiece, high quality, a {red} cat, front view"
    assert get_preset("texgen", prompt_template="{prompt}").view_prompt("a cat", "side") == "a cat"


def test_preparing_a_mesh_loads_no_diffusion_library():
    modules = (
        "texgen.painting.presets",
        "texgen.reading.prepare",
        "texgen.geometry.prepared",
        "texgen.render.images",
    )
    code = f"import sys, {', '.join(modules)}; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_replace_makes_a_changed_copy():
    small = PRESETS["texgen"].replace(image_size=128, background=[0.5, 0.5, 0.5])
    assert small.image_size == 128 and small.background == (0.5, 0.5, 0.5)
    assert PRESETS["texgen"].image_size == 512
    assert hash(small) != hash(PRESETS["texgen"])


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("rig", "nowhere", "rig is 'nowhere'"),
        ("scheduler", "euler", "'ddim', 'unipc', 'pndm' or 'lcm'"),
        ("projection", "splat", "projection is 'splat'"),
        ("accumulate", "max", "accumulate is 'max'"),
        ("fill", "magic", "fill is 'magic'"),
        ("depth_convention", "z", "depth_convention is 'z'"),
        ("steps", 0, "steps is 0"),
        ("refine_strength", 1.5, "refine_strength is 1.5"),
        ("background", (1.0, 2.0, 0.0), "background is"),
        ("prompt_template", "a cat", "must hold {prompt}"),
        ("colour", 1, "no field 'colour'"),
    ],
)
def test_bad_values_are_refused_by_name(field, value, message):
    with pytest.raises(ValueError, match=message):
        PRESETS["texgen"].replace(**{field: value})


def test_unknown_preset():
    with pytest.raises(ValueError, match="no preset 'best'"):
        get_preset("best")
    assert Preset(name="own", rig="front").steps == 10

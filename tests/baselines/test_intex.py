"""InTeX on the shared painter."""

import pytest
import torch
from reference import tiny_models
from reference.tiny_meshes import sphere_mesh

from baselines.intex import intex
from texgen.render.cameras import RIGS


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_models.load_sd15(tmp_path_factory.mktemp("models"))


def test_full_size_settings_are_the_published_ones(backbone):
    preset = intex(backbone).preset
    assert (preset.image_size, preset.render_size, preset.texture_size) == (512, 1024, 1024)
    # Published cost: 11 views of 20 guidance pairs, when no view is skipped.
    assert len(RIGS[preset.rig]) * preset.steps == 220
    assert round(preset.steps * preset.refine_strength) == 12


def test_paints_a_mesh_and_counts_its_calls(backbone):
    method = intex(backbone, image_size=64, render_size=64, texture_size=64, steps=1)
    result = method(sphere_mesh(10), "a red cat", 0)
    worked = [view for view in result.views if not view["skipped"]]
    assert len(result.views) == 11 and 2 <= len(worked) <= 11
    assert result.calls == {"unet": len(worked), "controlnet": len(worked)}
    assert bool(result.texture.isfinite().all()) and result.painted.mean() > 0.8
    again = method(sphere_mesh(10), "a red cat", 0)
    assert torch.equal(again.texture, result.texture)


def test_unknown_setting_is_named(backbone):
    with pytest.raises(ValueError, match="no field 'view_count'"):
        intex(backbone, view_count=3)

"""A backbone that lacks a network is refused when the method is made, not after hours of painting."""

import pytest
from reference import tiny_models

from baselines.paint3d import paint3d
from baselines.psd_like import psd_like
from baselines.syncmvd import syncmvd
from baselines.text2tex import text2tex
from baselines.texture import texture


@pytest.fixture(scope="module")
def depth_only(tmp_path_factory):
    backbone = tiny_models.load_sd15_with(tmp_path_factory.mktemp("models"), ("depth",))
    backbone.inpainting = None
    return backbone


@pytest.mark.parametrize(
    ("make", "changes", "sentence"),
    [
        (texture, {}, "'texture' needs an inpainting UNet"),
        (texture, {"window_role": "inpaint"}, "role 'inpaint', which the backbone does not have"),
        (text2tex, {}, 'needs an inpainting UNet.*atlas_role "none"'),
        (text2tex, {"atlas_role": "inpaint"}, "role 'inpaint'"),
        (paint3d, {}, "role 'inpaint'"),
        (paint3d, {"also_controls": {}}, "role 'uv_position'.*uv_stage \"inpaint\""),
        (paint3d, {"also_controls": {}, "uv_role": "depth"}, "role 'tile'"),
        (syncmvd, {"control_role": "depht"}, r"role 'depht'.*\(it has: depth"),
    ],
)
def test_what_is_missing_is_named_at_once(depth_only, make, changes, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        make(depth_only, **changes)
    assert "\n" not in str(caught.value)


def test_what_is_not_asked_for_may_be_missing(depth_only):
    texture(depth_only, window=())
    text2tex(depth_only, atlas_role="none")
    paint3d(depth_only, also_controls={}, uv_stage="none")
    paint3d(depth_only, also_controls={}, uv_role="depth", uv_stage="inpaint")
    syncmvd(depth_only)
    psd_like(depth_only, lambda images, prompts: images.mean((1, 2, 3)))

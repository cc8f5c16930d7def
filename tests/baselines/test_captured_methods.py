"""Every method on the shared core paints the same with captured predictions."""

import pytest
import torch
from reference import tiny_models
from reference.recorders import Rerun

from texgen.diffusion.captured import Captured
from workflow.steps.loading import build_method

SMALL = {"image_size": 64, "render_size": 32, "texture_size": 16}
TWO = {"steps": 3, "rig": "tilted_2view"}
METHODS = {
    "texgen": TWO,
    "intex": TWO,
    "texture": TWO | {"adam_steps": 1, "window_role": "inpaint", "window": (1, 1)},
    "text2tex": TWO | {"rounds": 0, "atlas_role": "none"},
    "paint3d": TWO | {"uv_stage": "none"},
    "syncmvd": {"steps": 3, "latent_texture_size": 16},
    "psd_like": TWO | {"negative_every": 2},
}


def score(images, prompts):
    return images.mean((1, 2, 3))


@pytest.fixture(scope="module")
def depth_inpaint_backbone(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_models.write_sd15(root)
    return tiny_models.load_sd15(root)


@pytest.mark.parametrize("kind", METHODS)
def test_captured_predictions_paint_the_same(full_backbone, depth_inpaint_backbone, ball, kind):
    backbone = depth_inpaint_backbone if kind in ("texgen", "intex") else full_backbone
    changes = SMALL | METHODS[kind] | ({"score": score} if kind == "psd_like" else {})
    method = build_method(kind, backbone, changes)
    plain = method(ball, "a cow", 1)
    backbone.captured = Captured(Rerun())
    try:
        same = method(ball, "a cow", 1)
        replays = backbone.captured.replays
        # Keys of predictions are tuples (guidance, adapter), those of the autoencoder are names.
        predictions = [key for key in backbone.captured._met if isinstance(key[0], tuple)]
    finally:
        backbone.captured = None
    assert torch.equal(plain.texture, same.texture) and plain.calls == same.calls
    # SyncMVD exchanges the layers' attention from step to step, which a record would not see.
    assert replays > 0 and bool(predictions) == (kind != "syncmvd")

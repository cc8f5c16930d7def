"""The optional super-resolution of views, with a stand-in for the package."""

import sys
import types

import pytest
import torch
import torch.nn.functional as F
from reference import tiny_models
from reference.tiny_meshes import sphere_mesh

from texgen.diffusion.upscale import UpscalerError, load_upscaler
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import get_preset
from texgen.painting.views import Derivative

SMALL = {"image_size": 32, "render_size": 64, "texture_size": 16, "steps": 1, "rig": "front_3view"}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    tiny_models.write_sd15(root)
    return tiny_models.load_sd15(root)


@pytest.fixture
def package(monkeypatch):
    """A package whose every checkpoint doubles images and turns them white."""
    seen = []

    class Network:
        def eval(self):
            return self

        def __call__(self, images):
            seen.append(images.shape)
            return torch.ones_like(F.interpolate(images, scale_factor=2)) + 0.5

    class ModelLoader:
        def __init__(self, device):
            self.device = device

        def load_from_file(self, path):
            return Network()

    module = types.ModuleType("spandrel")
    module.ModelLoader = ModelLoader
    monkeypatch.setitem(sys.modules, "spandrel", module)
    load_upscaler.cache_clear()
    yield seen
    load_upscaler.cache_clear()


def test_views_are_upscaled_in_inference_and_not_in_training(backbone, package, tmp_path):
    weights = tmp_path / "x2.pth"
    weights.touch()
    method = TexGen(backbone, get_preset("texgen", **SMALL, upscaler=str(weights)))
    result = method(sphere_mesh(10), "a cat", 0)
    assert package and set(package) == {(1, 3, 32, 32)}
    assert float(result.texture[:, result.painted[0] > 0].min()) > 0.99
    count = len(package)
    with torch.no_grad():
        method.paint(sphere_mesh(10), "a cat", 0, Derivative(soft=True))
    assert len(package) == count


def test_what_is_missing_is_said(backbone, package, tmp_path, monkeypatch):
    method = TexGen(backbone, get_preset("texgen", **SMALL, upscaler=str(tmp_path / "none.pth")))
    with pytest.raises(UpscalerError, match="there is no file .*none.pth"):
        method(sphere_mesh(10), "a cat", 0)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    load_upscaler.cache_clear()
    with pytest.raises(UpscalerError, match=r"texreward\[upscale\]"):
        method(sphere_mesh(10), "a cat", 0)

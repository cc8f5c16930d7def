"""The Python interface: its examples run, results are as painted, mistakes are sentences."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference.tiny_models import write_miniature

import texreward
from rewards.base import TextureReward
from texgen.errors import PlainError
from texgen.mesh.export import load_texture_png
from texreward.models import backbone_of
from texreward.own import PACKAGES
from workflow.config.sheets import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SIZES = {"image_size": 32, "render_size": 32, "texture_size": 32, "steps": 2, "rig": "front_3view"}
MODULES = ["", ".meshes", ".painting", ".result", ".scoring", ".tuning"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    """Folder of a tiny random model with its ControlNets."""
    return Path(write_miniature(tmp_path_factory.mktemp("models") / "miniature")[0])


@pytest.fixture(scope="module")
def painter(tiny):
    return texreward.load(tiny, device="cpu", guidance_scale=2.0, **SIZES)


@pytest.mark.parametrize("name", MODULES)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = import_module(f"texreward{name}")
    failed, tried = doctest.testmod(module)
    assert tried and not failed


def test_it_imports_without_torch_and_offers_what_it_says():
    code = "import sys, texreward; assert 'torch' not in sys.modules; print(*texreward.__all__)"
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.split() == texreward.__all__, done.stderr
    assert all(getattr(texreward, name) for name in texreward.__all__)
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        texreward.paint  # noqa: B018
    packages = {path.parent.name for path in ROOT.glob("*/py.typed")} - {"texreward"}
    assert set(PACKAGES) == packages


def test_a_texture_is_saved_and_rendered_as_it_was_painted(painter, tmp_path):
    calls = []
    result = painter.texture("procedural:trefoil", "a red knot", 3, lambda *at: calls.append(at))
    assert calls[-1] == (3, 3, 2, 2) and result.prompt == "a red knot" and result.seed == 3
    again = painter.texture(result.mesh, "a red knot", 3)
    assert torch.equal(result.texture, again.texture)
    assert not torch.equal(result.texture, painter.texture(result.mesh, "a red knot", 4).texture)
    path = result.save(tmp_path / "new" / "texture.png")
    assert torch.allclose(load_texture_png(path), result.texture, atol=1 / 255)
    assert result.painted.shape == (1, 32, 32) and result.painted.max() == 1
    images = result.render((90.0, 10.0), size=24, background=(0, 0, 1))
    assert torch.allclose(images[0, :, 0, 0], torch.tensor([0.0, 0.0, 1.0]))
    assert len(result.render("evaluation", size=8)) > 3
    with pytest.raises(ValueError, match="give a name that ends in .glb"):
        result.save(tmp_path / "knot.stl")


def test_a_tuned_model_paints_otherwise_and_is_loaded_again(painter, tiny, tmp_path):
    class Grey:
        name, higher_is_better, typical_range, version = "grey", True, (-0.25, 0.0), "1"

        def __call__(self, textured):
            return -(textured.texture - 0.5).square().mean()

    assert isinstance(Grey(), TextureReward)
    mesh, prompts, settings = texreward.read_mesh("procedural:trefoil"), ["a knot", "a ring"], SIZES
    training = {"steps": 2, "learning_rate": 0.05, "validation_samples": 1, "validate_every": 1}
    tuned = texreward.tune(Grey(), [mesh], prompts, tmp_path, tiny, settings, **training)
    rows = (tmp_path / "history.jsonl").read_text().splitlines()
    assert len(rows) == 3 and '"heldout_reward"' in rows[0]
    plain = texreward.load(tiny, **settings).texture(mesh, "a knot").texture
    painted = tuned.texture(mesh, "a knot").texture
    assert not torch.equal(plain, painted)
    assert torch.equal(
        texreward.load(tiny, adapter=tmp_path, **settings).texture(mesh, "a knot").texture, painted
    )
    unmoved = (
        texreward.load(tiny, adapter=tmp_path, lora_scale=0.0, **settings).texture(mesh, "a knot").texture
    )
    assert torch.allclose(unmoved, plain, atol=1e-4)


def test_images_of_every_kind_are_scored_alike(tmp_path):
    random = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
    eight_bits = (random * 255).round().to(torch.uint8)
    picture = Image.fromarray(np.ascontiguousarray(eight_bits.permute(1, 2, 0).numpy()))
    picture.save(tmp_path / "one.png")
    tensor = eight_bits.float() / 255
    images = [tmp_path / "one.png", picture, tensor, torch.ones(3, 24, 60)]
    prompts = ["a red one", "a red one", "a red one", "a white wall"]
    found = texreward.score(images, prompts, metrics=["clipscore"])["clipscore"]
    assert found.shape == (4,) and torch.allclose(found[:3], found[0], atol=1e-5) and found[3] != found[0]
    alone = texreward.score(tensor, "a red one", metrics=["clipscore"])["clipscore"]
    assert torch.allclose(alone, found[:1], atol=1e-5)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: texreward.load("nowhere"), "there is no folder 'nowhere'"),
        (lambda: texreward.load("miniature", stepps=3), "did you mean 'steps'"),
        (lambda: texreward.load("miniature", steps=0), "load: steps is 0"),
        (lambda: texreward.load("miniature", control_role="none"), "control_role"),
        (lambda: texreward.load("miniature", adapter="nowhere"), "There is no model 'nowhere'; give"),
        (lambda: texreward.load("miniature", adapter="a/b"), "load: adapter is 'a/b'"),
        (lambda: texreward.load("miniature", adapter="x", lora_scale=11), "load: lora_scale is 11"),
        (lambda: texreward.load("miniature", blending="after"), "load.blending is ignored"),
        (lambda: texreward.read_mesh("none.obj"), "There is no mesh file 'none.obj'"),
        (lambda: texreward.score([], "red"), "there is no image"),
        (lambda: texreward.score(torch.ones(1, 3, 8, 8), "red", metrics=["magic"]), "allowed are aesthetic"),
        (lambda: texreward.score(torch.ones(3, 3, 8, 8), ["red", "blue"]), "3 images but 2 prompts"),
        (lambda: texreward.score(2 * torch.ones(3, 8, 8), "red"), "values of an image are 2 to 2"),
        (lambda: texreward.score(torch.ones(8, 8), "red"), "give [3, H, W]"),
        (lambda: texreward.score(3, "red"), "is of type int"),
        (lambda: texreward.tune("magic", ["procedural:trefoil"], ["red"], "x"), "there is no metric 'magic'"),
        (lambda: texreward.tune("alignment", [], ["red"], "x"), "meshes must be a list"),
        (lambda: texreward.tune("alignment", ["procedural:trefoil"], "red", "x"), "prompts must be a list"),
        (lambda: texreward.tune("alignment", ["a"], ["b"], "x", step=3), "did you mean 'steps'"),
        (lambda: texreward.tune(max, ["a"], ["b"], "x"), "the reward has no name"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(call, part):
    with pytest.raises(ValueError) as caught:
        call()
    assert part in str(caught.value) and "\n" not in str(caught.value)


def test_control_networks_come_from_the_folder_or_the_paper(tiny, tmp_path):
    assert set(backbone_of(tiny, None, half=True).controlnets) == {"depth_inpaint"}
    (tmp_path / "other").mkdir()
    other = backbone_of(tmp_path / "other", None, half=True)
    assert other.dtype == "float16" and other.controlnets["depth_inpaint"].hub
    hub = backbone_of("someone/model", {"depth_inpaint": str(tiny)}, half=False)
    assert hub.hub == "someone/model" and hub.revision is None and hub.dtype == "float32"
    assert hub.controlnets["depth_inpaint"].folder == str(tiny)
    with pytest.raises(ConfigError, match="there is no folder"):
        backbone_of("a/b/c", None, half=False)


def test_a_hub_that_cannot_be_reached_is_one_sentence(monkeypatch):
    """No traceback of the hub's client: what failed and what to do."""

    def unreachable(*_, **__):
        raise OSError("[Errno -2] Name or service not known")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    with pytest.raises(FileNotFoundError) as caught:
        texreward.load("somebody/some-model", device="cpu")
    said = str(caught.value)
    assert said.startswith("load: ") and "cannot be asked for its files" in said and "\n" not in said
    assert said.endswith("connect to the network, or give a folder of this machine in diffusers layout.")
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: texreward.load(device="mps"), "load: device is 'mps'; give cpu or cuda."),
        (lambda: texreward.score("none.png", "a cow"), "There is no image file 'none.png'"),
        (lambda: texreward.load(stepz=3), "stepz is not a known field (did you mean 'steps'?)"),
    ],
)
def test_mistakes_of_a_call_are_sentences(call, said):
    with pytest.raises(PlainError) as caught:
        call()
    assert said in str(caught.value) and len(str(caught.value)) < 200


def test_loading_is_quiet_and_leaves_the_library_as_it_was(tiny, capsys):
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled(), logging.get_verbosity()
    texreward.load(tiny, device="cpu", **SIZES)
    assert capsys.readouterr().err == ""
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == before

"""Rewards and methods in a file of the user's: found, checked, run, and part of the identity of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reference.tiny_meshes import sphere_mesh
from reference.tiny_models import load_miniature

from rewards.base import ImageScore, Textured, TextureReward
from workflow.config.configuration import parse_config
from workflow.config.metrics import metric_kind
from workflow.config.sheets import ConfigError
from workflow.jobs.plan import Plan
from workflow.steps.finetune import build_reward
from workflow.steps.loading import build_method
from workflow.steps.scorers import load_metric

ROOT = Path(__file__).resolve().parents[2]
REWARD = """
class Redness:
    \"\"\"How much redder than green a texture is.\"\"\"

    higher_is_better = False

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def __call__(self, textured):
        texture = textured.texture
        return self.strength * (texture[0] - texture[1]).mean()


class Brightness:
    def __call__(self, images, prompts):
        return images.mean(dim=(1, 2, 3))
"""
METHOD = """
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import PRESETS


def twoview(backbone, steps: int = 2, texture_size: int = 256, **more):
    preset = PRESETS["texgen"].replace(rig="tilted_2view", steps=steps, texture_size=texture_size, **more)
    return TexGen(backbone, preset)
"""


@pytest.fixture
def data(tmp_path, monkeypatch) -> dict:
    monkeypatch.chdir(ROOT)
    (tmp_path / "my_reward.py").write_text(REWARD)
    (tmp_path / "my_method.py").write_text(METHOD)
    return {
        "title": "Mine",
        "backbone": {
            "folder": "models/miniature/backbone",
            "controlnets": {
                "depth_inpaint": {"folder": "models/miniature/backbone/controlnet_depth_inpaint"}
            },
        },
        "presets": {"texgen": {"texture_size": 256}},
        "metrics": {
            "red": {
                "kind": "custom",
                "file": f"{tmp_path}/my_reward.py:Redness",
                "arguments": {"strength": 2.0},
            },
            "bright": {"kind": "custom", "file": f"{tmp_path}/my_reward.py:Brightness", "judges": "renders"},
        },
        "models": {"tuned": {"rewards": [{"metric": "red"}, {"metric": "bright", "size": 16}], "steps": 1}},
        "methods": {
            "pretrained": {"kind": "texgen"},
            "tuned": {"kind": "texgen", "model": "tuned"},
            "mine": {"kind": "custom", "file": f"{tmp_path}/my_method.py:twoview", "arguments": {"steps": 3}},
        },
    }


def test_a_reward_in_a_file_scores_and_trains(data):
    config = parse_config(data)
    red, bright = (load_metric(config.metrics[name], "cpu") for name in ("red", "bright"))
    assert isinstance(red, TextureReward) and isinstance(bright, ImageScore)
    texture = torch.zeros(3, 8, 8)
    texture[0] = 0.5
    textured = Textured(sphere_mesh(4), texture, torch.ones(1, 8, 8), "a ball")
    assert float(red(textured)) == pytest.approx(1.0)
    assert not metric_kind(config.metrics["red"]).higher_is_better
    assert metric_kind(config.metrics["bright"]).higher_is_better
    assert config.metrics["red"].label == "Redness"
    plan = Plan(config)
    assert plan.score_job("red").protocol is None and plan.score_job("bright").protocol.size == 224
    reward = build_reward(plan.train_job("tuned"), "cpu")
    texture.requires_grad_(True)

    class Item:
        mesh, prompt, geometry = sphere_mesh(4), "a ball", None

    reward(texture, torch.ones(1, 8, 8), Item).backward()
    assert texture.grad[0].mean() < 0, "lower is better for it"


def test_a_method_in_a_file_paints(data, tmp_path):
    small = {"steps": 1, "image_size": 32, "render_size": 32, "texture_size": 16, "guidance_scale": 1.0}
    data["methods"]["mine"]["arguments"] |= small | {"texture_size": 256}
    job = Plan(parse_config(data)).texture_job("mine")
    assert job.preset["steps"] == 1 and set(job.backbone.controlnets) == {"depth_inpaint"}
    backbone = load_miniature(tmp_path / "models")
    method = build_method(job.kind, backbone, job.preset | small, file=job.file)
    with torch.no_grad():
        result = method(sphere_mesh(6), "a ball", 0)
    assert result.texture.shape == (3, 16, 16) and len(result.views) == 2


def test_its_code_is_part_of_the_identity_and_its_comments_are_not(data, tmp_path):
    plan = Plan(parse_config(data))
    jobs = {
        "score": plan.score_job("red"),
        "train": plan.train_job("tuned"),
        "texture": plan.texture_job("mine"),
    }
    before = {name: job.code() for name, job in jobs.items()}
    untouched = plan.texture_job("pretrained").code()

    def after(file: str, old: str, new: str) -> set[str]:
        from workflow.code_identity import read_source

        path = tmp_path / file
        path.write_text(path.read_text().replace(old, new))
        read_source.cache_clear()
        assert plan.texture_job("pretrained").code() == untouched
        return {name for name, job in jobs.items() if job.code() != before[name]}

    assert after("my_reward.py", "class Bright", "# a comment\nclass Bright") == set()
    assert after("my_reward.py", "- texture[1]", "- texture[2]") == {"score", "train"}
    assert after("my_method.py", "tilted_2view", "front_3view") == {"score", "train", "texture"}


@pytest.mark.parametrize(
    ("block", "field", "value", "message"),
    [
        ("metrics.red", "file", "none.py:Redness", "none.py cannot be read"),
        ("metrics.red", "file", "Redness", "metrics.red.file is 'Redness'"),
        ("metrics.red", "arguments", {"strenght": 1.0}, "arguments.strenght is not an argument .* strength"),
        (
            "metrics.red",
            "arguments",
            {"strength": "much"},
            "arguments.strength is 'much'; input should be a valid",
        ),
        ("methods.mine", "arguments", {"steps": "many"}, "methods.mine: arguments.steps is 'many'"),
        (
            "methods.mine",
            "preset",
            {"steps": 2},
            "methods.mine.preset.steps does nothing for a method of kind custom",
        ),
        ("methods.mine", "file", None, "methods.mine.file names the code"),
        (
            "methods.pretrained",
            "arguments",
            {"steps": 2},
            "methods.pretrained.arguments: .* its settings in preset",
        ),
        ("methods.mine", "arguments", {"texture_size": 64}, "texture_size must be one"),
    ],
)
def test_mistakes_are_named_before_any_job(block, field, value, message, data):
    kind, name = block.split(".")
    data[kind][name][field] = value
    with pytest.raises(ConfigError, match=message):
        parse_config(data, "x.yaml")


def test_a_name_that_is_not_in_the_file_is_told_what_is(data):
    data["metrics"]["red"]["file"] = data["metrics"]["red"]["file"].replace("Redness", "Blueness")
    with pytest.raises(ConfigError, match="no class or function 'Blueness'; it has Redness, Brightness"):
        parse_config(data, "x.yaml")

"""Configuration of fine-tuning: what it allows, what is held out, and what is built from it."""

from __future__ import annotations

import pytest

from rewards.base import training_reward
from texgen.finetune.d3po import D3PO
from texgen.finetune.direct import Direct
from texgen.finetune.gradients import Exact, LowVariance
from texgen.finetune.learned_cameras import load_cameras, save_cameras
from texgen.finetune.nabla import Nabla
from texgen.render.cameras import Cameras
from workflow.config.training import TunedModel
from workflow.jobs.assets import Asset, held_out
from workflow.jobs.jobs import FREE
from workflow.steps.finetune import build_algorithm, judged

MODEL = {"rewards": [{"metric": "alignment"}], "steps": 1}


def training(**fields):
    return TunedModel.model_validate({**MODEL, **fields})


def reward(texture, painted, item):
    return texture.mean()


def test_the_algorithm_that_is_named_is_built():
    assert build_algorithm(training(), reward) == Direct(reward, build_algorithm(training(), reward).gradient)
    exact = build_algorithm(
        training(gradient={"strategy": "exact", "through_conditioning": True}, kl_weight=0.5, target=2.0),
        reward,
    )
    assert exact == Direct(reward, Exact(), target=2.0, kl_weight=0.5, detach_conditioning=False)
    copies = build_algorithm(training(gradient={"strategy": "low_variance", "copies": 3}), reward)
    assert copies.gradient == LowVariance(3)
    nabla = build_algorithm(training(algorithm="nabla", nabla={"beta": 5.0, "draws": 2}), reward)
    assert nabla == Nabla(reward, beta=5.0, draws=2)
    d3po = build_algorithm(training(algorithm="d3po", d3po={"margin": 0.5}), reward)
    assert d3po == D3PO(reward, margin=0.5)


def test_cameras_are_learned_by_direct_only():
    assert training(learn_cameras={}).learn_cameras.limit == 30.0
    with pytest.raises(ValueError, match="learn_cameras needs the algorithm direct; nabla has no gradient"):
        training(algorithm="nabla", learn_cameras={})
    with pytest.raises(ValueError, match="through_conditionin"):
        training(gradient={"through_conditionin": True})


def test_previews_need_held_out_pairs_and_start_no_training_anew():
    assert training().preview_every is None and training(preview_every=5).preview_every == 5
    with pytest.raises(
        ValueError, match="preview_every shows held-out pairs; give validation_samples at least 1"
    ):
        training(preview_every=5, validation_samples=0)
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        training(preview_every=0)
    assert "preview_every" in FREE


def test_held_out_pairs_differ_in_mesh_and_prompt():
    assets = [Asset(mesh, prompt, prompt, 0) for prompt in ("red", "blue", "wood") for mesh in ("a", "b")]
    chosen = held_out(assets, 2)
    assert [(asset.mesh, asset.prompt_id) for asset in chosen] == [("a", "red"), ("b", "blue")]
    assert len(held_out(assets, 5)) == 3  # at most half
    assert held_out(assets[:1], 2) == [] and held_out(assets, 0) == []


def test_items_that_a_reward_cannot_judge_are_left_out(capsys):
    class Picky:
        name, higher_is_better = "picky", True

        def check(self, mesh, geometry):
            from rewards.base import NotApplicable

            if mesh is None:
                raise NotApplicable("no mirror plane")

    class Item:
        prompt, geometry = "a cow", None

        def __init__(self, mesh):
            self.mesh, self.name = mesh, f"{mesh}--a cow"

    items = [Item("cow"), Item(None)]
    assert judged(training_reward(Picky()), items) == items[:1]
    assert "left out None--a cow: no mirror plane" in capsys.readouterr().out


def test_learned_cameras_survive_their_file(tmp_path):
    save_cameras(tmp_path, Cameras.orbit([5.0, 95.0], [1.5, -2.5]))
    cameras = load_cameras(tmp_path)
    assert cameras.azimuth.tolist() == [5.0, 95.0] and cameras.elevation.tolist() == [1.5, -2.5]
    assert cameras.distance.tolist() == [2.5, 2.5]

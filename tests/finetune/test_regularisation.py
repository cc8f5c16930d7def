"""What holds a tuned model back: divergence, the best adapter, early stop; and learned cameras."""

import io
import json

import pytest
import torch
from reference.tiny_painter import HELDOUT, ITEMS, redness, tiny_painter

from texgen.diffusion.sampler import transition
from texgen.finetune.algorithms import Sample, divergence, noisy_steps
from texgen.finetune.differentiation import Recording
from texgen.finetune.direct import Direct
from texgen.finetune.gradients import LastK
from texgen.finetune.history import TrainingProgress
from texgen.finetune.items import HeldOut
from texgen.finetune.learned_cameras import CameraRates, LearnedCameras, load_cameras, save_cameras
from texgen.finetune.nabla import Nabla
from texgen.finetune.settings import TrainSettings
from texgen.finetune.trainer import Trainer, TrainingError
from texgen.painting.scene import Viewpoints
from texgen.render.cameras import Cameras


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def painter(models):
    return tiny_painter(models)


def train(painter, folder, reward=redness, scores=None, kl_weight=0.0, **settings):
    settings = TrainSettings(**{"steps": 2, "learning_rate": 1e-2, **settings})
    trainer = Trainer(
        painter,
        Direct(reward, LastK(1, replay=False), kl_weight=kl_weight),
        ITEMS,
        settings,
        HeldOut(HELDOUT, scores or {}),
        progress=TrainingProgress(settings.steps, io.StringIO()),
    )
    return trainer.run(folder), trainer


def test_divergence_is_the_kl_of_two_gaussians(models):
    painter = tiny_painter(models, torch.float64)
    recording = Recording(LastK(1).evaluations)
    with torch.no_grad():
        Sample(ITEMS[0], 3).paint(painter, recording)
    record = recording.views[0]
    assert noisy_steps(record.scheduler) == [0, 1]  # the last step of three ends clean
    arguments = (painter.backbone, record.scheduler, record.chain, record.latents[1], 1)
    with torch.no_grad():
        mean, spread = transition(*arguments)
        painter.backbone.set_lora_scale(0.0)
        reference, _ = transition(*arguments)
        painter.backbone.set_lora_scale(1.0)
    normal = torch.distributions.Normal
    expected = torch.distributions.kl_divergence(normal(mean, spread), normal(reference, spread)).mean()
    found = divergence(painter.backbone, record, 1)
    torch.testing.assert_close(found.detach(), expected)
    assert found > 0 and found.requires_grad
    painter.backbone.set_lora_scale(0.0)
    assert float(divergence(painter.backbone, record, 1).detach()) == 0


def test_a_weight_on_the_divergence_pulls_towards_the_untuned_model(models, tmp_path):
    constant = lambda texture, painted, item: texture.mean() * 0.0  # noqa: E731
    result, _ = train(
        tiny_painter(models), tmp_path, constant, kl_weight=1.0, steps=4, holdout_every=4, keep_best=False
    )
    assert result.rows[-1]["heldout_kl"] < result.rows[0]["heldout_kl"]
    assert all(row["kl"] > 0 and row["loss"] == pytest.approx(row["kl"]) for row in result.rows[1:])


def falling(start=0.0):
    """A reward that falls with every held-out measurement, whatever is painted."""
    calls = {"heldout": start}

    def judge(texture, painted, item):
        if item in HELDOUT:
            calls["heldout"] -= 1.0
        return texture.mean() + calls["heldout"]

    return judge


def test_the_best_adapter_is_saved_and_training_stops_early(models, painter, tmp_path):
    before = [parameter.detach().clone() for parameter in painter.backbone.lora_parameters()]
    result, trainer = train(painter, tmp_path, falling(), steps=9, holdout_every=1, patience=2)
    assert (result.steps, result.saved_step) == (2, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, painter.backbone.lora_parameters(), strict=True))
    painter = tiny_painter(models)
    result, _ = train(painter, tmp_path, falling(), steps=2, holdout_every=1, keep_best=False)
    assert (result.steps, result.saved_step) == (2, 2)
    moved = painter.backbone.lora_parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, moved, strict=True))


def test_other_scores_are_watched(painter, tmp_path):
    scores = {"blue": lambda texture, painted, item: texture[2].mean()}
    result, _ = train(painter, tmp_path, steps=1, scores=scores)
    assert 0 <= result.rows[0]["heldout_scores"]["blue"] <= 1
    assert result.rows[0]["heldout_kl"] > 0


def test_cameras_move_and_are_used_again(painter, tmp_path):
    result, trainer = train(
        painter,
        tmp_path,
        steps=2,
        cameras=CameraRates(2.0, 1.0, limit=3.0),
        views_per_step=1,
        keep_best=False,
    )
    azimuth, elevation = trainer.cameras.azimuth.detach(), trainer.cameras.elevation.detach()
    assert azimuth.abs().max() > 0.5 and elevation.abs().max() > 0.2 and azimuth.abs().max() <= 3.0
    stored = load_cameras(tmp_path)
    torch.testing.assert_close(stored.azimuth, painter.cameras.azimuth + azimuth)
    torch.testing.assert_close(stored.elevation, painter.cameras.elevation + elevation)
    assert result.rows[-1]["details"]["azimuth_offset"] == pytest.approx(azimuth.tolist(), abs=1e-3)
    with torch.no_grad():
        moved, _ = painter.paint(ITEMS[0].mesh, "a vase", 0, viewpoints=Viewpoints(stored))
        still, _ = painter.paint(ITEMS[0].mesh, "a vase", 0)
        painter.cameras = stored
        again, _ = painter.paint(ITEMS[0].mesh, "a vase", 0)
    assert torch.equal(moved, again) and not torch.equal(moved, still)


def test_offsets_stay_in_their_bounds():
    learned = LearnedCameras(Cameras.orbit([0.0, 90.0], [80.0, -89.9]), CameraRates(limit=20.0))
    with torch.no_grad():
        learned.azimuth.copy_(torch.tensor([50.0, -5.0]))
        learned.elevation.copy_(torch.tensor([15.0, -5.0]))
    learned.clamp()
    assert learned.azimuth.tolist() == [20.0, -5.0]
    assert learned.elevation.tolist() == pytest.approx([9.0, 0.0], abs=1e-5)


def test_stored_cameras_are_checked(tmp_path):
    assert load_cameras(tmp_path) is None
    path = save_cameras(tmp_path, Cameras.orbit([1.0, 2.0], 3.0))
    assert load_cameras(tmp_path).azimuth.tolist() == [1.0, 2.0]
    path.write_text(json.dumps({"azimuth": [1.0]}))
    with pytest.raises(ValueError, match="not a file of cameras"):
        load_cameras(tmp_path)


def test_settings_are_checked(painter):
    with pytest.raises(ValueError, match="patience must be at least 1"):
        TrainSettings(patience=0)
    with pytest.raises(ValueError, match="needs held-out measurements"):
        TrainSettings(patience=1, holdout_every=0)
    with pytest.raises(ValueError, match="limit must be positive"):
        CameraRates(limit=0.0)
    with pytest.raises(TrainingError, match="no gradient for cameras"):
        Trainer(painter, Nabla(redness), ITEMS, TrainSettings(cameras=CameraRates()))

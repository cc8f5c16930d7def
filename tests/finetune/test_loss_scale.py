"""Loss scaling: exact where nothing overflows, taken back where something does, kept across a kill."""

import io

import pytest
import torch

from texgen.finetune.checkpointing import Resumable
from texgen.finetune.direct import Direct
from texgen.finetune.gradients import LastK
from texgen.finetune.history import TrainingProgress
from texgen.finetune.loss_scale import FIRST, GROWS_AFTER, MOST, LossScale
from texgen.finetune.settings import TrainSettings
from texgen.finetune.trainer import Trainer
from texgen.painting.pipeline import TexGen

from .test_trainer import ITEMS, PRESET, load_miniature, redness


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return lambda: load_miniature(root)


def half_gradient(scale):
    """A gradient of 1e-9 that has to pass a float16 product."""
    parameter = torch.nn.Parameter(torch.ones(4))

    def run(factor):
        ((parameter.half() * 2).float().sum() * 1e-9 * factor).backward()

    scale.backward(run, [parameter])
    return parameter.grad


def test_without_a_scale_float16_loses_the_gradient_and_with_one_it_does_not():
    assert not half_gradient(LossScale(1.0)).any()
    torch.testing.assert_close(half_gradient(LossScale(MOST)), torch.full((4,), 2e-9), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("dtype", "value"), [(torch.float16, FIRST), (torch.bfloat16, 1.0), (torch.float32, 1.0)]
)
def test_only_float16_has_a_scale(dtype, value):
    scale = LossScale.of(dtype)
    assert (scale.value, scale.moves) == (value, value > 1)


def test_an_overflow_halves_the_scale_until_the_step_holds():
    parameter, given = torch.nn.Parameter(torch.zeros(2)), []

    def run(factor):
        given.append(factor)
        (parameter * factor * (torch.inf if factor > 256 else 3.0)).sum().backward()

    scale = LossScale(1024.0, steps=7)
    scale.backward(run, [parameter])
    assert given == [1024.0, 512.0, 256.0]
    assert torch.equal(parameter.grad, torch.full((2,), 3.0))
    assert (scale.value, scale.steps) == (256.0, 1)


def test_what_is_not_finite_at_scale_1_is_left_to_the_caller():
    parameter = torch.nn.Parameter(torch.zeros(1))
    scale = LossScale(2.0)
    scale.backward(lambda factor: (parameter * torch.nan).sum().backward(), [parameter])
    assert scale.value == 1.0
    assert parameter.grad.isnan().all()


def test_the_scale_grows_after_steps_that_held_up_to_a_limit():
    parameter = torch.nn.Parameter(torch.zeros(1))
    scale = LossScale(MOST / 2)
    seen = []
    for _ in range(3 * GROWS_AFTER):
        scale.backward(lambda factor: (parameter * factor).sum().backward(), [parameter])
        seen.append(scale.value)
    assert seen[GROWS_AFTER - 2] == MOST / 2
    assert set(seen[GROWS_AFTER - 1 :]) == {MOST}


def trained(models, folder, value, steps=2, checkpoint=None):
    backbone = models()
    backbone.add_lora(rank=2)
    settings = TrainSettings(steps=steps, learning_rate=1e-2, accumulate=2, checkpoint_every=1)
    trainer = Trainer(
        TexGen(backbone, PRESET),
        Direct(redness, LastK(1)),
        ITEMS[:1],
        settings,
        checkpoint=None if checkpoint is None else Resumable(checkpoint),
        progress=TrainingProgress(steps, io.StringIO()),
    )
    if value is not None:
        trainer.scale = LossScale(value)
    trainer.run(folder)
    return trainer


def test_training_with_a_scale_equals_training_without_to_the_bit(models, tmp_path):
    plain, scaled = (trained(models, tmp_path / str(value), value) for value in (1.0, 4096.0))
    for one, other in zip(plain.adapter, scaled.adapter, strict=True):
        assert torch.equal(one, other)
    assert scaled.scale.steps == 2


def test_a_resumed_run_goes_on_with_the_scale_that_it_had(models, tmp_path):
    trained(models, tmp_path / "a", 512.0, steps=2, checkpoint=tmp_path / "state")
    on = trained(models, tmp_path / "a", None, steps=3, checkpoint=tmp_path / "state")
    assert (on.scale.value, on.scale.steps) == (512.0, 3)

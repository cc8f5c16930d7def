"""A training process that is really killed (SIGKILL), and continued by another process bit for bit."""

import io
import multiprocessing
import os
import signal

import torch
from reference.tiny_painter import HELDOUT, ITEMS, redness, tiny_painter

from texgen.finetune.checkpointing import Resumable
from texgen.finetune.direct import Direct
from texgen.finetune.gradients import LastK
from texgen.finetune.history import TrainingProgress, read_history
from texgen.finetune.items import HeldOut
from texgen.finetune.learned_cameras import CameraRates
from texgen.finetune.settings import TrainSettings
from texgen.finetune.trainer import Trainer

SETTINGS = TrainSettings(
    steps=3,
    learning_rate=1e-2,
    warmup=1,
    decay=True,
    checkpoint_every=1,
    holdout_every=2,
    cameras=CameraRates(0.5, 0.5),
)


def train(models, folder, reward):
    painter = tiny_painter(models)
    trainer = Trainer(
        painter,
        Direct(reward, LastK(1, replay=False)),
        ITEMS,
        SETTINGS,
        HeldOut(HELDOUT),
        Resumable(folder / "state.pt"),
        progress=TrainingProgress(3, io.StringIO()),
    )
    result = trainer.run(folder)
    return result, [parameter.detach().clone() for parameter in trainer.parameters]


def killed_child(models, folder, calls):
    """Trains until the reward is asked for the given time, then dies without any clean-up."""
    torch.set_num_threads(1)
    asked = []

    def deadly(texture, painted, item):
        asked.append(item)
        if len(asked) == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return redness(texture, painted, item)

    deadly.__name__ = "redness"
    train(models, folder, deadly)


def test_a_killed_process_is_continued_bit_for_bit(tmp_path):
    models = tmp_path / "models"
    tiny_painter(models)  # written before the child starts
    cut, whole = tmp_path / "cut", tmp_path / "whole"
    for folder in (cut, whole):
        folder.mkdir()
    # A held-out measurement, two steps, another measurement; the fifth judgement is in step 3.
    process = multiprocessing.get_context("fork").Process(target=killed_child, args=(models, cut, 5))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert not (cut / "pytorch_lora_weights.safetensors").exists()
    assert [row["step"] for row in read_history(cut / "history.jsonl")] == [0, 1, 2]
    resumed, ours = train(models, cut, redness)
    expected, theirs = train(models, whole, redness)
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    changing = ("seconds", "peak_memory_bytes")
    for mine, other in zip(resumed.rows, expected.rows, strict=True):
        assert {k: v for k, v in mine.items() if k not in changing} == {
            k: v for k, v in other.items() if k not in changing
        }
    for name in ("cameras.json",):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()

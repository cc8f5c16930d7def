"""Pictures of held-out textures while a model is trained: where they lie, and that they change nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from reference.tiny_painter import HELDOUT, ITEMS, redness, tetrahedron, tiny_painter

from texgen.finetune.direct import Direct
from texgen.finetune.gradients import LastK
from texgen.finetune.history import TrainingProgress
from texgen.finetune.items import HeldOut, TrainingItem
from texgen.finetune.previews import AZIMUTHS, MOST_ITEMS, Previews, preview_files
from texgen.finetune.settings import TrainSettings
from texgen.finetune.trainer import Trainer

STEPS = 3


def train(folder, previews=None, heldout=HELDOUT, **settings):
    """Rows without what no two runs share, and the adapter."""
    options = TrainSettings(steps=STEPS, learning_rate=1e-2, **{"holdout_every": 2, **settings})
    painter = tiny_painter(folder / "models")
    silent = TrainingProgress(STEPS, io.StringIO())
    trainer = Trainer(painter, Direct(redness, LastK(1)), ITEMS, options, HeldOut(heldout), progress=silent)
    trainer.previews = previews
    rows = trainer.run(folder / "work").rows
    changing = ("seconds", "peak_memory_bytes")
    shared = [{key: value for key, value in row.items() if key not in changing} for row in rows]
    return shared, [each.detach().clone() for each in trainer.adapter]


def test_they_change_no_number_and_lie_where_they_should(tmp_path):
    plain_rows, plain = train(tmp_path / "plain")
    folder = tmp_path / "previews"
    rows, adapter = train(tmp_path / "watched", Previews(folder, 1, size=24))
    assert rows == plain_rows
    assert all(torch.equal(a, b) for a, b in zip(adapter, plain, strict=True))
    assert list(preview_files(folder)) == [0, 1, 2, 3]
    first, last = (np.asarray(Image.open(preview_files(folder)[step]), dtype=int) for step in (0, STEPS))
    assert first.shape == (24, 24 * len(AZIMUTHS), 3)
    assert np.abs(first - last).max() > 0, "the texture has changed"


def test_they_come_at_their_own_steps_also_where_nothing_is_measured(tmp_path):
    folder = tmp_path / "previews"
    train(tmp_path / "run", Previews(folder, 3, size=16), holdout_every=0)
    assert list(preview_files(folder)) == [0, 3]
    train(tmp_path / "alone", Previews(tmp_path / "none", 1, size=16), heldout=())
    assert preview_files(tmp_path / "none") == {}


def test_a_row_per_item_and_no_more_than_fit(tmp_path):
    items = [TrainingItem(tetrahedron(), str(k)) for k in range(MOST_ITEMS + 2)]
    red = torch.zeros(3, 16, 16)
    red[0] = 1
    path = Previews(tmp_path, 5, size=20)(5, [(item, red) for item in items])
    picture = np.asarray(Image.open(path), dtype=int)
    assert path.name == "step-000005.png" and picture.shape == (20 * MOST_ITEMS, 20 * len(AZIMUTHS), 3)
    red_ones = (picture[..., 0] > 200) & (picture[..., 1] < 60)
    assert all(red_ones[20 * k : 20 * k + 20].any() for k in range(MOST_ITEMS))
    with pytest.raises(ValueError, match="must be at least 1 step"):
        Previews(tmp_path, 0)
    (tmp_path / "step-x.png").touch()
    assert list(preview_files(tmp_path)) == [5]

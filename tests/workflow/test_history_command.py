"""`texreward history`: the text it prints and the event files it writes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from texgen.finetune.history import history_row
from texgen.finetune.previews import preview_files
from texgen.mesh.export import save_image
from workflow.cli import history
from workflow.cli import main as cli

NEEDS = pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="tensorboard is not installed"
)


def write(folder: Path, steps: int = 6, **more) -> list[dict]:
    rows = [
        history_row(
            step,
            reward=None if step == 0 else 0.1 * step,
            heldout_reward=0.2 + step if step % 3 == 0 else None,
            seconds=1.5,
            evaluations={"unet": 4},
            details={"azimuth_offset": [0.0, 1.0], "spread": 0.5},
            **more,
        )
        for step in range(steps + 1)
    ]
    folder.mkdir(parents=True)
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return rows


def test_the_measured_steps_are_printed_with_the_time_until_then(tmp_path, capsys):
    write(tmp_path / "tuned", steps=7)
    assert cli.main(["history", str(tmp_path / "tuned")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["step", "reward", "held-out", "KL", "|grad|", "seconds"]
    assert [line[0] for line in lines[1:]] == ["0", "3", "6", "7"]
    assert lines[2] == ["3", "0.3", "3.2", "-", "-", "6"] and lines[-1][-1] == "12"


def test_a_long_history_is_thinned_and_its_last_step_stays(tmp_path):
    rows = write(tmp_path / "tuned", steps=1000)
    lines = history.table(rows).splitlines()
    assert len(lines) <= history.MOST_LINES + 2 and lines[-1].split()[0] == "1000"


def test_what_is_no_history_ends_in_a_sentence(tmp_path, capsys):
    assert cli.main(["history", "nothing"]) == 2
    assert "There is no history of 'nothing'; give a folder with history.jsonl" in capsys.readouterr().err
    (tmp_path / "history.jsonl").write_text("null\n")
    assert cli.main(["history", str(tmp_path)]) == 2
    assert "line 1, is not a row of a training history" in capsys.readouterr().err


def test_without_the_package_its_extra_is_named(tmp_path, capsys, monkeypatch):
    write(tmp_path / "tuned")
    monkeypatch.setattr(history.importlib.util, "find_spec", lambda name: None)
    assert cli.main(["history", str(tmp_path / "tuned"), "--tensorboard", str(tmp_path / "events")]) == 2
    assert "pip install 'texreward[tensorboard]'" in capsys.readouterr().err
    assert not (tmp_path / "events").exists()


def test_all_numbers_are_scalars_and_lists_are_none(tmp_path):
    found = list(history.scalars(write(tmp_path / "tuned", heldout_scores={"aesthetic": 5.0})))
    assert ("training/reward", 0.1, 1) in found and ("heldout/reward", 3.2, 3) in found
    assert ("heldout/aesthetic", 5.0, 0) in found and ("cost/unet", 4.0, 6) in found
    assert ("details/spread", 0.5, 2) in found
    assert not [tag for tag, _, _ in found if "offset" in tag]
    assert sum(tag == "training/reward" for tag, _, _ in found) == 6


@NEEDS
def test_event_files_hold_the_numbers_and_the_pictures(tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = write(tmp_path / "tuned")
    picture = torch.rand(3, 8, 16)
    save_image(tmp_path / "tuned" / "previews" / "step-000003.png", picture)
    assert list(preview_files(tmp_path / "tuned" / "previews")) == [3]
    events = tmp_path / "events"
    for _ in range(2):  # the second call replaces what the first has written
        assert cli.main(["history", str(tmp_path / "tuned"), "--tensorboard", str(events)]) == 0
    assert "tensorboard --logdir" in capsys.readouterr().out
    found = EventAccumulator(str(events / "tuned"), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    values = found.Scalars("training/reward")
    assert [each.step for each in values] == list(range(1, 7))
    np.testing.assert_allclose(
        [each.value for each in values], [row["reward"] for row in rows[1:]], rtol=1e-6
    )
    (image,) = found.Images("heldout/textures")
    assert (image.step, image.width, image.height) == (3, 16, 8)
    (events / "tuned" / "mine.txt").write_text("mine")
    assert cli.main(["history", str(tmp_path / "tuned"), "--tensorboard", str(events)]) == 2
    assert "mine.txt, which is not an event file" in capsys.readouterr().err

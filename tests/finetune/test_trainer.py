"""The training loop on a tiny real painter: against a plain loop, killed and resumed, and its records."""

import io
import json

import pytest
import torch
from reference.tiny_models import load_miniature
from reference.tiny_painter import HELDOUT, ITEMS, redness

from texgen.finetune.checkpointing import CheckpointError, Resumable, _state
from texgen.finetune.differentiation import Differentiation
from texgen.finetune.direct import Direct, direct_loss
from texgen.finetune.evaluations import Evaluations
from texgen.finetune.gradients import Exact, LastK
from texgen.finetune.history import FIELDS, TrainingProgress, read_history
from texgen.finetune.items import HeldOut, item_number, noise_seed, view_subset
from texgen.finetune.settings import TrainSettings
from texgen.finetune.trainer import Trainer, TrainingError
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import PRESETS
from texgen.painting.scene import Viewpoints
from texgen.painting.views import Derivative
from texgen.render.cameras import RIGS

PRESET = PRESETS["texgen"].replace(
    rig="tilted_2view",
    image_size=32,
    render_size=32,
    texture_size=32,
    steps=2,
    guidance_scale=2.0,
    prompt_template="{prompt}",
    negative_prompt="",
)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return lambda: load_miniature(root)


@pytest.fixture
def painter(models):
    backbone = models()
    backbone.add_lora(rank=2)
    return TexGen(backbone, PRESET)


DIRECT = Direct(redness, LastK(1))


def weights(painter):
    return [parameter.detach().clone() for parameter in painter.backbone.lora_parameters()]


def train(painter, folder, reward=redness, items=ITEMS, heldout=(), checkpoint=None, identity="", **settings):
    options = {"gradient": LastK(1, replay=False)}
    for name in ("gradient", "target", "kl_weight"):
        if name in settings:
            options[name] = settings.pop(name)
    scores = settings.pop("scores", {})
    settings = TrainSettings(**{"steps": 2, "learning_rate": 1e-2, **settings})
    silent = TrainingProgress(settings.steps, io.StringIO())
    algorithm = Direct(reward, **options)
    measured = HeldOut(heldout, scores)
    resumable = None if checkpoint is None else Resumable(checkpoint, identity)
    trainer = Trainer(painter, algorithm, items, settings, measured, resumable, silent)
    return trainer.run(folder)


# Rates of two steps: constant; half and all of it while warming up; all, then halfway down the cosine.
@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({}, (1e-2, 1e-2)),
        ({"warmup": 1}, (0.5e-2, 1e-2)),
        ({"decay": True}, (1e-2, 0.5e-2)),
    ],
)
def test_training_equals_a_plain_loop(painter, models, tmp_path, schedule, rates):
    result = train(
        painter,
        tmp_path,
        items=ITEMS[:1],
        steps=2,
        grad_clip=0.01,
        weight_decay=0.1,
        accumulate=2,
        **schedule,
    )
    backbone = models()
    backbone.add_lora(rank=2)
    plain = TexGen(backbone, PRESET)
    parameters = backbone.lora_parameters()
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.1)
    for step in (1, 2):
        optimizer.param_groups[0]["lr"] = rates[step - 1]
        optimizer.zero_grad()
        losses = []
        for part in (0, 1):
            last = Differentiation(1, False, Evaluations())
            texture, painted = plain.paint(
                ITEMS[0].mesh, "a red cow", noise_seed(0, step, part), Derivative(last, soft=True)
            )
            losses.append(-redness(texture, painted, None))
        torch.stack(losses).mean().backward()
        norm = torch.stack([parameter.grad.square().sum() for parameter in parameters]).sum().sqrt()
        for parameter in parameters:
            parameter.grad *= min(1.0, 0.01 / (norm + 1e-6))
        optimizer.step()
        assert result.rows[step]["reward"] == pytest.approx(
            -float(torch.stack(losses).mean().detach()), abs=1e-6
        )
        assert result.rows[step]["grad_norm"] == pytest.approx(float(norm), rel=1e-3)
    for ours, theirs in zip(weights(painter), parameters, strict=True):
        torch.testing.assert_close(ours, theirs.detach(), atol=1e-4, rtol=1e-3)


def test_the_reward_rises_and_held_out_items_are_measured(painter, tmp_path):
    result = train(painter, tmp_path, heldout=HELDOUT, steps=6, holdout_every=3, gradient=LastK(1))
    heldout = [row["heldout_reward"] for row in result.rows]
    assert [value is not None for value in heldout] == [True, False, False, True, False, False, True]
    assert heldout[6] > heldout[0]


def test_a_killed_run_continues_bit_for_bit(models, tmp_path):
    def fresh():
        backbone = models()
        backbone.add_lora(rank=2)
        return TexGen(backbone, PRESET)

    options = {"steps": 4, "checkpoint_every": 2, "holdout_every": 2, "views_per_step": 1, "heldout": HELDOUT}
    whole = fresh()
    expected = train(whole, tmp_path / "whole", checkpoint=tmp_path / "whole.pt", **options)

    calls = []

    def interrupted(texture, painted, item):
        calls.append(item)
        if len(calls) == 6:  # two held-out measurements and three steps are done, the fourth is under way
            raise KeyboardInterrupt
        return redness(texture, painted, item)

    interrupted.__name__ = "redness"
    checkpoint = tmp_path / "state" / "cut.pt"
    with pytest.raises(KeyboardInterrupt):
        train(fresh(), tmp_path / "cut", interrupted, checkpoint=checkpoint, **options)
    assert len(read_history(tmp_path / "cut" / "history.jsonl")) == 4
    torch.rand(7)  # another process has another random state
    resumed = fresh()
    result = train(resumed, tmp_path / "cut", checkpoint=checkpoint, **options)

    for ours, theirs in zip(weights(resumed), weights(whole), strict=True):
        assert torch.equal(ours, theirs)
    changing = ("seconds", "peak_memory_bytes")
    for ours, theirs in zip(result.rows, expected.rows, strict=True):
        assert {k: v for k, v in ours.items() if k not in changing} == {
            k: v for k, v in theirs.items() if k not in changing
        }
    assert read_history(tmp_path / "cut" / "history.jsonl") == result.rows
    states = [_state(path) for path in (checkpoint, tmp_path / "whole.pt")]
    for key, values in states[0]["optimizer"]["state"].items():
        for name, value in values.items():
            assert torch.equal(value, states[1]["optimizer"]["state"][key][name])
    assert not list(checkpoint.parent.glob("*.tmp"))


def test_a_finished_run_is_not_trained_again(painter, tmp_path):
    checkpoint = tmp_path / "state.pt"
    first = train(painter, tmp_path, checkpoint=checkpoint)
    before = weights(painter)
    again = train(painter, tmp_path, checkpoint=checkpoint)
    assert again.rows == first.rows
    assert all(torch.equal(a, b) for a, b in zip(before, weights(painter), strict=True))
    more = train(painter, tmp_path, checkpoint=checkpoint, steps=3)
    assert [row["step"] for row in more.rows] == [0, 1, 2, 3]


def test_the_adapter_can_be_loaded(painter, models, tmp_path):
    train(painter, tmp_path, steps=1)
    fresh = models()
    fresh.load_lora(tmp_path)
    for ours, theirs in zip(fresh.lora_parameters(), weights(painter), strict=True):
        assert torch.equal(ours.detach(), theirs)


def test_a_checkpoint_of_another_run_is_refused(painter, tmp_path):
    checkpoint = tmp_path / "state.pt"
    train(painter, tmp_path, checkpoint=checkpoint, steps=1)
    with pytest.raises(CheckpointError, match="another learning_rate"):
        train(painter, tmp_path, checkpoint=checkpoint, steps=1, learning_rate=0.5)
    with pytest.raises(CheckpointError, match="another algorithm, items"):
        train(painter, tmp_path, checkpoint=checkpoint, steps=1, items=ITEMS[:2], gradient=Exact())
    decaying = tmp_path / "decaying.pt"
    train(painter, tmp_path, checkpoint=decaying, steps=1, decay=True)
    with pytest.raises(CheckpointError, match="another steps"):
        train(painter, tmp_path, checkpoint=decaying, steps=2, decay=True)
    with pytest.raises(CheckpointError, match="another identity"):
        train(painter, tmp_path, checkpoint=checkpoint, steps=1, identity="reward 2")
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="delete it to start again"):
        train(painter, tmp_path, checkpoint=checkpoint, steps=1)


def test_training_stops_at_a_loss_that_is_not_finite(painter, tmp_path):
    calls = []

    def breaks(texture, painted, item):
        calls.append(item)
        return redness(texture, painted, item) * (float("nan") if len(calls) == 2 else 1.0)

    with pytest.raises(TrainingError, match=r"Step 2: the loss is nan for 'tetra--.*lower learning_rate"):
        train(painter, tmp_path, breaks, steps=3)
    assert [row["step"] for row in read_history(tmp_path / "history.jsonl")] == [0, 1]
    assert all(parameter.isfinite().all() for parameter in weights(painter))


def test_the_hinge_ends_at_its_target(painter, tmp_path):
    before = weights(painter)
    result = train(painter, tmp_path, steps=1, target=-1.0, weight_decay=0.0)
    assert result.rows[1]["loss"] == 0 and result.rows[1]["grad_norm"] == 0
    assert all(torch.equal(a, b) for a, b in zip(before, weights(painter), strict=True))
    reward = torch.tensor(0.3, requires_grad=True)
    assert float(direct_loss(reward).detach()) == pytest.approx(-0.3)
    assert float(direct_loss(reward, 0.5).detach()) == pytest.approx(0.2)
    torch.testing.assert_close(torch.autograd.grad(direct_loss(reward, 0.5), reward)[0], torch.tensor(-1.0))


def test_history_has_every_field_and_counts_the_cost(painter, tmp_path):
    train(painter, tmp_path, steps=2, gradient=LastK(1, replay=False))
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert all(set(row) == set(FIELDS) for row in rows)
    # Two views of two steps; one step of each view has a graph.
    assert rows[1]["evaluations"] == {"forward": 4, "recompute": 0, "backward": 2}
    assert rows[1]["seeds"] == [noise_seed(0, 1, 0)] and rows[1]["peak_memory_bytes"] > 0
    assert rows[0]["reward"] is None and rows[1]["heldout_reward"] is None
    (tmp_path / "history.jsonl").write_text('{"step": 1}\n{"step"')
    with pytest.raises(ValueError, match="line 2"):
        read_history(tmp_path / "history.jsonl")


def test_every_item_is_seen_once_per_epoch():
    numbers = [item_number(3, index, seed=4) for index in range(30)]
    epochs = [numbers[start : start + 3] for start in range(0, 30, 3)]
    assert all(sorted(epoch) == [0, 1, 2] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_view_subsets_keep_the_order_of_the_rig_and_change():
    drawn = set()
    for step in range(20):
        chosen = view_subset(6, 3, 0, step)
        assert chosen == sorted(set(chosen)) and len(chosen) == 3 and set(chosen) <= set(range(6))
        drawn.add(tuple(chosen))
    assert len(drawn) > 5
    assert view_subset(6, 3, 0, 7) == view_subset(6, 3, 0, 7)


def test_painting_a_subset_of_views(painter):
    mesh, chosen = ITEMS[0].mesh, Viewpoints(indices=[1])
    every = Viewpoints(indices=range(len(RIGS[painter.preset.rig])))
    with torch.no_grad():
        some, _ = painter.paint(mesh, "a red ball", 3, viewpoints=chosen)
        again, _ = painter.paint(mesh, "a red ball", 3, viewpoints=chosen)
        whole, _ = painter.paint(mesh, "a red ball", 3, viewpoints=every)
        full, _ = painter.paint(mesh, "a red ball", 3)
    assert torch.equal(some, again) and torch.equal(whole, full)
    assert not torch.equal(some, full)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_rewrites_a_terminal_line_and_prints_plain_lines_elsewhere():
    row = dict.fromkeys(FIELDS) | {"step": 1, "reward": 0.5, "grad_norm": 0.1, "seconds": 2.0}
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        progress = TrainingProgress(3, stream)
        for step in (1, 2, 3):
            progress(row | {"step": step})
    drawn = terminal.getvalue()
    assert drawn.count("\n") == 1 and drawn.endswith("\n")
    assert "step 1/3" in drawn and "step 3/3" in drawn.split("\r")[-1]
    lines = log.getvalue().splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 1/3", "step 3/3"]
    assert "reward 0.5000" in lines[0] and "about 0 min 4 s left" in lines[0]


def test_bad_settings_are_reported(painter, models):
    with pytest.raises(ValueError, match="accumulate"):
        TrainSettings(accumulate=0)
    with pytest.raises(ValueError, match="learning_rate"):
        TrainSettings(learning_rate=0)
    with pytest.raises(ValueError, match="warmup is 2"):
        TrainSettings(steps=2, warmup=2)
    with pytest.raises(TrainingError, match="nothing to train on"):
        Trainer(painter, DIRECT, [], TrainSettings())
    with pytest.raises(ValueError, match="LoRA"):
        Trainer(TexGen(models(), PRESET), DIRECT, ITEMS, TrainSettings())
    stateful = TexGen(painter.backbone, PRESET.replace(scheduler="unipc", eta=0.0))
    with pytest.raises(TrainingError, match="ddim"):
        Trainer(stateful, DIRECT, ITEMS, TrainSettings())

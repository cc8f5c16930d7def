"""Captured steps, running means and the loop over steps, on a CPU with a fake recorder."""

import argparse
import json
import math

import pytest
import torch
from torch import nn

from texgen.miniature import training_loop
from texgen.miniature.scale import TrainingStage, chosen_device
from texgen.miniature.steps import Average, TrainingStep, make_optimizer, restore, set_rate
from texgen.miniature.training_loop import TrainingRun, learning_rate, start_run, train, training_parser

CPU = torch.device("cpu")
INPUTS = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))


def little(rate=0.1):
    """A net of one layer with the loss of pulling its output towards 1."""
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    optimizer = make_optimizer(net.parameters(), CPU, (0.9, 0.99), 0.0)
    set_rate(optimizer, rate)

    def loss():
        return {"loss": (net(INPUTS) - 1).square().mean(), "weight": net.weight.detach().sum()}

    return net, optimizer, loss


class FakeRecorder:
    """What `record_graph` does, without a graph: warms up, runs once, replays the function itself."""

    def __init__(self, fails=False):
        self.fails, self.warmed, self.replayed = fails, 0, 0

    def __call__(self, run, clear, warmup):
        for _ in range(warmup):
            clear()
            run()
            self.warmed += 1
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing")

        def replay():
            self.replayed += 1
            clear()  # a graph writes the gradients anew
            run()

        return replay


def run_of(tmp_path, steps=None, budget=None, warmup=2, fall=0.5):
    stage = TrainingStage(steps or 1, 4, 0.1, warmup)
    return TrainingRun("little", tmp_path, CPU, stage, steps, budget, fall, 0, 1)


def test_a_captured_step_is_replayed_and_leaves_weights_alone_while_it_is_captured():
    net, optimizer, loss = little(rate=0.0)
    before = net.weight.detach().clone()
    recorder, step = FakeRecorder(), TrainingStep(loss, optimizer)
    assert step.capture(recorder, warmup=3) == "captured"
    assert recorder.warmed == 3 and torch.equal(net.weight, before)
    assert step.means() == {}
    set_rate(optimizer, 0.1)
    step()
    assert recorder.replayed == 1 and not torch.equal(net.weight, before)


def test_a_step_that_cannot_be_captured_runs_eagerly_and_says_why():
    net, optimizer, loss = little(rate=0.0)
    step = TrainingStep(loss, optimizer)
    outcome = step.capture(FakeRecorder(fails=True))
    assert outcome.startswith("eager") and "not permitted" in outcome
    before = net.weight.detach().clone()
    set_rate(optimizer, 0.1)
    step()
    assert not torch.equal(net.weight, before)


def test_captured_and_eager_steps_do_the_same():
    weights = []
    for captured in (False, True):
        net, optimizer, loss = little(rate=0.0)
        step = TrainingStep(loss, optimizer)
        if captured:
            step.capture(FakeRecorder(), warmup=0)
        set_rate(optimizer, 0.05)
        for _ in range(5):
            step()
        weights.append(net.weight.detach())
    assert torch.equal(*weights)


def test_a_step_equals_the_plain_loop():
    net, optimizer, loss = little()
    step = TrainingStep(loss, optimizer, clip=0.01)
    for _ in range(3):
        step()
    plain, _, _ = little()
    adam = torch.optim.AdamW(plain.parameters(), lr=0.1, betas=(0.9, 0.99), weight_decay=0.0)
    for _ in range(3):
        adam.zero_grad()
        (plain(INPUTS) - 1).square().mean().backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 0.01)
        adam.step()
    assert torch.allclose(net.weight, plain.weight, atol=1e-6)


def test_a_step_that_is_not_finite_is_left_out():
    net, optimizer, _ = little()
    before = net.weight.detach().clone()
    TrainingStep(lambda: {"loss": net(torch.full((1, 3), torch.inf)).sum()}, optimizer)()
    assert torch.equal(net.weight, before)


def test_means_are_those_of_the_steps_since_the_last_call():
    _, optimizer, loss = little()
    seen = []

    def watched():
        numbers = loss()
        seen.append(float(numbers["loss"].detach()))
        return numbers

    step = TrainingStep(watched, optimizer, name="first")
    for _ in range(3):
        step()
    assert step.means()["first loss"] == pytest.approx(sum(seen) / 3)
    step()
    assert step.means()["first loss"] == pytest.approx(seen[-1])


def test_the_running_mean_begins_quickly_and_ends_at_its_decay():
    parameter, mean = nn.Parameter(torch.ones(2)), torch.zeros(2)
    average, expected = Average([mean], [parameter], decay=0.5), 0.0
    for step in range(12):
        average.before(step)
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay)
        assert torch.allclose(mean, torch.full((2,), expected))


def test_rate_rises_then_stays_then_falls_to_nothing():
    rates = [learning_rate(step, step / 1000, 1e-3, warmup=100, fall=0.6) for step in range(1001)]
    assert rates[:100] == sorted(rates[:100]) and rates[100] == rates[399] == 1e-3
    assert rates[700] == pytest.approx(5e-4) and rates[400:] == sorted(rates[400:], reverse=True)
    assert rates[-1] == pytest.approx(0, abs=1e-9)


def test_a_training_of_so_many_steps_logs_and_keeps_all_of_them(tmp_path):
    net, optimizer, loss = little()
    chosen = []

    def choose(number, share):
        chosen.append((number, share))
        return steps[number % 2]

    steps = [TrainingStep(loss, optimizer), TrainingStep(loss, optimizer, name="odd")]
    train(run_of(tmp_path, steps=4), net, steps, choose)
    assert chosen == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]
    row = json.loads((tmp_path / "little.jsonl").read_text().splitlines()[-1])
    assert row["step"] == 4 and {"loss", "odd loss", "weight"} <= set(row)


def test_a_training_ends_when_its_seconds_are_over_and_the_rate_follows_them(tmp_path, monkeypatch):
    net, optimizer, loss = little()
    now, rates = [100.0], []
    monkeypatch.setattr(training_loop.time, "monotonic", lambda: now[0])

    def slow():
        now[0] += 1.0
        rates.append(optimizer.param_groups[0]["lr"])
        return loss()

    train(run_of(tmp_path, budget=10.0, warmup=1), net, [TrainingStep(slow, optimizer)])
    assert len(rates) == 10
    half = [0.5 * (1 + math.cos(math.pi * k / 5)) * 0.1 for k in range(5)]
    assert rates == pytest.approx([0.1] * 5 + half)


@pytest.mark.parametrize("length", [{"steps": 6}, {"budget": 6.0}])
def test_a_stopped_training_goes_on_where_it_was(tmp_path, monkeypatch, length):
    """Stopped after three steps, by an error, it takes three more; and then none."""
    now = [0.0]
    monkeypatch.setattr(training_loop.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(training_loop, "SAVE_SECONDS", 0.5)
    taken = []
    for stop in (3, None, None):
        net, optimizer, loss = little()

        def counted(loss=loss, stop=stop):
            if len(taken) == stop:
                raise KeyboardInterrupt
            now[0] += 1.0
            taken.append(stop)
            return loss()

        step = TrainingStep(counted, optimizer)
        try:
            train(run_of(tmp_path, **length), net, [step])
        except KeyboardInterrupt:
            now[0] += 1000  # time in which nothing was trained
    assert taken == [3] * 3 + [None] * 3


def test_what_was_saved_of_other_networks_is_refused_in_one_sentence(tmp_path):
    net, optimizer, loss = little()
    train(run_of(tmp_path, steps=1), net, [TrainingStep(loss, optimizer)])
    other = nn.Linear(5, 1)
    step = TrainingStep(
        lambda: {"loss": other.weight.sum()}, make_optimizer(other.parameters(), CPU, (0.9, 0.9), 0)
    )
    with pytest.raises(SystemExit, match="of other networks"):
        train(run_of(tmp_path, steps=2), other, [step])


def test_an_optimisers_state_keeps_the_device_settings_of_the_one_that_loads_it():
    _, optimizer, loss = little()
    TrainingStep(loss, optimizer)()
    state = optimizer.state_dict()
    for group in state["param_groups"]:  # as a GPU saves it
        group.update(lr=torch.tensor(0.3), capturable=True)
    net, fresh, _ = little(rate=0.2)
    restore(fresh, state)
    assert fresh.param_groups[0]["lr"] == 0.2 and fresh.param_groups[0]["capturable"] is False
    assert torch.equal(fresh.state[net.weight]["exp_avg"], state["state"][0]["exp_avg"])


def test_steps_and_seconds_exclude_each_other_and_must_be_above_zero(tmp_path, capsys):
    base = ["--data", "d", "--out", str(tmp_path)]
    for wrong in (["--steps", "2", "--budget", "2"], ["--budget", "0"], ["--fall", "-1"]):
        with pytest.raises(SystemExit):
            training_parser("").parse_args([*base, *wrong])
    assert "not above 0" in capsys.readouterr().err
    args = training_parser("").parse_args([*base, "--scale", "test", "--batch", "7", "--budget", "3"])
    run = start_run(args, "judge")
    assert run.steps is None and run.budget == 3 and run.stage.batch == 7


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match="no CUDA device"):
        chosen_device("cuda")
    assert chosen_device("auto").type == "cpu"


def test_several_processes_on_one_gpu_are_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit, match="on a GPU start one"):
        training_loop.join_processes(argparse.Namespace(type="cuda"))

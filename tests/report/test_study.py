"""The user study: a balanced, blinded plan, and strengths that are found again from simulated answers."""

import argparse
import collections
import itertools
import json
import types

import numpy as np
import pytest
from reference.tiny_results import make_results, tiny_settings
from scipy.optimize import minimize

from report.study import booklets as study
from report.study.bradley_terry import PRIOR, PairwiseChoice, fit, strengths, win_matrix
from workflow.cli import study as cli_study
from workflow.config.sheets import ConfigError

METHODS = {"pretrained": "Untuned", "ours": "Ours", "other": "Other"}
PAIRS = [(f"asset{k}", a, b) for k in range(5) for a, b in itertools.combinations(METHODS, 2)]


def simulated(true: dict[str, float], people: int, each: int, seed: int = 0) -> list[PairwiseChoice]:
    generator = np.random.default_rng(seed)
    found = []
    for person in range(people):
        for _ in range(each):
            a, b = generator.choice(list(true), 2, replace=False)
            first = generator.random() < 1 / (1 + np.exp(true[b] - true[a]))
            found.append(PairwiseChoice(str(a), str(b), float(first), f"p{person}"))
    return found


def test_fit_maximises_the_likelihood():
    wins = np.array([[0, 7, 4.5], [3, 0, 6], [1.5, 8, 0]])

    def loss(log_strength):
        score = log_strength - log_strength.mean()
        total = sum(
            -wins[i, j] * np.log(1 / (1 + np.exp(score[j] - score[i]))) for i in range(3) for j in range(3)
        )
        prior = PRIOR * (np.log1p(np.exp(-score)) + np.log1p(np.exp(score))).sum()
        return total + prior

    plain = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-9}).x
    # The fit renormalises between its steps, so the prior pulls towards the mean a little differently.
    assert fit(wins) == pytest.approx(plain - plain.mean(), abs=0.02)


def test_strengths_are_found_again_and_intervals_hold_them():
    true = {"pretrained": -0.6, "ours": 0.8, "other": -0.2}
    found = strengths(simulated(true, people=12, each=40), list(true), "pretrained", resamples=300)
    for each in found:
        assert each.low < true[each.method] < each.high
        assert each.low < each.score < each.high
        assert each.score == pytest.approx(true[each.method], abs=0.3)
    assert found[0].beats == 0.5
    assert found[1].beats == pytest.approx(1 / (1 + np.exp(-1.4)), abs=0.08)
    assert sum(each.wins for each in found) == 12 * 40


def test_a_method_that_never_lost_has_a_finite_strength():
    choices = [PairwiseChoice("a", "b", 1.0, "p"), PairwiseChoice("a", "b", 1.0, "p")]
    assert np.isfinite(fit(win_matrix(choices, ["a", "b"]))).all()


def test_ties_are_half_wins():
    tied = win_matrix([PairwiseChoice("a", "b", 0.5, "p")], ["a", "b"])
    assert np.array_equal(tied, [[0, 0.5], [0.5, 0]])


def test_plan_is_balanced_over_booklets_and_sides():
    booklets = study.plan_trials(PAIRS, booklets=6, trials=10, seed=1)
    shown = collections.Counter()
    for booklet in booklets:
        asked = [trial for trial in booklet if not trial.repeat_of]
        keys = [(t.asset, *sorted((t.left, t.right))) for t in asked]
        assert len(asked) == 10 and len(set(keys)) == 10, "no pair is asked twice in a booklet"
        assert len(booklet) == 10 + study.REPEATS
        shown.update(keys)
        for trial in booklet:
            if trial.repeat_of:
                first = next(t for t in booklet if t.id == trial.repeat_of)
                assert (first.left, first.right) == (trial.right, trial.left)
    assert len(shown) == len(PAIRS) and set(shown.values()) == {4}
    assert booklets == study.plan_trials(PAIRS, booklets=6, trials=10, seed=1)
    assert booklets != study.plan_trials(PAIRS, booklets=6, trials=10, seed=2)


def test_answers_make_a_summary(tmp_path):
    booklets = study.plan_trials(PAIRS, booklets=5, trials=12, seed=0)

    class Run:
        methods, reference = METHODS, "pretrained"

    key = json.loads(json.dumps(study.key_record(Run, booklets)))
    everyone = []
    for number, booklet in enumerate(booklets):
        answers = {
            t.id: "left" if "ours" == t.left else "right" if "ours" == t.right else "none" for t in booklet
        }
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps({"participant": f"p{number}", "answers": answers}))
        everyone.append(study.read_answers(path, key))
    block = study.summary_block(key, everyone)
    cells = {row[0].value: [cell.value for cell in row] for row in block.rows}
    assert block.rows[1][1].best and float(cells["Ours"][1].split()[0]) > 1
    assert cells["Untuned"][2] == "–"
    assert "60 answers of 5 participants" in block.notes[0]
    assert block.notes[2].startswith("10 of 10 repeated trials")

    path.write_text(json.dumps({"participant": "x", "answers": {"nothing": "left"}}))
    with pytest.raises(ValueError, match="trial 'nothing' is not in the key"):
        study.read_answers(path, key)
    path.write_text(json.dumps({"participant": "x", "answers": {next(iter(key["trials"])): ["left"]}}))
    with pytest.raises(ValueError, match="allowed are left, none, right"):
        study.read_answers(path, key)
    path.write_text("[]")
    with pytest.raises(ValueError, match="is not an answers file"):
        study.read_answers(path, key)
    with pytest.raises(ValueError, match="does not exist"):
        study.read_answers(tmp_path / "none.json", key)


def test_nobody_is_counted_twice(tmp_path):
    booklets = study.plan_trials(PAIRS, booklets=2, trials=3, seed=0)

    class Run:
        methods, reference = METHODS, "pretrained"

    (tmp_path / "key.json").write_text(json.dumps(study.key_record(Run, booklets)))
    key = study.read_key(tmp_path / "key.json")
    paths = []
    for name, number, person in (("a", 0, "Ann"), ("b", 1, "Ann"), ("c", 0, "Cy"), ("d", 0, "Ann")):
        paths.append(tmp_path / f"{name}.json")
        answers = {trial.id: "left" for trial in booklets[number]}
        paths[-1].write_text(json.dumps({"participant": person, "answers": answers}))
    assert len(study.read_everyone(paths[:3], key)) == 3, "one person may fill in two booklets"
    with pytest.raises(ValueError, match=r"a.json and .*d.json both hold answers of 'Ann'"):
        study.read_everyone(paths, key)
    for wrong in (paths[0], tmp_path / "none.json"):
        with pytest.raises(ValueError, match="key.json that `study make` wrote"):
            study.read_key(wrong)


def test_make_keeps_the_key_of_another_study(tmp_path, monkeypatch, capsys):
    make_results(tmp_path / "results")
    monkeypatch.setattr(cli_study, "load_config", lambda path: types.SimpleNamespace(results="nowhere"))
    plan = types.SimpleNamespace(table_settings=tiny_settings)
    monkeypatch.setattr(cli_study, "Plan", lambda config: plan)
    parser = argparse.ArgumentParser()
    cli_study.add_parser(parser.add_subparsers())
    folders = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "study")]

    def make(*more):
        options = parser.parse_args(["study", "make", *folders, "--booklets", "2", "--trials", "3", *more])
        return options.run(options)

    assert make() == 0
    assert "2 booklets, each with 3 of 7 pairs and 2 of them again" in capsys.readouterr().out
    key = (tmp_path / "study" / "key.json").read_text()
    page = (tmp_path / "study" / "booklet-1.html").read_text()
    assert not any(name in page for name in ("pretrained", "Untuned", "tuned")), "booklets are blinded"
    assert make() == 0, "the same study again changes nothing"
    with pytest.raises(ConfigError, match="holds another study"):
        make("--seed", "1")
    assert (tmp_path / "study" / "key.json").read_text() == key

"""The user study: a balanced, blinded plan, and strengths that are found again from simulated answers."""

import collections
import itertools
import json

import numpy as np
import pytest
from scipy.optimize import minimize

from report import study
from report.bradley_terry import PRIOR, Choice, fit, strengths, win_matrix

METHODS = {"pretrained": "Untuned", "ours": "Ours", "other": "Other"}
PAIRS = [(f"asset{k}", a, b) for k in range(5) for a, b in itertools.combinations(METHODS, 2)]


def simulated(true: dict[str, float], people: int, each: int, seed: int = 0) -> list[Choice]:
    generator = np.random.default_rng(seed)
    found = []
    for person in range(people):
        for _ in range(each):
            a, b = generator.choice(list(true), 2, replace=False)
            first = generator.random() < 1 / (1 + np.exp(true[b] - true[a]))
            found.append(Choice(str(a), str(b), float(first), f"p{person}"))
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
    choices = [Choice("a", "b", 1.0, "p"), Choice("a", "b", 1.0, "p")]
    assert np.isfinite(fit(win_matrix(choices, ["a", "b"]))).all()


def test_ties_are_half_wins():
    tied = win_matrix([Choice("a", "b", 0.5, "p")], ["a", "b"])
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
    path.write_text("[]")
    with pytest.raises(ValueError, match="is no answers file"):
        study.read_answers(path, key)

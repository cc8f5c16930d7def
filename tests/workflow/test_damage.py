"""A record that is damaged after a run: the next run gives the same table, or ends with a sentence.

Short form of `make soak`, which does every damage to every kind; here each kind meets three.
"""

from __future__ import annotations

import itertools

import pytest
from reference.damaged_runs import LEVELS, Case, DamagedRuns, batches
from reference.damages import DAMAGES, KINDS, damage
from reference.local_run import Outcome, run_again
from reference.soak_figures import Figures
from reference.tiny_project import score_cells, scores

PER_KIND = 3


def chosen() -> list[list[Case]]:
    """Some damages for every kind, by level, so that every damage is done to several."""
    turns = itertools.cycle(DAMAGES)
    ways = {kind: [next(turns) for _ in range(PER_KIND)] for kind in KINDS}
    return [[Case(kind, how, False) for kind in level for how in ways[kind]] for level in LEVELS]


@pytest.mark.timeout(900)
def test_no_damage_ends_in_a_traceback_or_in_another_number(complete, monkeypatch, tmp_path):
    monkeypatch.chdir(complete)
    figures = Figures(tmp_path / "figures.json")
    runs = DamagedRuns(complete, figures)
    assert run_again().ran == []
    for batch in batches(chosen(), 7, 0):
        runs.batch(batch, run_again, "in one process")
    assert not figures.problems
    counts = runs.counts["in one process"]
    assert counts["all"] == PER_KIND * len(KINDS) and counts["made again"] > counts["all"] / 2


def test_the_judge_sees_what_a_run_believed(complete, monkeypatch, tmp_path):
    monkeypatch.chdir(complete)
    figures = Figures(tmp_path / "figures.json")
    runs = DamagedRuns(complete, figures)
    runs.batch([Case("scores", "cut at a line", False)], Outcome, "believing")  # a run that does nothing
    found = "\n".join(figures.problems)
    for fault in (
        "believed",
        "another number",
        "other bytes",
        "still damaged",
        "a second run had something to do",
    ):
        assert f"scores, cut at a line: {fault}" in found
    runs.batch([Case("texture", "empty", False)], lambda: Outcome("error: nothing."), "without a name")
    assert "texture, empty: no single sentence" in figures.problems[-1]
    runs.batch([Case("texture", "empty", False)], lambda: 1 / 0, "stumbling")
    assert "texture, empty: traceback" in figures.problems[-1]


@pytest.mark.timeout(900)
def test_snakemake_itself_makes_damaged_work_again_and_then_rests(complete, snakemake):
    expected = scores(complete), score_cells(complete)
    results = complete / "results"
    damage(results, "texture", "missing")
    damage(results, "scores", "cut at a line")
    said = snakemake("results/table.md").stdout
    assert "damaged: results/textures/tuned/unseen--red--0/texture.png is missing" in said
    assert "damaged: results/scores/aesthetic/tuned.tsv has" in said
    assert (scores(complete), score_cells(complete)) == expected
    assert "Nothing to be done" in snakemake("results/table.md").stdout

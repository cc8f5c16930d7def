"""A record that is damaged after a run: the next run gives the same table, or ends with a sentence.

Short form of `make soak`, which does every damage to every kind; here each kind meets three.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
from reference.damages import DAMAGES, KINDS, damage
from reference.local_run import run_again
from reference.outcomes import check_sentence
from reference.tiny_project import score_cells, scores

PER_KIND = 3


def chosen() -> list[tuple[str, str]]:
    """Some damages for every kind, so that every damage is done to several."""
    turns = itertools.cycle(DAMAGES)
    return [(kind, next(turns)) for kind in KINDS for _ in range(PER_KIND)]


@pytest.mark.timeout(2400)
def test_no_damage_ends_in_a_traceback_or_in_another_number(complete, monkeypatch, tmp_path):
    monkeypatch.chdir(complete)
    whole = tmp_path / "whole"
    shutil.copytree("results", whole, symlinks=True)
    expected = scores(complete), score_cells(complete)
    assert run_again().ran == []
    found = []
    for kind, how in chosen():
        restore(whole)
        path = damage(Path("results"), kind, how)
        outcome = run_again()
        label = f"{kind}, {how}: {outcome}"
        assert "Traceback" not in outcome.said, label
        if outcome.sentence:
            check_sentence(outcome.sentence)
        else:
            assert (scores(complete), score_cells(complete)) == expected, label
            assert run_again().ran == [], label
        found.append((kind, how, str(path), outcome.sentence))
    assert len(found) >= PER_KIND * len(KINDS)


def restore(whole: Path) -> None:
    """Put the undamaged results back, with their times."""
    shutil.rmtree("results")
    shutil.copytree(whole, "results", symlinks=True)


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

"""What logs say of rates and time left, and journals of finished work."""

from __future__ import annotations

import subprocess
import sys

import pytest

from workflow.runtime.journal import Journal
from workflow.runtime.progress import Pace, core_seconds, duration, rate


def test_pace_counts_what_was_made_and_not_what_was_kept():
    now = iter([0.0, 10.0, 100.0, 130.0, 200.0, 201.0])
    pace = Pace(5, clock=lambda: next(now))
    pace.keep()
    pace.begin()
    assert pace.finish() == "6.0 per minute, 3 left, about 30 s"
    pace.begin()  # 90 s of other things in between do not count
    assert pace.finish() == "3.0 per minute, 2 left, about 40 s"
    pace.keep()
    pace.begin()
    assert pace.finish() == "none left"
    with pytest.raises(RuntimeError, match="begin"):
        pace.finish()


def test_rates_and_durations_are_told_as_people_do():
    assert rate(6) == "10.0 per minute" and rate(120) == "30.0 per hour" and rate(0) == "no time each"
    assert [duration(s) for s in (3, 89, 91, 5399, 5400)] == ["3 s", "89 s", "2 min", "90 min", "1.5 h"]


ROWS = [{"score": "0.1"}, {"score": "é"}]


def test_a_journal_gives_back_what_was_noted(tmp_path):
    journal = Journal(tmp_path / "deep" / "a.tsv", "d" * 64)
    journal.add("one", ROWS)
    journal.add("two", [])
    again = Journal(tmp_path / "deep" / "a.tsv", "d" * 64)  # the first was killed: never closed
    assert again.found == {"one": ROWS, "two": []}
    again.close(done=False)
    assert again.path.is_file()
    last = Journal(tmp_path / "deep" / "a.tsv", "d" * 64)
    last.close(done=True)
    assert not list((tmp_path / "deep").iterdir())


@pytest.mark.parametrize(
    "end", [b"", b'["th', b'["three", [', b'["three", []]', b"\0\0\0", b"\xff\n[1]\n", b"3\n"]
)
def test_a_cut_off_line_is_forgotten_and_written_over(end, tmp_path):
    journal = Journal(tmp_path / "a.tsv", "d" * 64)
    journal.add("one", ROWS)
    journal.close(done=False)
    journal.path.write_bytes(journal.path.read_bytes() + end)
    again = Journal(tmp_path / "a.tsv", "d" * 64)
    assert again.found == {"one": ROWS}
    again.add("two", [])
    again.close(done=False)
    assert Journal(tmp_path / "a.tsv", "d" * 64).found == {"one": ROWS, "two": []}


def test_a_journal_of_other_inputs_is_removed_and_of_other_files_kept(tmp_path):
    for name, digest in (("a.tsv", "1" * 64), ("b.tsv", "1" * 64)):
        journal = Journal(tmp_path / name, digest)
        journal.add("one", ROWS)
        journal.close(done=False)
    assert Journal(tmp_path / "a.tsv", "2" * 64).found == {}
    assert len(list(tmp_path.glob(".a.tsv.*"))) == 1
    assert Journal(tmp_path / "b.tsv", "1" * 64).found == {"one": ROWS}


def test_core_seconds_count_the_jobs_that_a_run_started():
    before = core_seconds()
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.5: pass"], check=True)
    assert 0.4 < core_seconds() - before < 5

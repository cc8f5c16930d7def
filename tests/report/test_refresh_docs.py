"""What a run shows is put into the documents, and nothing else is changed."""

import pytest

from benchmarks.refresh_docs import BEGIN, END, between_marks, first_table, with_columns

PAGE = "# Title\n\n| Method   | A    |\n| -------- | ---: |\n| Pretrained  | 1 |\n\n| other | b |\n"


def test_the_first_table_is_taken_without_padding():
    assert first_table(PAGE) == "| Method | A |\n| --- | ---: |\n| Pretrained | 1 |\n"
    with pytest.raises(ValueError, match="no table"):
        first_table("# Title\n")


def test_the_readme_shows_some_columns_by_their_heads():
    table = "| Method | A† ↑ | wall s |\n| --- | ---: | -: |\n| **x** | 1 ± 2 ≈ | 3 |\n"
    assert with_columns(table, ("Method", "wall s")) == "| Method | wall s |\n| --- | -: |\n| **x** | 3 |\n"
    assert with_columns(table, ("A",)) == "| A† ↑ |\n| ---: |\n| 1 ± 2 ≈ |\n"
    with pytest.raises(ValueError, match="no column B; it has Method, A, wall s"):
        with_columns(table, ("B",))


def test_only_what_is_between_the_marks_changes():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert between_marks(text, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="README.md has no"):
        between_marks("nothing", "new")


def test_the_readme_has_the_marks():
    from benchmarks.refresh_docs import ROOT

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1

"""What a run shows is put into the documents, and nothing else is changed."""

import pytest

from benchmarks.refresh_docs import BEGIN, END, between_marks, first_table

PAGE = "# Title\n\n| Method   | A    |\n| -------- | ---: |\n| Pretrained  | 1 |\n\n| other | b |\n"


def test_the_first_table_is_taken_without_padding():
    assert first_table(PAGE) == "| Method | A |\n| --- | ---: |\n| Pretrained | 1 |\n"
    with pytest.raises(ValueError, match="no table"):
        first_table("# Title\n")


def test_only_what_is_between_the_marks_changes():
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert between_marks(text, "new\n") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="README.md has no"):
        between_marks("nothing", "new")


def test_the_readme_has_the_marks():
    from benchmarks.refresh_docs import ROOT

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1

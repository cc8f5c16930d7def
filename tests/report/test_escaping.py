"""Hostile texts through every format: nothing runs, links, opens a cell or commands a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from reference.hostile_texts import HOSTILE

from report.escaping import csv_cell, latex, markdown, script_json
from report.table.blocks import Block, Text, to_html, to_latex, to_markdown, to_text
from texgen.storage.plain_text import UNSHOWABLE, plain, terminal

ALLOWED = set(
    "html head meta title style body h1 h2 div table thead tbody tr th td ul li strong span".split()
)
TEXTS = [pytest.param(text, id=name) for name, text in HOSTILE.items()]


def block(text: str) -> Block:
    """A block that has a text wherever one can stand."""
    cells = [Text(text), Text(text, best=True), Text(text, second=True)]
    return Block(text, ["Method", text, "x"], [cells, cells], [text, f"a note with **{text}** and {text}"])


class Tags(HTMLParser):
    """What elements and attributes a page has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.attributes = set(), set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("text", TEXTS)
def test_plain_text_is_one_line_that_can_be_written(text):
    shown = plain(text)
    assert not UNSHOWABLE.search(shown) and "\n" not in shown
    shown.encode("utf-8")
    assert plain(shown) == shown
    assert not UNSHOWABLE.search(terminal(text).replace("\n", ""))


@pytest.mark.parametrize("text", TEXTS)
def test_a_page_has_our_elements_only(text):
    page = to_html([block(text)], text)
    tags = Tags(page)
    assert tags.found <= ALLOWED and not {each for each in tags.attributes if each.startswith("on")}
    assert not UNSHOWABLE.search(page.replace("\n", ""))


@pytest.mark.parametrize("text", TEXTS)
def test_markdown_has_our_lines_and_cells_only(text):
    lines = to_markdown([block(text)]).split("\n")
    assert len(lines) == len(to_markdown([block("x")]).split("\n"))
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4 and {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}
    inside = markdown(text)
    assert not re.search(r"<[A-Za-z/!?]|(?<!\\)[`*|]|\]\(|\]\[|\]:|^[#>+=-]\s|^\d+\.\s", inside), inside


@pytest.mark.parametrize("text", TEXTS)
def test_latex_has_no_command_of_the_text(text):
    commands = set(re.findall(r"\\[A-Za-z]+", to_latex([block(text)])))
    own = set(re.findall(r"\\[A-Za-z]+", to_latex([block("x ~^±↑↓†▲▼≈≤<>×°¹²…")])))
    assert commands <= own | {r"\textbackslash"}, commands - own
    assert "^^" not in latex(text)


@pytest.mark.parametrize("text", TEXTS)
def test_no_spreadsheet_runs_a_cell(text):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow([csv_cell(text), csv_cell(-1.5), 1])
    ((cell, number, _),) = csv.reader(io.StringIO(out.getvalue()))
    assert cell.lstrip()[:1] not in ("=", "+", "-", "@") and number == "-1.5"
    assert "\n" not in out.getvalue()[:-1]


@pytest.mark.parametrize(
    "text", ["\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(1)", "\u200b=1", "\ufeff =1", "\xad-1"]
)
def test_nor_one_whose_sign_is_wide_or_behind_what_is_not_seen(text):
    assert csv_cell(text).startswith("'")
    assert csv_cell("1 = 1") == "1 = 1" and csv_cell("a red one") == "a red one" and csv_cell("") == ""


@pytest.mark.parametrize("text", TEXTS)
def test_terminal_text_holds_no_commands(text):
    assert not UNSHOWABLE.search(to_text([block(text)]).replace("\n", ""))


@pytest.mark.parametrize("text", TEXTS)
def test_json_in_a_script_stays_there(text):
    inside = script_json({"text": text})
    assert not set("<>&\u2028\u2029") & set(inside) and inside.isascii()
    assert json.loads(inside)["text"] == text


def test_what_is_no_markup_stays_readable():
    for text in (
        "0.53 ± 0.01",
        "-0.12",
        "[0.1, 0.2]",
        "p < 0.05",
        "a_b",
        "–",
        "MVDream (ours), 3-view",
        "x > 2",
    ):
        assert markdown(text) == text

"""Hostile texts in gallery, study and table, in a browser: every row is shown, and nothing of it runs."""

from __future__ import annotations

import argparse
import json
import types
from pathlib import Path

import pytest
from reference.browser import BROWSER, browser_tab
from reference.hostile_texts import HOSTILE
from reference.tiny_results import METHODS, make_results

from report.table.blocks import Block, Text, to_html
from texgen.storage.plain_text import plain
from texgen.storage.records import write_record
from workflow.cli import study
from workflow.steps import gallery

pytestmark = [
    pytest.mark.skipif(
        BROWSER is None, reason="no Chromium; install the package chromium to check the pages"
    ),
    pytest.mark.timeout(900),
]
# Lone surrogates do not come in through sheets or configurations, which are UTF-8.
TEXTS = [
    *(text for name, text in HOSTILE.items() if name != "surrogate"),
    "\u200f\u05d0\u202bb\u202c\u200e c",
]
RAN = "document.title === 'PWNED' || document.querySelector('img, iframe, object, a[href^=javascript]')"


def hostile_settings(settings: dict) -> dict:
    """The settings of a tiny run with a hostile text wherever one can stand, and an asset for each text."""
    texts = iter(TEXTS * 9)
    changed = settings | {"title": next(texts), "note": " ".join(TEXTS)}
    changed["methods"] = {name: next(texts) for name in settings["methods"]}
    changed["metrics"] = {name: facts | {"label": next(texts)} for name, facts in settings["metrics"].items()}
    changed["meshes"] = {name: facts | {"licence": next(texts)} for name, facts in settings["meshes"].items()}
    changed["assets"] = [asset | {"prompt": next(texts)} for asset in settings["assets"]]
    changed["assets"] += [
        {"asset": f"egg--h{k}--0", "mesh": "egg", "prompt_id": f"h{k}", "prompt": text, "seed": 0}
        for k, text in enumerate(TEXTS)
    ]
    return changed


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> tuple[Path, dict]:
    """A results folder, with reasons of failures that are hostile too, and its settings."""
    folder = tmp_path_factory.mktemp("hostile")
    settings = hostile_settings(make_results(folder))
    for k, text in enumerate(TEXTS):
        place = folder / "textures" / "tuned" / f"egg--h{k}--0"
        place.mkdir(parents=True)
        asset = settings["assets"][k - len(TEXTS)]
        run = {**asset, "method": "tuned", "status": "failed", "reason": text, "hash": "h"}
        write_record(place / "run.json", run)
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder, settings


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser_tab(tmp_path_factory.mktemp("profile") / "profile") as opened:
        yield opened


def texts_of(tab, selector: str) -> list[str]:
    return tab.value(f"[...document.querySelectorAll({json.dumps(selector)})].map(node => node.textContent)")


def test_the_gallery_shows_every_row_and_runs_nothing(hostile, tab):
    folder, settings = hostile
    arguments = ["--settings", folder / "settings.json", "--results", folder, "--out", folder / "index.html"]
    assert gallery.main(list(map(str, arguments))) == 0
    tab.open(f"file://{folder}/index.html")
    tab.until("document.body.dataset.shown")
    entries = len(METHODS) * len(settings["assets"])
    assert tab.value("document.body.dataset.shown") == str(entries)
    assert tab.value("document.querySelectorAll('.card').length") == entries
    assert tab.value("window.problems") == [] and tab.value("document.scripts.length") == 2
    assert not tab.value(f"!!({RAN})")
    shown = texts_of(tab, "section.asset h2 bdi")
    assert sorted(shown) == sorted(asset["prompt"] for asset in settings["assets"])
    reasons = texts_of(tab, ".card[data-method=tuned] .turn.none")
    assert sorted(reasons) == sorted(f"failed: {text}" for text in TEXTS)
    assert set(texts_of(tab, ".card b")) == set(settings["methods"].values())
    licences = [f"{mesh}: {facts['licence']}" for mesh, facts in settings["meshes"].items()]
    assert texts_of(tab, "#licences li") == licences
    # Every prompt can be chosen, and shows its own rows only.
    for asset in settings["assets"][-len(TEXTS) :: 6]:
        tab.value(
            "(() => { const node = document.getElementById('prompt');"
            f"node.value = {json.dumps(asset['prompt'])};"
            "node.dispatchEvent(new Event('change')); })()"
        )
        own = [each for each in settings["assets"] if each["prompt"] == asset["prompt"]]
        assert tab.value("document.body.dataset.shown") == str(len(METHODS) * len(own))
    assert tab.value("window.problems") == [] and not tab.value(f"!!({RAN})")


def test_a_booklet_of_the_study_shows_every_trial_and_runs_nothing(hostile, tab, tmp_path, monkeypatch):
    folder, settings = hostile
    monkeypatch.setattr(study, "load_config", lambda path: types.SimpleNamespace(results=str(folder)))
    monkeypatch.setattr(study, "Plan", lambda config: types.SimpleNamespace(table_settings=lambda: settings))
    parser = argparse.ArgumentParser()
    study.add_parser(parser.add_subparsers())
    command = ["study", "make", "--results", str(folder), "--out", str(tmp_path / "study")]
    options = parser.parse_args([*command, "--booklets", "1", "--trials", "7"])
    assert options.run(options) == 0
    tab.open(f"file://{tmp_path}/study/booklet-1.html")
    expected = tab.value("TRIALS.map(trial => trial.text)")
    assert set(expected) == {asset["prompt"] for asset in settings["assets"][:3]}
    tab.value("document.getElementById('who').value = '</script><b>me'")
    tab.value("document.getElementById('begin').click()")
    for text in expected:
        assert texts_of(tab, "#text") == [f"“{text}”"]
        tab.value("document.querySelector('[data-answer=left]').click()")
    assert tab.value("!document.getElementById('end').hidden")
    assert tab.value("document.scripts.length") == 1 and not tab.value(f"!!({RAN})")
    tab.value("saved = true")  # else the page asks before it is left


def test_the_tables_page_shows_every_cell_and_runs_nothing(tab, tmp_path):
    rows = [[Text(text), Text(text, best=True)] for text in TEXTS]
    page = to_html([Block(text, ["Method", text], rows, [text]) for text in TEXTS[:6]], "".join(TEXTS[:6]))
    (tmp_path / "table.html").write_text(page, encoding="utf-8")
    tab.open(f"file://{tmp_path}/table.html")
    first = tab.value("[...document.querySelector('tbody').rows].map(row => row.cells[0].textContent)")
    # A page folds blanks, and a parser takes returns for line feeds; nothing else may differ.
    assert [each.split() for each in first] == [plain(text).split() for text in TEXTS]
    assert tab.value("document.querySelectorAll('table').length") == 6
    assert tab.value("document.scripts.length") == 0 and not tab.value(f"!!({RAN})")

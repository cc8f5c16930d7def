"""Prompts with anything in them reach tokenizer, scores and page unchanged, or their sheet is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from reference.outcomes import check_sentence, outcome
from reference.tiny_models import write_tokenizer

from report.escaping import script_json
from report.run_records import read_score_file
from texgen.painting.presets import get_preset
from texgen.storage.result_records import write_score_record
from workflow.config.configuration import parse_config
from workflow.config.sheets import read_meshes, read_prompts
from workflow.jobs.plan import Plan
from workflow.provenance import read_json
from workflow.steps.score import write_scores

MESHES = "mesh\tsource\tsha256\trotate\tlicence\tsplit\ncube\tpymeshlab:cube\t\t\tfree\tevaluation\n"
CONFIG = {
    "title": "A test",
    "meshes": {"table": "meshes.tsv"},
    "prompts": "prompts.tsv",
    "backbone": {"hub": "a/b", "controlnets": {"depth_inpaint": {"hub": "a/c"}}},
    "metrics": {"alignment": {"kind": "alignment"}},
    "methods": {"pretrained": {"kind": "texgen"}},
}
HEADER = "prompt_id\tmesh\tprompt\tsplit\n"

KEPT = {
    "one letter": "x",
    "very long": "a very " + "very " * 4_000 + "red cube",
    "single braces": "a {red} cube {",
    "doubled braces": "a {{red}} cube }}",
    "format field": "a {prompt.__class__} {0} {view!r:>99999999} cube",
    "percent": "100 %s %d red %(x)s",
    "quotes": """a "red" cube's 'side' `x`""",
    "one quote": 'a 6" cube',
    "shell": "$(touch executed); `touch executed` | rm -rf . && echo $HOME",
    "html": "</script><script>alert(1)</script> <b>&amp;",
    "backslashes": r"a \n \t \\ \u0041 red cube \ ",
    "emoji": "a 🟥 cube 👩‍👩‍👧 🏳️‍🌈",
    "right to left": "مكعب أحمر ‏קוביה‏ red",
    "combining": "a rȩ́d cube Z͑ͫ̓a̴l̵g̷o̶",
    "cjk": "一个红色的立方体",
    "not characters": "￾￿ \U0010ffff",
    "commas": "red, blue; green: a cube",
    "looks like a number": "1e5",
    "looks missing": "nan",
    "looks like a formula": "=cmd|' /C calc'!A0",
    "comment": "# a red cube",
    "inner blanks": "a   red  cube",
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize("name", KEPT)
def test_a_prompt_survives_the_whole_way(name, tmp_path, monkeypatch, tokenizer):
    monkeypatch.chdir(tmp_path)
    prompt = KEPT[name]
    Path("meshes.tsv").write_text(MESHES, encoding="utf-8")
    Path("prompts.tsv").write_text(HEADER + f"a\t*\t{prompt}\tevaluation\n", encoding="utf-8")
    meshes = read_meshes("meshes.tsv")
    (row,) = read_prompts("prompts.tsv", meshes)
    assert row.prompt == prompt.strip()
    # Into a settings file and back, as jobs get it.
    plan = Plan(parse_config(CONFIG))
    path = plan.write_settings("texture", plan.texture_job("pretrained", 0))
    (asset,) = read_json(path)["assets"]
    assert asset["prompt"] == row.prompt
    # Into what the model reads.
    text = get_preset("texgen").view_prompt(asset["prompt"], "front")
    assert row.prompt in text
    ids = tokenizer([text], padding="max_length", truncation=True, max_length=77).input_ids[0]
    assert len(ids) == 77 and max(ids) < len(tokenizer)
    # Into a score file and back, as the table reads it.
    cells = asset | {"view": 0, "azimuth": "0", "elevation": "0", "background": "white", "score": "0.5"}
    write_scores(Path("results/scores/x.tsv"), [cells, cells])
    write_score_record(Path("results/scores/x.tsv"), {})
    table = read_score_file("results/scores/x.tsv")
    assert table["prompt"].tolist() == [row.prompt] * 2 and table["score"].tolist() == [0.5] * 2
    # Into a page.
    page = script_json({"prompt": row.prompt})
    assert not set("<>&") & set(page) and json.loads(page)["prompt"] == row.prompt
    assert not Path("executed").exists()


ROWS = {
    "empty": (HEADER + "a\t*\t\tevaluation\n", ("row 2", "prompt", "is empty")),
    "blanks only": (HEADER + "a\t*\t    \tevaluation\n", ("row 2", "prompt", "is empty")),
    "a tab": (HEADER + "a\t*\ta red\tcube\tevaluation\n", ("row 2", "5 cells", "tab")),
    "a newline": (HEADER + "a\t*\ta red\ncube\tevaluation\n", ("row 2", "split")),
    "a return": (HEADER + "a\t*\ta red\rcube\tevaluation\n", ("row 2", "U+000D", "remove")),
    "a null": (HEADER + "a\t*\ta red\0cube\tevaluation\n", ("row 2", "U+0000", "remove")),
    "an escape": (HEADER + "a\t*\ta \x1b[31mred cube\tevaluation\n", ("row 2", "U+001B", "remove")),
    "a line separator": (HEADER + "a\t*\ta red\u2028cube\tevaluation\n", ("row 2", "U+2028", "remove")),
    "a next line": (HEADER + "a\t*\ta red\x85cube\tevaluation\n", ("row 2", "U+0085", "remove")),
    "a path as name": (HEADER + "../a\t*\tred\tevaluation\n", ("row 2", "prompt_id", "letters")),
    "an absolute name": (HEADER + "/etc/a\t*\tred\tevaluation\n", ("row 2", "prompt_id", "letters")),
    "a long name": (HEADER + "a" * 300 + "\t*\tred\tevaluation\n", ("row 2", "prompt_id", "100")),
    "a name twice": (HEADER + "a\t*\tred\tevaluation\n" * 2, ("row 3", "prompt_id", "row 2")),
    "no rows": (HEADER, ("no rows",)),
    "nothing": ("", ("is empty",)),
    "another mesh": (HEADER + "a\tcow\tred\tevaluation\n", ("row 2", "mesh", "'cow'")),
}


@pytest.mark.parametrize("name", ROWS)
def test_a_prompt_sheet_is_refused_in_a_sentence(name, tmp_path):
    text, parts = ROWS[name]
    (tmp_path / "meshes.tsv").write_text(MESHES)
    (tmp_path / "prompts.tsv").write_bytes(text.encode())
    meshes = read_meshes(tmp_path / "meshes.tsv")
    check_sentence(outcome(lambda: read_prompts(tmp_path / "prompts.tsv", meshes)), "prompts.tsv", *parts)


MESH_ROWS = {
    "a name twice": (MESHES + MESHES.splitlines()[1] + "\n", ("row 3", "mesh", "row 2")),
    "a path as name": (MESHES.replace("cube\t", "../../cube\t", 1), ("row 2", "mesh", "letters")),
    "a dot": (MESHES.replace("cube\t", ".\t", 1), ("row 2", "mesh", "letters")),
    "a separator in the name": (MESHES.replace("cube\t", "a--b\t", 1), ("row 2", "mesh", "letters")),
    "no source": (MESHES.replace("pymeshlab:cube", ""), ("row 2", "source", "file:PATH")),
    "a wrong hash": (MESHES.replace("cube\t\t", "cube\tABC\t"), ("row 2", "sha256", "64")),
    "half a file": (MESHES.splitlines()[0][:20], ("column",)),
    "not text": (b"\x1f\x8b\x08\x00\xff\xfe", ("UTF-8",)),
    "utf-16": (MESHES.encode("utf-16"), ("UTF-8",)),
}


@pytest.mark.parametrize("name", MESH_ROWS)
def test_a_mesh_sheet_is_refused_in_a_sentence(name, tmp_path):
    text, parts = MESH_ROWS[name]
    (tmp_path / "meshes.tsv").write_bytes(text if isinstance(text, bytes) else text.encode())
    check_sentence(outcome(lambda: read_meshes(tmp_path / "meshes.tsv")), "meshes.tsv", *parts)


@pytest.mark.parametrize("change", ["mark", "windows", "blank lines", "blanks"])
def test_a_sheet_as_other_programs_write_it_is_read(change, tmp_path):
    text = {
        "mark": "\ufeff" + MESHES,
        "windows": MESHES.replace("\n", "\r\n"),
        "blank lines": MESHES + "\n\t\t\n\n",
        "blanks": MESHES.replace("\t", " \t "),
    }[change]
    (tmp_path / "meshes.tsv").write_bytes(text.encode())
    (row,) = read_meshes(tmp_path / "meshes.tsv")
    assert row.mesh == "cube" and re.fullmatch("evaluation", row.split)

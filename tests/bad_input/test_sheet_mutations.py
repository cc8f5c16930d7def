"""Sheets, records and configurations with anything in them: read, or refused in a sentence."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.examples import few

from workflow.config.configuration import parse_config
from workflow.config.sheets import NAME, ConfigError, PromptRow, read_meshes, read_prompts
from workflow.provenance import read_record

FEW = few(60)
MESHES = "mesh\tsource\tsha256\trotate\tlicence\tsplit\n"
MESHES += "cube\tpymeshlab:cube\t\tx:-90\tfree\tevaluation\nball\tfile:a.obj\t\t\tfree\ttraining\n"
PROMPTS = "prompt_id\tmesh\tprompt\tsplit\n"
# Everything that UTF-8 can hold and a cell may: no control characters, no line or paragraph separators.
LETTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
NAMES = st.from_regex(rf"\A{NAME.pattern}\Z").filter(lambda name: len(name) <= 40)
CONFIG = {
    "title": "A test",
    "backbone": {"folder": "models/x", "controlnets": {"depth_inpaint": {"folder": "models/c"}}},
    "metrics": {"alignment": {"kind": "alignment"}},
    "models": {"tuned": {"rewards": [{"metric": "alignment"}], "steps": 3}},
    "methods": {"pretrained": {"kind": "texgen"}, "tuned": {"kind": "texgen", "model": "tuned"}},
    "evaluation": {"seeds": [0], "backgrounds": {"white": [1.0, 1.0, 1.0]}},
}
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("sheets")
    (path / "meshes.tsv").write_text(MESHES)
    return path


def test_rows_with_any_printable_prompt_come_back(folder):
    meshes, path = read_meshes(folder / "meshes.tsv"), folder / "prompts.tsv"

    @FEW
    @given(st.dictionaries(NAMES, st.text(LETTERS, min_size=1).filter(str.strip), min_size=1, max_size=4))
    def run(prompts):
        rows = "".join(f"{name}\t*\t{prompt}\ttraining\n" for name, prompt in prompts.items())
        path.write_bytes((PROMPTS + rows).encode())
        wanted = [PromptRow(name, "*", prompt.strip(), "training") for name, prompt in prompts.items()]
        assert read_prompts(path, meshes) == wanted

    run()


@pytest.mark.parametrize("sheet", ["meshes", "prompts"])
def test_damaged_sheets_are_read_or_refused(sheet, folder):
    meshes, path = read_meshes(folder / "meshes.tsv"), folder / f"damaged-{sheet}.tsv"
    text = MESHES if sheet == "meshes" else PROMPTS + "red\t*\ta red one\tevaluation\n"
    piece = st.sampled_from(["\t", "\n", "\r", "\0", "--", "../", "\ufeff", '"', "cube", "*", "é"])

    @FEW
    @given(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, 9), piece | st.text(max_size=4))))
    def run(changes):
        changed = text
        for at, removed, inserted in changes:
            changed = changed[:at] + inserted + changed[at + removed :]
        path.write_bytes(changed.encode("utf-8", errors="surrogatepass"))
        try:
            rows = read_meshes(path) if sheet == "meshes" else read_prompts(path, meshes)
        except ConfigError as error:
            assert str(path) in str(error) and "\n" not in str(error) and str(error).endswith(".")
            return
        names = [row.mesh if sheet == "meshes" else row.prompt_id for row in rows]
        assert len(set(names)) == len(names) and all(NAME.fullmatch(name) for name in names)

    run()


def test_any_bytes_are_a_sheet_or_refused(folder):
    path = folder / "noise.tsv"

    @FEW
    @given(st.binary(max_size=200))
    def run(data):
        path.write_bytes(data)
        with pytest.raises(ConfigError):
            read_meshes(path)

    run()


def test_any_bytes_are_a_record_or_none(folder):
    path = folder / "run.json"

    @FEW
    @given(st.one_of(st.binary(max_size=60), JSON.map(lambda value: json.dumps(value).encode())))
    def run(data):
        path.write_bytes(data)
        assert read_record(path) is None or isinstance(read_record(path), dict)

    run()


def places(value, path=()) -> list[tuple]:
    """Where something stands in nested dicts and lists."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [place for key, part in inner for place in places(part, (*path, key))]


def test_a_configuration_with_anything_in_any_place_is_checked(folder):
    everywhere = places(CONFIG)

    @FEW
    @given(st.sampled_from(everywhere), JSON)
    def run(place, value):
        data = copy.deepcopy(CONFIG)
        here = data
        for key in place[:-1]:
            here = here[key]
        here[place[-1]] = value
        try:
            parse_config(data, "my.yaml")
        except ConfigError as error:
            assert all(line.startswith("my.yaml") for line in str(error).splitlines()), error

    run()

"""Configuration files with mistakes, traps and strange YAML: checked, or refused in a sentence each."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from reference.outcomes import check_sentence, files_below, outcome

from workflow.config.configuration import load_config
from workflow.config.strict import PlainPath

GOOD = {
    "title": "A test",
    "backbone": {"folder": "models/x", "controlnets": {"depth_inpaint": {"folder": "models/c"}}},
    "metrics": {
        "clipscore": {"kind": "clipscore", "clip": {"folder": "models/clip"}},
        "alignment": {"kind": "alignment"},
    },
    "models": {"tuned": {"rewards": [{"metric": "alignment"}], "steps": 3}},
    "methods": {"pretrained": {"kind": "texgen"}, "tuned": {"kind": "texgen", "model": "tuned"}},
}


def bomb(depth: int = 30) -> str:
    """Ten references to ten references and so on: 10 ** depth entries if it were ever unfolded."""
    lines = ["a0: &a0 [x, x]"] + [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, depth)]
    return "\n".join(lines) + "\n"


TEXTS: dict[str, tuple[str | bytes, tuple[str, ...]]] = {
    "nothing": ("", ("must hold fields",)),
    "comments only": ("# title: x\n", ("must hold fields",)),
    "a list": ("- title\n", ("must hold fields",)),
    "a word": ("title\n", ("must hold fields",)),
    "an open bracket": ("title: [x\n", ("line 2", "is not YAML")),
    "a tab": ("title:\n\tx: 1\n", ("line 2", "is not YAML")),
    "two colons": ("title: a: b\n", ("line 1", "is not YAML")),
    "a null byte": ("title: a\0b\n", ("is not YAML",)),
    "not text": (b"title: \xff\xfe\n", ("UTF-8",)),
    "no date": ("title: 2020-99-99 00:00:00\n", ("is not YAML",)),
    "deep": ("title: " + "[" * 1000, ("nested too deeply",)),
    "a cycle": ("title: &a [*a]\n", ("title",)),
    "a number of 6,000 digits": ("title: x\nseeds: 0x" + "f" * 5000 + "\n", ("seeds", "2^63")),
    "the same in sixties": ("title: 1" + ":1" * 5000 + "\n", ("title", "2^63")),
    "the same as a key": ("? 0x" + "f" * 5000 + "\n: 1\n", ("a key of the file", "2^63")),
    "a bomb": (bomb(), ("a0 is not a known field",)),
    "a bomb in a field": (bomb() + "title: *a29\n", ("title",)),
    "a program": ("title: !!python/object/apply:os.system ['touch executed']\n", ("is not YAML",)),
    "a module": ("title: !!python/module:antigravity\n", ("is not YAML",)),
    "an unknown anchor": ("title: *nowhere\n", ("is not YAML",)),
    "two documents": ("title: a\n---\ntitle: b\n", ("is not YAML",)),
    "merge of a word": ("<<: x\ntitle: a\n", ("is not YAML",)),
    "a list as key": ("? [a, b]\n: 1\n", ("is not YAML",)),
    "a number as key": ("1: 2\n", ("keys should be strings",)),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_refused_in_sentences(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, parts = TEXTS[name]
    Path("my.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    said = outcome(lambda: load_config("my.yaml"))
    sentences = said.splitlines()
    assert all(line.startswith("my.yaml") for line in sentences), said
    check_sentence(next(line for line in sentences if parts[0] in line), *parts)
    assert files_below(tmp_path) == {"my.yaml"}


VALUES = [
    ("titel", "x", ["titel is not a known field", "did you mean 'title'?"]),
    ("title", None, ["title is None"]),
    ("title", ["a"], ["title"]),
    ("results", "", ["results"]),
    ("results", "a{b}", ["results", "braces"]),
    ("results", "~/out", ["results", "whole path"]),
    ("results", "-x", ["results", "./-x"]),
    ("results", "y" * 300, ["results", "255 bytes"]),
    ("prompts", "{x}.tsv", ["prompts", "braces"]),
    ("prompts", " ", ["prompts", "empty"]),
    ("title", "a\u202eb", ["title", "U+202E"]),
    ("title", "a\ud800b", ["title"]),
    ("results", "a'b\nc", ["results"]),
    ("prompts", 3, ["prompts is 3"]),
    ("meshes.longest_side", float("nan"), ["meshes.longest_side"]),
    ("meshes.longest_side", float("inf"), ["meshes.longest_side"]),
    ("meshes.longest_side", -1, ["meshes.longest_side is -1", "greater than 0"]),
    ("meshes.uv", "fold", ["meshes.uv is 'fold'", "'auto', 'keep', 'pack' or 'unwrap'"]),
    ("backbone.folder", None, ["backbone", "exactly one of folder and hub"]),
    ("backbone.controlnets", {"../x": {"folder": "y"}}, ["backbone.controlnets"]),
    ("metrics", {}, ["metrics", "at least 1"]),
    ("metrics.alignment", "alignment", ["metrics.alignment"]),
    ("metrics.alignment", None, ["metrics.alignment"]),
    ("metrics.alignment.kind", "beauty", ["metrics.alignment.kind is 'beauty'", "'clipscore'"]),
    ("metrics.alignment.kind", ["alignment"], ["metrics.alignment.kind"]),
    ("models.tuned.rewards", [], ["models.tuned.rewards"]),
    ("models.tuned.rewards", "alignment", ["models.tuned.rewards"]),
    ("models.tuned.steps", "many", ["models.tuned.steps is 'many'"]),
    ("models.tuned.steps", True, ["models.tuned.steps is True"]),
    ("models.tuned.steps", 2.5, ["models.tuned.steps is 2.5"]),
    ("models.tuned.learning_rate", "fast", ["models.tuned.learning_rate is 'fast'"]),
    ("models.tuned.learning_rate", float("nan"), ["models.tuned.learning_rate"]),
    ("methods", {}, ["methods", "at least 1"]),
    ("methods", ["texgen"], ["methods"]),
    ("methods", {"a/b": {"kind": "texgen"}}, ["methods.a/b"]),
    ("methods", {"a" * 300: {"kind": "texgen"}}, ["methods", "100"]),
    ("methods.tuned.kind", "texgn", ["methods.tuned.kind is 'texgn'", "'texgen'"]),
    ("methods.tuned.model", "tuned2", ["methods.tuned.model is 'tuned2'", "allowed are null and tuned"]),
    ("methods.tuned.preset.prompt_template", "{prompt} {mesh}", ["prompt_template", "{prompt} and {view}"]),
    ("methods.tuned.preset.prompt_template", "{prompt.__class__}", ["prompt_template", "{prompt} and"]),
    ("methods.tuned.preset.prompt_template", "{prompt:>9999999999}", ["prompt_template", "{prompt} and"]),
    ("methods.tuned.preset.prompt_template", "{prompt", ["prompt_template", "any other brace twice"]),
    ("methods.tuned.preset.prompt_template", "a cube", ["prompt_template", "must hold {prompt}"]),
    ("evaluation.seeds", [], ["evaluation.seeds"]),
    ("evaluation.seeds", [-1], ["evaluation.seeds[0] is -1"]),
    ("evaluation.seeds", [10**30], ["evaluation.seeds[0]", "2^63"]),
    ("evaluation.seeds", [2**63], ["evaluation.seeds[0]"]),
    ("models.tuned.steps", -(10**40), ["models.tuned.steps", "2^63"]),
    ("methods", {10**40: {"kind": "texgen"}}, ["a key of methods"]),
    ("evaluation.shards", 0, ["evaluation.shards is 0"]),
    ("evaluation.reference", "nobody", ["evaluation.reference is 'nobody'", "pretrained, tuned"]),
    ("evaluation.backgrounds", {"white": [2, 2, 2]}, ["evaluation.backgrounds.white[0] is 2"]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "parts"), VALUES, ids=lambda value: str(value)[:30])
def test_a_value_is_refused_in_a_sentence(path, value, parts, tmp_path):
    data = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    here = data
    for key in parents:
        here = here.setdefault(key, {})
    here[last] = value
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(data, allow_unicode=True))
    said = outcome(lambda: load_config(tmp_path / "my.yaml"))
    matching = [line for line in said.splitlines() if parts[0] in line]
    assert matching, said
    check_sentence(matching[0], "my.yaml", *parts)


def test_the_unchanged_configuration_is_good(tmp_path):
    (tmp_path / "my.yaml").write_text(yaml.safe_dump(GOOD))
    assert load_config(tmp_path / "my.yaml").title == "A test"


@pytest.mark.parametrize("path", ["nowhere.yaml", ".", "a" * 300 + ".yaml", "my.yaml/inside.yaml"])
def test_a_path_that_is_no_file_is_named(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("title: x\n")
    check_sentence(outcome(lambda: load_config(path)), path[:100], "cannot be read")


@pytest.mark.parametrize(
    "folder", ["results", "results/a b", "/scratch/me/x-1.2", "x~/out", "../out", "ergebnisse-ü"]
)
def test_usual_results_folders_are_allowed(folder):
    from pydantic import TypeAdapter

    assert TypeAdapter(PlainPath).validate_python(folder) == folder

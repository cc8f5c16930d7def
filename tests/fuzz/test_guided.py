"""Coverage-guided search for bytes that make readers stumble: meshes, sheets, settings, records, studies.

TEXREWARD_EXAMPLES=20000 tries that many for each, other ones at every call; the default is few and fixed.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from reference.guided import search
from reference.mesh_files import valid_files
from reference.outcomes import check_sentence

from report.study.booklets import read_answers, read_key
from texgen.errors import DamagedFileError
from texgen.finetune.history import read_history
from texgen.mesh.mesh import MeshError
from texgen.reading.prepare import read_mesh
from texgen.storage.records import sealed
from texgen.storage.result_records import read_run
from workflow.config.configuration import load_config
from workflow.config.sheets import NAME, ConfigError, read_meshes, read_prompts
from workflow.provenance import read_record

ROOT = Path(__file__).resolve().parents[2]
READERS = [str(ROOT / "texgen" / "reading"), str(Path(trimesh.__file__).parent / "exchange")]
WORKFLOW = [str(ROOT / "workflow")]
FILES = valid_files()
MESHES = b"mesh\tsource\tsha256\trotate\tlicence\tsplit\n"
MESHES += b"cube\tpymeshlab:cube\t\tx:-90\tfree\tevaluation\nball\tfile:a.obj\t\t\tfree\ttraining\n"
PROMPTS = b"prompt_id\tmesh\tprompt\tsplit\nred\t*\ta red one\tevaluation\n"
CONFIG = b"metrics:\n  alignment: {kind: alignment}\nmethods:\n  pretrained: {kind: texgen}\n"
RECORD = b'{"hash": "ab", "status": "ok", "seconds": 1.5, "calls": [1, null]}'
STORAGE = str(ROOT / "texgen" / "storage")
HISTORY = b'{"step": 0, "reward": null, "seconds": 0.0}\n{"step": 1, "reward": 0.5, "seconds": 1.5}\n'
KEY = {
    "methods": {"a": "A", "b": "B"},
    "reference": "a",
    "question": "q",
    "trials": {"t": {"left": "a", "right": "b", "repeat_of": ""}},
}
ANSWERED = {"participant": "p", "answers": {"t": "left"}}
# Pieces of the formats, put in here and there.
MESH_WORDS = [
    b"f 1 2 3\n",
    b"vt 0 0\n",
    b"1//",
    b"element face 9\n",
    b"facet",
    b'"count":9',
    b'"byteLength":9',
]
SHEET_WORDS = [b"*", b"--", b"../", b"training", b"https://", b"x:90,", b"a" * 101, b"\xc2\x85", b'"']
YAML_WORDS = [b": ", b"[", b"{", b"- ", b"&a ", b"*a", b"!!python/name:os.system ", b"null", b".nan", b"<<: "]
JSON_WORDS = [b'"', b"{", b"[" * 2000, b"NaN", b"1e999", b"9" * 5000, b"\\ud800"]


def knock(data: bytes) -> None:
    """Opens only to three bytes, which are guessed one by one if each right one is noticed."""
    if len(data) < 3:
        return
    if data[0] == 0x54:
        if data[1] == 0xE5:
            if data[2] == 0x78:
                raise ValueError("opened")


def test_the_search_finds_what_blind_changes_would_not():
    """Blind changes would need 256 ** 3 tries, about 17 million."""
    with pytest.raises(ValueError, match="opened") as caught:
        search(knock, [b"\0" * 3], [__file__], tries=200_000)
    assert "The bytes were b'T\\xe5x" in caught.value.__notes__[0]
    blind = search(knock, [b"\0" * 3], ["nowhere"], tries=20_000)
    assert len(blind.corpus) == 1 and not blind.edges


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("guided")


@pytest.mark.parametrize("name", FILES)
def test_a_mesh_file_is_read_or_refused(name, folder):
    path = folder / name

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            vertices, faces, uvs, uv_faces = read_mesh(path)
        except MeshError as error:
            assert name in str(error) and "\n" not in str(error) and str(error).endswith(".")
            return
        assert np.isfinite(vertices).all() and len(faces) > 0
        assert faces.min() >= 0 and faces.max() < len(vertices)
        assert uvs is None or (uv_faces.min() >= -1 and uv_faces.max() < len(uvs))

    found = search(read, [FILES[name]], READERS, 150, MESH_WORDS)
    assert len(found.corpus) > 3  # the watched lines are really seen


@pytest.mark.parametrize("sheet", ["meshes", "prompts"])
def test_a_sheet_is_read_or_refused(sheet, folder):
    (folder / "meshes.tsv").write_bytes(MESHES)
    meshes, path = read_meshes(folder / "meshes.tsv"), folder / f"changed-{sheet}.tsv"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            rows = read_meshes(path) if sheet == "meshes" else read_prompts(path, meshes)
        except ConfigError as error:
            assert str(path) in str(error) and "\n" not in str(error) and str(error).endswith(".")
            return
        names = [row.mesh if sheet == "meshes" else row.prompt_id for row in rows]
        assert len(set(names)) == len(names) and all(NAME.fullmatch(name) for name in names)

    seed = MESHES if sheet == "meshes" else PROMPTS
    assert len(search(read, [seed], WORKFLOW, 800, SHEET_WORDS).corpus) > 5


def test_a_configuration_is_checked_or_refused(folder):
    path = folder / "my.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            load_config(path)
        except ConfigError as error:
            assert all(line.startswith(str(path)) for line in str(error).splitlines()), error

    smoke = (ROOT / "config" / "smoke.yaml").read_bytes().partition(b"metrics:")[0]
    assert len(search(read, [smoke + CONFIG], WORKFLOW, 150, YAML_WORDS).corpus) > 3


def test_a_record_is_read_or_nothing(folder):
    path = folder / "run.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        assert read_record(path) is None or isinstance(read_record(path), dict)

    assert len(search(read, [RECORD], [*WORKFLOW, STORAGE], 500, JSON_WORDS).corpus) > 1


def test_a_run_record_is_read_or_refused(folder):
    """`run.json` as its readers open it: one that proves itself, or a sentence."""
    path = folder / "asset" / "run.json"
    path.parent.mkdir()

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            assert read_run(folder, "asset")["asset"] == "asset"
        except DamagedFileError as error:
            check_sentence(str(error), "run.json")

    whole = sealed({"asset": "asset", "status": "ok", "hash": "h"})
    assert read_run_of(path, whole)["hash"] == "h"
    assert len(search(read, [whole], [STORAGE], 400, JSON_WORDS).corpus) > 1


def read_run_of(path: Path, data: bytes) -> dict:
    path.write_bytes(data)
    return read_run(path.parent.parent, path.parent.name)


def test_a_training_history_is_read_or_refused(folder):
    path = folder / "history.jsonl"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            rows = read_history(path)
        except DamagedFileError as error:
            check_sentence(str(error), str(path))
            return
        assert rows and all(isinstance(row["step"], int) for row in rows)

    sources = [str(ROOT / "texgen" / "finetune"), STORAGE]
    assert len(search(read, [HISTORY], sources, 400, JSON_WORDS).corpus) > 1


@pytest.mark.parametrize("kind", ["key", "answers"])
def test_a_study_file_is_read_or_refused(kind, folder):
    path = folder / f"{kind}.json"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            found = read_key(path) if kind == "key" else read_answers(path, KEY)
        except ValueError as error:
            check_sentence(str(error), str(path))
            return
        if kind == "key":
            assert found["reference"] in found["methods"]
        else:
            participant, answers = found
            assert participant.strip() and set(answers) <= set(KEY["trials"])

    seed = json.dumps(KEY if kind == "key" else ANSWERED).encode()
    words = [*JSON_WORDS, b"left", b"null", b"[]", b"{}"]
    assert len(search(read, [seed], [str(ROOT / "report" / "study"), STORAGE], 400, words).corpus) > 2

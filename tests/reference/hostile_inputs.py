"""Coverage-guided search for bytes that make a reader stumble, hang or write where it should not."""

from __future__ import annotations

import contextlib
import io
import json
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from reference.guided import search
from reference.mesh_files import valid_files

from report.study.booklets import read_answers, read_key
from texgen.finetune.history import read_history
from texgen.reading.prepare import read_mesh
from texgen.storage.records import find_record, sealed
from workflow.config.configuration import load_config
from workflow.config.sheets import read_meshes, read_prompts
from workflow.provenance import read_settings
from workflow.runtime.step_errors import plain_sentence

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [str(ROOT / name) for name in ("workflow", "report", "texgen")]
WORDS = [b'"', b"{", b"[" * 2000, b"NaN", b"1e999", b"9" * 5000, b"\\ud800", b"null", b"[]", b"{}", b"../"]
LONGEST = 10.0
"""Seconds that one reading may take."""
KEY = {
    "methods": {"a": "A", "b": "B"},
    "reference": "a",
    "question": "q",
    "trials": {"t": {"left": "a", "right": "b", "repeat_of": ""}},
}
ANSWERS = {"participant": "p", "answers": {"t": "left"}}
HISTORY = b'{"step": 0, "reward": null, "seconds": 0.0}\n{"step": 1, "reward": 0.5, "seconds": 1.5}\n'


def readers(folder: Path) -> dict[str, tuple[bytes, Callable[[Path], object]]]:
    """Name of the file -> (valid bytes, what reads it)."""
    meshes = (ROOT / "config" / "meshes.tsv").read_bytes()
    rows = read_meshes(ROOT / "config" / "meshes.tsv")
    found: dict[str, tuple[bytes, Callable[[Path], object]]] = {
        "config.yaml": ((ROOT / "config" / "smoke.yaml").read_bytes(), load_config),
        "meshes.tsv": (meshes, read_meshes),
        "prompts.tsv": (
            (ROOT / "config" / "smoke_prompts.tsv").read_bytes(),
            lambda path: read_prompts(path, rows),
        ),
        "run.json": (sealed({"asset": "a", "status": "ok", "hash": "h"}), find_record),
        "settings.json": (b'{"method": "a", "assets": []}', read_settings),
        "history.jsonl": (HISTORY, read_history),
        "key.json": (json.dumps(KEY).encode(), read_key),
        "answers.json": (json.dumps(ANSWERS).encode(), lambda path: read_answers(path, KEY)),
    }
    return found | {name: (data, read_mesh) for name, data in valid_files().items()}


def search_inputs(folder: Path, seconds: float, figures) -> None:
    """Search every reader for an equal share of the time."""
    place = folder / "inputs"
    place.mkdir(exist_ok=True)
    found = readers(place)
    counts: dict[str, int] = {}
    for name, (seed, read) in found.items():
        path = place / name
        counts[name] = _search(path, seed, read, seconds / len(found), figures)
        figures.note(inputs={**counts, "all": sum(counts.values())})
        print(f"{name}: {counts[name]} inputs", flush=True)


def _search(path: Path, seed: bytes, read: Callable[[Path], object], seconds: float, figures) -> int:
    tries = 0

    def one(data: bytes) -> None:
        nonlocal tries
        tries += 1
        path.write_bytes(data)
        began, said = time.monotonic(), io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                read(path)
        except Exception as error:
            sentence = plain_sentence(error) or (str(error) if type(error) is ValueError else None)
            if sentence is None or not sentence.strip():
                figures.problem(f"{path.name}: {traceback.format_exc()[-500:]} for {data[:2000]!r}")
        if "Traceback" in said.getvalue():
            figures.problem(f"{path.name}: printed {said.getvalue()[-500:]} for {data[:2000]!r}")
        if time.monotonic() - began > LONGEST:
            figures.problem(f"{path.name}: {time.monotonic() - began:.0f} s for {data[:2000]!r}")

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        search(one, [seed], SOURCES, 200, WORDS)
    return tries

"""The records of a results folder, one reader per kind, which checks what the record stands for.

| record                              | stands for                                             |
|-------------------------------------|--------------------------------------------------------|
| meshes/<mesh>/mesh.json             | mesh.npz, geometry.npz                                 |
| models/<model>/config.json          | adapter, history.jsonl, cameras.json where it has some |
| textures/<method>/<asset>/run.json  | texture.png, painted.png, mesh.glb                     |
| textures/<method>/shard-<k>.json    | the run.json of its assets, and their files            |
| scores/<metric>/<method>.json       | <method>.tsv                                           |
| quality.json                        | quality.tsv                                            |
| distances.json                      | distances.tsv                                          |
| renders/<method>/renders.json       | renders.tsv and the pictures that it lists             |
| stages/stages.json                  | stages.npz                                             |

All readers raise DamagedFileError with one sentence. Imports no torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.storage.files import read_bytes
from texgen.storage.records import (
    AGAIN,
    FILES,
    SEAL,
    check_files,
    read_record,
    stamp,
    stamps,
    write_record,
)

RUN = "run.json"
RUN_FILES = ("texture.png", "painted.png", "mesh.glb")
MESH = "mesh.json"
MESH_FILES = ("mesh.npz", "geometry.npz")
MODEL = "config.json"

Record = dict[str, Any]


def _read(path: Path, keys: Sequence[str]) -> Record:
    """A record that must be there and have some fields."""
    try:
        record = read_record(path)
    except FileNotFoundError:
        raise DamagedFileError(f"{path} is missing; {AGAIN}.") from None
    missing = [key for key in keys if key not in record]
    if missing:
        raise DamagedFileError(f"{path} lacks {', '.join(missing)}; delete it and {AGAIN}.")
    return record


def _refuse_other(path: Path, found: Any, expected: str) -> None:
    if found != expected:
        raise DamagedFileError(
            f"{path} is the record of {found!r}, not of {expected!r}; delete it and {AGAIN}."
        )


# ---- textures -----------------------------------------------------------------------------------------


def read_run(textures: Path, asset: str) -> Record:
    """The record of an asset of a method's folder of textures, done or failed."""
    path = Path(textures) / asset / RUN
    run = _read(path, ("asset", "status", "hash"))
    _refuse_other(path, run["asset"], asset)
    return run


def check_run(textures: Path, run: Record, names: Iterable[str] = RUN_FILES) -> None:
    """That the files of a textured asset are those that its record was written for; a failed one has none."""
    if run["status"] == "ok":
        check_files(Path(textures) / run["asset"], run, names)


def write_manifest(path: Path, method: str, textures: Path, runs: Iterable[Record]) -> None:
    """What a texturing job has made, so that one reading and a look at each file tell whether it is whole."""
    listed = [
        {
            **{key: run[key] for key in ("asset", "status", "hash")},
            FILES: {RUN: stamp(Path(textures) / run["asset"] / RUN), **run.get(FILES, {})},
        }
        for run in runs
    ]
    write_record(path, {"method": method, "runs": listed})


def read_manifest(path: Path, method: str) -> list[Record]:
    """The entries of a manifest: asset, status, hash and stamps."""
    manifest = _read(path, ("method", "runs"))
    _refuse_other(path, manifest["method"], method)
    return manifest["runs"]


# ---- meshes and models --------------------------------------------------------------------------------


def checked_mesh(meshes: Path, name: str) -> Record:
    """The record of a prepared mesh whose files are whole."""
    folder = Path(meshes) / name
    record = _read(folder / MESH, ("mesh",))
    _refuse_other(folder / MESH, record["mesh"], name)
    check_files(folder, record, MESH_FILES)
    return record


def checked_model(folder: Path) -> Record:
    """The record of a tuned model whose files are whole."""
    folder = Path(folder)
    record = _read(folder / MODEL, ("model", FILES))
    _refuse_other(folder / MODEL, record["model"], folder.name)
    check_files(folder, record, record[FILES])
    return record


def check_adapter(folder: Path) -> None:
    """That an adapter is the one its record stands for. One without a record of ours, as diffusers writes
    them, is taken as it is."""
    path = Path(folder) / MODEL
    if not path.is_file():
        return
    try:
        foreign = SEAL not in json.loads(read_bytes(path))
    except (ValueError, RecursionError, TypeError):
        foreign = False
    if not foreign:
        remedy = "take a whole copy of the model, or train it again"
        record = read_record(path, remedy)
        check_files(folder, record, record.get(FILES) or (), remedy)


# ---- scores -------------------------------------------------------------------------------------------


def write_score_record(table: Path, record: Record, more: Iterable[str] = ()) -> None:
    """The record of a table of scores, or of another file, beside it. more: paths below its folder of files
    that it lists."""
    write_record(table.with_suffix(".json"), {**record, FILES: stamps(table.parent, [table.name, *more])})


def checked_scores(table: Path) -> Record:
    """The record of a file with a record of its own beside it, which is whole: `<metric>/<method>.tsv`,
    `quality.tsv`, `distances.tsv`, `renders.tsv` with its pictures, `stages.npz`."""
    path = Path(table).with_suffix(".json")
    record = _read(path, (FILES,))
    if "method" in record:
        _refuse_other(path, f"{record.get('metric')}/{record['method']}", f"{path.parent.name}/{path.stem}")
    check_files(path.parent, record, dict.fromkeys([Path(table).name, *record[FILES]]))
    return record

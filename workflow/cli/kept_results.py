"""Which results of a folder are there already and current: a batch that was killed goes on where it was.

A result's folder has its record, result.json, written last: the hash of all that the texture depends on, and
stamps of the files. Imports no torch before it is asked for a hash.
"""

from __future__ import annotations

from dataclasses import fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texgen.errors import DamagedFileError
from texgen.storage.records import FILES, check_files, read_record, stamps, write_record
from workflow.cli.terminal import say
from workflow.provenance import content_hash, file_hash, place_hashes

if TYPE_CHECKING:
    from texgen.mesh.mesh import Mesh
    from texgen.painting.keep import KeptTexture
    from workflow.cli.painter import ChosenMethod
    from workflow.cli.texture_batch import TextureRequest

RECORD, TEXTURE, MESH = "result.json", "texture.png", "mesh.glb"


def choice_identity(choice: ChosenMethod) -> dict[str, Any]:
    """What of a choice decides its textures: settings, weights, adapters and their strengths, code."""
    from workflow.steps.loading import adapter_hashes, asset_files

    job = choice.job
    return {
        "job": job.identity(),
        "weights": place_hashes(job.places()),
        "checkout": asset_files(job, {}),
        "code": job.code(),
        "tuned": None if choice.tuned is None else adapter_hashes(choice.tuned.folder),
        "beside": None if choice.beside is None else [file_hash(choice.beside.path), choice.beside_scale],
    }


def mesh_hash(mesh: Mesh) -> str:
    """Hash of a working mesh, without its name."""
    tensors = {each.name: getattr(mesh, each.name) for each in fields(mesh)}
    digests = {name: _digest(value) for name, value in tensors.items() if hasattr(value, "numpy")}
    return content_hash([digests, mesh.structure.to_json()])


def result_hash(identity: dict[str, Any], mesh: str, wanted: TextureRequest, keep: KeptTexture | None) -> str:
    """Hash of all that one result depends on. identity, mesh: of `choice_identity` and `mesh_hash`."""
    kept = None if keep is None else [_digest(keep.texture), _digest(keep.repaint)]
    return content_hash([identity, mesh, wanted.prompt.text, wanted.seed, kept])


def _digest(tensor: Any) -> str:
    return sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()


def write_result_record(folder: Path, facts: dict[str, Any], film: Path | None) -> None:
    """The record of a result whose files are all written; facts hold its hash."""
    names = [MESH, TEXTURE, *([] if film is None else [film.name])]
    write_record(folder / RECORD, {**facts, FILES: stamps(folder, names)})


def finished_result(folder: Path, digest: str) -> dict[str, Any] | None:
    """The record of a result that is done, current and whole, else None; says what is damaged."""
    try:
        record = read_record(folder / RECORD, "it is made again now")
        if record.get("hash") != digest:
            return None
        check_files(folder, record, (MESH, TEXTURE), "the result is made again now")
    except FileNotFoundError:
        return None
    except (DamagedFileError, OSError) as error:
        say(str(error))
        return None
    return record


def has_film(folder: Path, record: dict[str, Any], film: Path) -> bool:
    """Whether a finished result has the film of some name, as it was written."""
    try:
        check_files(folder, record, [film.name])
    except DamagedFileError:
        return False
    return True

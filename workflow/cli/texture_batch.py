"""Which textures a command makes: every mesh by every prompt by every seed, and what each is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from texgen.diffusion.prompts import require_words
from texgen.mesh.formats import FORMATS, WRITTEN
from texgen.storage.files import read_bytes
from workflow.cli.checks import UsageError, check_mesh_output, check_number, find_mesh
from workflow.config.sheets import prompt_rows

MOST_RESULTS = 10_000
LONGEST_WORDS = 40


@dataclass(frozen=True)
class Prompt:
    """name: in the names of folders. mesh: the stem of the mesh that it is for, * = all."""

    name: str
    text: str
    mesh: str = "*"


@dataclass(frozen=True)
class TextureRequest:
    """One texture to make. mesh: its file. name: of its folder."""

    mesh: Path
    prompt: Prompt
    seed: int
    name: str


def mesh_files(given: Sequence[str], cache: Path, sha256: str = "") -> list[Path]:
    """The files of meshes that were named: files, sources, folders with any number of them."""
    found: list[Path] = []
    for name in given:
        folder = Path(name)
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        inside = [path for path in inside if path.suffix.lower() in FORMATS and path.is_file()]
        found += inside if len(inside) > 1 else [find_mesh(name, cache, sha256)]
    if sha256 and len(found) > 1:
        raise UsageError("--sha256 is the checksum of one mesh file; several are given.")
    return list(dict.fromkeys(found))


def all_prompts(texts: Sequence[str], sheet: str | None) -> list[Prompt]:
    """Prompts as they were given, then those of a file: one a line, or a sheet of prompts. Raises UsageError
    where there is none or one comes twice."""
    found = [(None, text, "*") for text in texts]
    if sheet is not None:
        found += _of_file(Path(sheet))
    if not found:
        raise UsageError(
            "What shall be painted? Give a prompt behind the mesh, --prompt TEXT (again for more) or "
            "--prompts FILE."
        )
    prompts, names = [], set()
    for name, text, mesh in found:
        require_words(text)
        if (text, mesh) in {(each.text, each.mesh) for each in prompts}:
            raise UsageError(f"The prompt {text!r} is given twice; give it once.")
        name = _free(name or _words(text), names)
        prompts.append(Prompt(name, text, mesh))
    return prompts


def wanted_results(
    meshes: Sequence[Path], prompts: Sequence[Prompt], seeds: Sequence[int]
) -> list[TextureRequest]:
    """Every mesh by every prompt that is for it by every seed, mesh by mesh. Raises UsageError."""
    for seed in seeds:
        check_number("--seed", seed, 0, 2**63 - 1)
    if len(set(seeds)) < len(seeds):
        raise UsageError("--seed names a seed twice; name each once.")
    stems, names = {}, set()
    for path in meshes:
        stems[path] = _free(_words(path.stem), names)
    strangers = {each.mesh for each in prompts} - {"*"} - {path.stem for path in meshes}
    if strangers:
        raise UsageError(
            f"--prompts names the mesh {sorted(strangers)[0]!r}, which is not given; give its file, or "
            "leave its rows out."
        )
    found = [
        TextureRequest(path, prompt, seed, f"{stems[path]}--{prompt.name}--{seed}")
        for path in meshes
        for prompt in prompts
        if prompt.mesh in ("*", path.stem)
        for seed in seeds
    ]
    bare = [path for path in meshes if path not in {each.mesh for each in found}]
    if bare:
        raise UsageError(f"No prompt is for the mesh {bare[0].stem!r}; add one, or leave the mesh out.")
    if len(found) > MOST_RESULTS:
        raise UsageError(f"These are {len(found)} textures; ask for {MOST_RESULTS} at most at a time.")
    return found


def output_of(given: str, count: int, inputs: tuple[Path, ...]) -> tuple[Path, bool]:
    """(path to write, whether it is a folder of results) for `count` textures. Raises UsageError."""
    path = Path(given)
    if path.suffix.lower() in WRITTEN and not path.is_dir():
        if count > 1:
            raise UsageError(
                f"--out is {given!r}, one file, but {count} textures are asked for; give a folder, which "
                "gets a folder for each."
            )
        return check_mesh_output(given, inputs), False
    if count == 1 and path.suffix and not path.is_dir():
        return check_mesh_output(given, inputs), False  # says which endings there are
    existing = path.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        raise UsageError(f"--out is {given!r}, but {existing} is a file, not a folder; choose another.")
    return path, True


def _of_file(path: Path) -> list[tuple[str | None, str, str]]:
    """(name or None, text, mesh) of a file: a sheet where it ends in .tsv, else one prompt a line."""
    if path.suffix.lower() == ".tsv":
        return [(row.prompt_id, row.prompt, row.mesh) for row in prompt_rows(path)]
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"--prompts {path} cannot be read ({error.strerror}); check the path.") from None
    except UnicodeDecodeError:
        raise UsageError(f"--prompts {path} is not UTF-8 text; save it as such.") from None
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"--prompts {path} holds no prompt; write one on each line.")
    return [(None, line, "*") for line in dict.fromkeys(lines)]


def _words(text: str) -> str:
    """A text as part of a file's name: letters, digits and single dashes."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()
    return words[:LONGEST_WORDS].rstrip("-") or "x"


def _free(name: str, taken: set[str]) -> str:
    """The name, numbered where it is taken; it is taken now. Case does not tell files apart everywhere."""
    number, found = 1, name
    while found.lower() in taken:
        number += 1
        found = f"{name}-{number}"
    taken.add(found.lower())
    return found

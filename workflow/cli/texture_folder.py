"""A folder of results: painted one after the other, those that are finished kept, and one picture of all."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texgen.storage.plain_text import terminal
from workflow.cli.kept_results import (
    RECORD,
    TEXTURE,
    choice_identity,
    finished_result,
    has_film,
    mesh_hash,
    result_hash,
    write_result_record,
)
from workflow.cli.painter import ChosenMethod
from workflow.cli.terminal import say
from workflow.cli.texture_batch import TextureRequest
from workflow.cli.texture_files import GRID, picture, write_film, write_grid, write_result
from workflow.runtime.step_errors import concerns_machine, plain_sentence

if TYPE_CHECKING:
    from texgen.painting.keep import KeptTexture
    from workflow.cli.texture import Order


def write_folder(
    order: Order, meshes: dict[Path, Any], keep: KeptTexture | None, make: Callable[[TextureRequest], Any]
) -> int:
    """A folder per result and one picture of all; what is finished and current is kept, and a result that
    fails does not stop the others. 1 where some failed."""
    identity = choice_identity(order.choice)
    shapes = {path: mesh_hash(mesh) for path, mesh in meshes.items()}
    hashes = {each.name: result_hash(identity, shapes[each.mesh], each, keep) for each in order.wanted}
    found = {name: finished_result(order.out / name, digest) for name, digest in hashes.items()}
    kept = {name: record for name, record in found.items() if record is not None}
    if kept:
        say(
            f"{order.out}: {len(kept)} of {len(order.wanted)} textures are finished and kept; "
            "delete the folder of one to paint it again"
        )
    pictures, failed = [], 0
    for number, wanted in enumerate(order.wanted, start=1):
        folder, mesh = order.out / wanted.name, meshes[wanted.mesh].to("cpu")
        if wanted.name in kept:
            pictures.append((wanted, keep_result(order, folder, mesh, kept[wanted.name])))
            continue
        say(f"[{number}/{len(order.wanted)}] {wanted.name}")
        # A record that stands for files which are written over must not outlive a kill.
        (folder / RECORD).unlink(missing_ok=True)
        try:
            result = make(wanted)
        except Exception as error:
            if concerns_machine(error):
                raise
            sentence = plain_sentence(error)
            if sentence is None:
                traceback.print_exc()
            say(f"{wanted.name}: failed, {terminal(sentence or f'{type(error).__name__}: {error}')}")
            pictures.append((wanted, None))
            failed += 1
            continue
        texture = result.texture.cpu()
        for lost in write_result(folder, mesh, texture):
            say(f"warning: {lost}")
        if order.film is not None:
            write_film(folder / order.film, mesh, texture)
        cost = {"seconds": result.spent.wall, "calls": result.calls, "views": result.views}
        made_of = facts(order, wanted) | cost | {"hash": hashes[wanted.name]}
        write_result_record(folder, made_of, order.film)
        pictures.append((wanted, picture(mesh, texture)))
        say(f"{folder}: textured by {described(order.choice, result)}")
    write_grid(order.out / GRID, pictures)
    done = len(order.wanted) - failed
    say(f"{order.out / GRID}: {done} of {len(order.wanted)} textures")
    return int(failed > 0)


def keep_result(order: Order, folder: Path, mesh: Any, record: dict[str, Any]) -> Any:
    """The picture of a finished result, which gets its film where that was not asked for before."""
    from texgen.mesh.export import load_texture_png

    texture = load_texture_png(folder / TEXTURE)
    if order.film is not None and not has_film(folder, record, order.film):
        write_film(folder / order.film, mesh, texture)
        write_result_record(folder, record, order.film)
    return picture(mesh, texture)


def facts(order: Order, wanted: TextureRequest) -> dict[str, Any]:
    """What a result was made of, for its record."""
    choice = order.choice
    return {
        "mesh": str(wanted.mesh),
        "prompt": wanted.prompt.text,
        "seed": wanted.seed,
        "method": choice.name,
        "settings": choice.changes,
        "model": None if choice.tuned is None else choice.tuned.name,
        "lora_scale": choice.lora_scale,
        "adapter": None if choice.beside is None else choice.beside.name,
        "adapter_scale": choice.beside_scale,
    }


def described(choice: ChosenMethod, result: Any) -> str:
    """By what, how long and at which cost a result was made."""
    counted = [f"{count} {name} calls" for name, count in result.calls.items()]
    calls = ", ".join(counted or ["model calls not counted"])
    tuned = "" if choice.tuned is None else f" with {choice.tuned.name}"
    beside = "" if choice.beside is None else f" and {choice.beside.name}"
    return f"{choice.name}{tuned}{beside} in {result.spent.wall:.1f} s, {calls}"

"""`texreward texture`: textures of meshes by prompts, painted anew or in a region of a texture."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rewards.picture_files import PICTURES
from texgen import shipped
from texgen.storage.plain_text import without_passwords
from workflow.cli.checks import (
    MOST_TEXELS,
    UsageError,
    check_number,
    check_output,
    check_threads,
    orientation_line,
    turns,
)
from workflow.cli.keeping import Keeping, read_keeping, refuse_other_uvs, require_own_uvs
from workflow.cli.painter import ChosenMethod, MethodRequest, choose, keeping_methods
from workflow.cli.terminal import PaintingProgress, say
from workflow.cli.texture_batch import (
    TextureRequest,
    all_prompts,
    mesh_files,
    output_of,
    wanted_results,
)
from workflow.cli.texture_files import FILMS, GRID, PICTURE_SIDE, picture, write_film
from workflow.cli.texture_folder import described, write_folder
from workflow.config.configuration import load_config
from workflow.config.kinds import METHODS
from workflow.runtime.locking import work_alone


@dataclass(frozen=True)
class Order:
    """All that a command asks for, checked before anything is loaded. folder: whether `out` gets a folder per
    result. texture, picture, film: files to write besides, None = none; a folder's film is a name in each."""

    wanted: list[TextureRequest]
    choice: ChosenMethod
    keeping: Keeping | None
    out: Path
    folder: bool
    texture: Path | None
    picture: Path | None
    film: Path | None
    rotate: str
    uv: str
    threads: int | None


def texture(options: argparse.Namespace) -> int:
    """Texture meshes and write them; 1 where some of several failed."""
    order = checked(options)
    say("; ".join([*_named(order.wanted), "reading", orientation_line(order.rotate)]))
    meshes = {path: read(path, order) for path in dict.fromkeys(each.mesh for each in order.wanted)}
    keep = None if order.keeping is None else order.keeping.kept(next(iter(meshes.values())))
    if order.threads is not None:
        import torch

        torch.set_num_threads(order.threads)

    @cache
    def loaded() -> Callable:
        work = order.out / "official" if order.folder else order.out.with_suffix(".official")
        if METHODS[order.choice.method.kind].needs_backbone:
            say(f"loading {without_passwords(shipped.located(order.choice.config.backbone.source))}")
        else:
            say(f"running the authors' program; its log and files are in {work}")
        return order.choice.load(work)

    def make(wanted: TextureRequest) -> Any:
        paint, progress = loaded(), PaintingProgress()
        more = {} if keep is None else {"keep": keep}
        try:
            return paint(meshes[wanted.mesh], wanted.prompt.text, wanted.seed, progress, **more)
        finally:
            progress.close()

    if order.folder:
        with work_alone(order.out / GRID):
            return write_folder(order, meshes, keep, make)
    (wanted,) = order.wanted
    result = make(wanted)
    write_one(order, meshes[wanted.mesh], result)
    say(f"{order.out}: textured by {described(order.choice, result)}")
    return 0


def checked(options: argparse.Namespace) -> Order:
    """The order of a command line. Raises UsageError and the like, one sentence each."""
    check_number("--steps", options.steps, 1, 1000)
    check_number("--texture-size", options.texture_size, 16, MOST_TEXELS)
    check_threads(options.threads)
    rotate = turns(options.up, options.front, options.rotate)
    given = list(options.inputs)
    texts = list(options.prompt or ())
    if not texts and options.prompts is None:
        texts = [given.pop()] if len(given) > 1 else []
    prompts = all_prompts(texts, options.prompts)
    seeds = [seed for each in options.seed or [[0]] for seed in each]
    # A file to write that cannot be is said before a mesh is looked for.
    inputs = tuple(Path(name) for name in given)
    single = len(given) == len(prompts) == len(seeds) == 1 and not Path(given[0]).is_dir()
    if single:
        output_of(options.out, 1, inputs)
    keeping = read_keeping(
        options.texture_in, options.mask, options.repaint_box, options.repaint_part, options.texture_size
    )
    config = load_config(options.config)
    settings = {
        "steps": options.steps,
        "texture_size": options.texture_size if keeping is None else keeping.size,
        "rasterizer": options.rasterizer,
        "negative_prompt": options.negative_prompt,
    }
    request = MethodRequest(
        options.method,
        settings,
        options.model,
        options.lora_scale,
        options.adapter,
        options.adapter_scale,
    )
    choice = choose(config, request)
    if keeping is not None and not choice.keeps:
        raise UsageError(
            f"The method {options.method!r} cannot keep a part of a texture; --texture-in needs one of "
            f"{', '.join(keeping_methods(config)) or 'another configuration'}."
        )
    meshes = mesh_files(given, shipped.downloads(), options.sha256)
    if keeping is not None and len(meshes) > 1:
        raise UsageError(f"--texture-in is the texture of one mesh, but {len(meshes)} are given.")
    wanted = wanted_results(meshes, prompts, seeds)
    out, folder = output_of(options.out, len(wanted), inputs)
    uv = options.uv or config.meshes.uv
    if keeping is not None:
        refuse_other_uvs(options.uv)
        uv = "keep"
    texture, shown, film = side_files(options, out, folder, inputs)
    return Order(wanted, choice, keeping, out, folder, texture, shown, film, rotate, uv, options.threads)


def side_files(
    options: argparse.Namespace, out: Path, folder: bool, inputs: tuple[Path, ...]
) -> tuple[Path | None, Path | None, Path | None]:
    """Where --texture, --picture and --turntable are written, None where they were not given."""
    read = (*inputs, *(Path(each) for each in (options.texture_in, options.mask) if each is not None))
    texture = shown = film = None
    if options.texture is not None:
        if folder:
            raise UsageError("--texture is one file; each folder of the results has its texture.png anyway.")
        texture = check_output("--texture", options.texture, PICTURES, (*read, out))
    if options.picture is not None:
        if folder:
            raise UsageError(f"--picture is one file; {GRID} shows all results of a folder anyway.")
        shown = check_output("--picture", options.picture, PICTURES, (*read, out))
    if options.turntable is not None:
        film = Path(options.turntable)
        if folder and film.name != options.turntable:
            raise UsageError(
                f"--turntable is {options.turntable!r}; of several results give a plain name, such as "
                "turn.gif, which each folder gets."
            )
        if folder and film.suffix.lower() not in FILMS:
            raise UsageError(f"--turntable is {options.turntable!r}; give a name that ends in .gif or .mp4.")
        if not folder:
            film = check_output("--turntable", options.turntable, FILMS, (*read, out))
    named = {"--out": out, "--texture": texture, "--picture": shown}
    options_of: dict[Path, str] = {}
    for option, path in named.items():
        if path is not None and options_of.setdefault(path.absolute(), option) != option:
            raise UsageError(
                f"{option} and {options_of[path.absolute()]} name the same file; give each its own."
            )
    return texture, shown, film


def read(path: Path, order: Order):
    """The working mesh of a file; what deserves a look is said."""
    from texgen.mesh.mesh import MeshError
    from texgen.reading.prepare import prepare

    try:
        prepared = prepare(
            path,
            path.stem,
            uv_policy=order.uv,
            longest_side=order.choice.config.meshes.longest_side,
            rotate=order.rotate,
            progress=say,
        )
    except MeshError as error:
        raise UsageError(str(error)) from None
    for problem in prepared.warnings:
        say(f"warning: {path.name}: {problem}" if order.folder else f"warning: {problem}")
    if order.keeping is not None:
        require_own_uvs(path, prepared.mesh, prepared.kept_uvs)
    return prepared.mesh


def write_one(order: Order, mesh, result) -> None:
    """A single result, in the files that were named."""
    from texgen.mesh.export import save_image, save_texture_png
    from texgen.mesh.export_files import write_textured

    mesh, painted = mesh.to("cpu"), result.texture.cpu()
    for lost in write_textured(order.out, mesh, painted):
        say(f"warning: {lost}")
    if order.texture is not None:
        save_texture_png(order.texture, painted)
    if order.picture is not None:
        save_image(order.picture, picture(mesh, painted, PICTURE_SIDE))
    if order.film is not None:
        write_film(order.film, mesh, painted)


def _named(wanted: Sequence[TextureRequest]) -> list[str]:
    meshes = list(dict.fromkeys(each.mesh for each in wanted))
    if len(wanted) == 1:
        return [str(meshes[0])]
    return [f"{len(wanted)} textures of {len(meshes)} meshes"]

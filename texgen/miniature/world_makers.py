"""What worker processes do to make a world: rasterise shapes, paint views, cut and paint atlases.

Nothing but row numbers travels between the processes; everything is written into shared memory maps. What a
row holds depends on the seed and its number alone.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from texgen.miniature.captions import caption
from texgen.miniature.lighting import soft_light
from texgen.miniature.materials import draw_paint, paint
from texgen.miniature.preferences import other_paint
from texgen.miniature.scale import IMAGE_SIZE, Sizes
from texgen.miniature.shape_views import ShapeView
from texgen.miniature.shapes import SHAPES
from texgen.miniature.world_arrays import OTHER_KINDS, World, write_caption, write_image, write_index
from texgen.storage.files import write_text

VIEWS_PER_SHAPE = 6
CHUNK = 64
SOFT_SHARE = 0.15  # of the samples are softly lit
NO_WARP = (
    "NVIDIA Warp, which casts the rays of the world's views and atlases, cannot be imported ({error}); "
    "install it (`pip install warp-lang`), or make the world on a machine that has it, with `--until "
    "atlases` if it is to be painted here, and copy its folder."
)
# Present while a world is unfinished: what is being made in this folder.
PLAN = "plan.json"
Rows = tuple[int, int]


@cache
def _open(folder: Path, sizes: Sizes) -> World:
    return World(sizes, folder, "r+")


def write_views(folder: Path, sizes: Sizes, seed: int, rows: Rows) -> None:
    """Rasterise the views of one shape."""
    from texgen.miniature.dataset import shape_views

    start, stop = rows
    views = shape_views(start // VIEWS_PER_SHAPE, stop - start, seed, IMAGE_SIZE)
    for row, view in enumerate(views, start):
        _open(folder, sizes).write_view(row, view)


def write_samples(folder: Path, sizes: Sizes, seed: int, rows: Rows) -> None:
    """Paint samples, and the first ones of a world wrongly, too."""
    world = _open(folder, sizes)
    for row in range(*rows):
        paint_sample(world, row, seed)


def paint_sample(world: World, row: int, seed: int) -> None:
    """Draw paint, light and caption of a sample and write it, with its two wrong paintings if it has them."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + row)
    rng = np.random.default_rng([seed, row])
    view = world.view(row % world.sizes.views)
    spec = draw_paint(generator)
    light, soft = torch.ones(len(view.pixels), 1), bool(rng.random() < SOFT_SHARE)
    if soft:
        light = soft_light(view.normals.float() / 127, view.eye, generator)[:, None]
    text = caption(spec.material, spec.colours, view.shape, rng, view.word, soft)
    if row < world.sizes.others:
        write_others(world, row, view, (spec.material, spec.colours), light, generator)
    world.write_sample(row, view, paint(view.positions, spec) * light, spec, text, soft)


def write_others(
    world: World,
    row: int,
    view: ShapeView,
    spec: tuple[str, tuple[str, ...]],
    light: torch.Tensor | float,
    generator: torch.Generator,
) -> None:
    """Paint a sample of a material and colours in each of the two wrong ways, under the same light."""
    for place, kind in enumerate(OTHER_KINDS):
        other = other_paint(*spec, kind, generator)
        write_image(world.others[row, place], view, paint(view.positions, other) * light)


def write_atlases(folder: Path, sizes: Sizes, seed: int, rows: Rows) -> None:
    """Cut the atlases of random shapes."""
    from texgen.miniature.atlases import shape_atlas

    world, names = _open(folder, sizes), sorted(SHAPES)
    for row in range(*rows):
        rng = np.random.default_rng([seed, 77, row])
        made = shape_atlas(names[int(rng.integers(len(names)))], rng)
        if made is None:
            world.atlas_done[row] = 2
        else:
            world.write_atlas(row, *made)


def paint_atlases(folder: Path, sizes: Sizes, seed: int, rows: Rows) -> None:
    """Paint atlases several times each, flat."""
    world = _open(folder, sizes)
    for i in range(*rows):
        if world.atlas_done[i] != 1:
            continue
        view = world.atlas(i)
        for row in range(i * sizes.paints, (i + 1) * sizes.paints):
            spec = draw_paint(torch.Generator().manual_seed(seed * 1_000_003 + 77_000_000 + row))
            text = caption(spec.material, spec.colours, view.shape, np.random.default_rng([seed, 78, row]))
            write_image(world.atlas_images[row], view, paint(view.positions, spec))
            write_caption(world.atlas_captions, row, text)
        world.atlas_painted[i] = 1


def make_world(
    folder: Path,
    sizes: Sizes,
    seed: int = 0,
    workers: int = 1,
    seconds: float | None = None,
    until: str = "painted",
) -> None:
    """Make a world in a folder, or go on with one of the same sizes and seed that was begun there.

    workers: processes; the world does not depend on it. seconds: no more is painted after this time; the
    index says how many samples there are then. until: "atlases": views and atlases alone, which is all that
    needs Warp, so that another machine can paint them.

    Raises:
        SystemExit: Warp is needed and missing.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    folder.mkdir(parents=True, exist_ok=True)
    plan = json.dumps({"sizes": asdict(sizes), "seed": seed}) + "\n"
    begun = folder / PLAN
    if begun.exists() and begun.read_text() != plan:
        print(f"{folder}: an unfinished world of other sizes or another seed; it is made anew", flush=True)
        begun.unlink()
    if not begun.exists():
        World(sizes, folder, "w+")
        write_text(begun, plan)
    _open.cache_clear()
    world = World(sizes, folder, "r+")
    job = (folder, sizes, seed)
    with _pool(workers) as pool:
        if not (world.view_done.all() and world.atlas_done.all()):
            check_warp()
            _work(write_views, job, _missing(world.view_done, VIEWS_PER_SHAPE), pool, "shapes")
            with _pool(workers) as cutters:  # the unwrapping library can crash; that ends this pool alone
                _work(write_atlases, job, _missing(world.atlas_done, 1), cutters, "atlases", may_break=True)
        if until == "atlases":
            return
        _work(paint_atlases, job, _missing(world.atlas_painted, 8), pool, "chunks of atlases")
        _work(write_samples, job, _missing(world.sample_done, CHUNK), pool, "chunks of samples", deadline)
    undone = np.flatnonzero(world.sample_done == 0)
    painted = int(undone[0]) if len(undone) else sizes.samples
    if painted < sizes.samples:
        print(f"painted {painted} of {sizes.samples} samples in the time given", flush=True)
    write_index(folder, sizes, seed, painted)
    begun.unlink()


def check_warp() -> None:
    """Raise SystemExit with one sentence where Warp, which casts the rays, cannot be imported."""
    try:
        import warp  # noqa: F401
    except ImportError as error:
        raise SystemExit(NO_WARP.format(error=error)) from error


def _missing(done: np.ndarray, size: int) -> list[Rows]:
    """Chunks of rows in which something is not done."""
    chunks = [(start, min(start + size, len(done))) for start in range(0, len(done), size)]
    return [(start, stop) for start, stop in chunks if not done[start:stop].all()]


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor | None]:
    """Processes that start when they get work; none where one worker is enough, which is this process."""
    if workers == 1:
        yield None
        return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _work(
    task: Callable[..., None],
    job: tuple[Path, Sizes, int],
    chunks: list[Rows],
    pool: ProcessPoolExecutor | None,
    name: str,
    deadline: float | None = None,
    may_break: bool = False,
) -> None:
    """Do a task for all chunks, until the deadline.

    may_break: when a process dies, what is not done is left out, instead of an error.
    """
    begin = time.monotonic()
    futures = [pool.submit(task, *job, rows) for rows in chunks] if pool else []
    try:
        for number, rows in enumerate(chunks, 1):
            if pool:
                futures[number - 1].result()
            else:
                task(*job, rows)
            if number % max(1, len(chunks) // 10) == 0:
                print(f"{number} of {len(chunks)} {name}, {time.monotonic() - begin:.0f} s", flush=True)
            if deadline is not None and time.monotonic() > deadline:
                break
    except BrokenProcessPool as error:
        if not may_break:
            raise
        print(f"a worker died while it made {name}, the rest of which are left out: {error}", flush=True)
    for future in futures:
        future.cancel()


def _begin() -> None:
    """One thread each: the processes share the cores."""
    torch.set_num_threads(1)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"

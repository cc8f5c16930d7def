"""What a command writes of finished textures: folders of results, a turning film, one picture of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workflow.cli.kept_results import MESH, TEXTURE
from workflow.cli.texture_batch import TextureRequest

if TYPE_CHECKING:
    from torch import Tensor

    from texgen.mesh.mesh import Mesh

FILMS = (".gif", ".mp4")
FILM_SIDE, CELL, PICTURE_SIDE = 320, 256, 512
FRONT, ELEVATION = 30.0, 15.0
"""From where the picture of a result is taken, degrees."""
GRID = "grid.png"


def write_result(folder: Path, mesh: Mesh, texture: Tensor) -> list[str]:
    """mesh.glb and texture.png of a result [3, T, T].

    Returns what could not be kept of the mesh, one sentence each.
    """
    from texgen.mesh.export import save_texture_png
    from texgen.mesh.export_files import write_textured

    save_texture_png(folder / TEXTURE, texture)
    return write_textured(folder / MESH, mesh, texture)


def write_film(path: Path, mesh: Mesh, texture: Tensor) -> None:
    """One turn of a textured mesh, lit, as GIF or MP4 by the ending of the path."""
    import numpy as np

    from report.figures.turntables import FRAMES, write_gif, write_mp4
    from report.pictures import PICTURE_BACKGROUND, MeshPictures, pixels

    azimuths = [FRONT + 360.0 * k / FRAMES for k in range(FRAMES)]
    look = MeshPictures(mesh, azimuths, ELEVATION, FILM_SIDE, background=PICTURE_BACKGROUND)
    frames = np.stack([pixels(frame) for frame in look(texture)])
    (write_gif if path.suffix.lower() == ".gif" else write_mp4)(path, frames)


def picture(mesh: Mesh, texture: Tensor, side: int = CELL) -> Tensor:
    """[3, side, side] in [0, 1]: a textured mesh, lit, seen from ahead, aside and above."""
    from report.pictures import MeshPictures

    return MeshPictures(mesh, [FRONT], ELEVATION, side)(texture)[0]


def write_grid(path: Path, results: Sequence[tuple[TextureRequest, Tensor | None]]) -> None:
    """One picture of all results: a row per mesh and seed, a column per prompt; a dash for what failed."""
    from report.figures.contact_sheet import contact_sheet

    seeds = len({wanted.seed for wanted, _ in results}) > 1
    rows = list(dict.fromkeys((wanted.mesh, wanted.seed) for wanted, _ in results))
    columns = list(dict.fromkeys(wanted.prompt.text for wanted, _ in results))
    found = {(each.mesh, each.seed, each.prompt.text): image for each, image in results}
    contact_sheet(
        [[found.get((*row, text)) for text in columns] for row in rows],
        [f"{mesh.stem}, seed {seed}" if seeds else mesh.stem for mesh, seed in rows],
        columns,
        path,
        cell_size=CELL,
    )

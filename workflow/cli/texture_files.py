"""What a command writes of finished textures: folders of results, a turning film, one picture of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.cli.texture_batch import TextureRequest
from workflow.provenance import write_json

if TYPE_CHECKING:
    from torch import Tensor

    from texgen.mesh.mesh import Mesh
    from texgen.painting.measured import TextureResult

FILMS = (".gif", ".mp4")
FILM_SIDE, CELL = 320, 256
FRONT, ELEVATION = 30.0, 15.0
"""From where the picture of a result is taken, degrees."""
GRID = "grid.png"


def write_result(folder: Path, mesh: Mesh, result: TextureResult, facts: dict[str, Any]) -> list[str]:
    """A folder with mesh.glb, texture.png and result.json: the given facts and what the painting cost.

    Returns what could not be kept of the mesh, one sentence each.
    """
    from texgen.mesh.export import save_texture_png
    from texgen.mesh.export_files import write_textured

    texture = result.texture.cpu()
    save_texture_png(folder / "texture.png", texture)
    lost = write_textured(folder / "mesh.glb", mesh, texture)
    write_json(
        folder / "result.json",
        {**facts, "seconds": result.spent.wall, "calls": result.calls, "views": result.views},
    )
    return lost


def write_film(path: Path, mesh: Mesh, texture: Tensor) -> None:
    """One turn of a textured mesh, lit, as GIF or MP4 by the ending of the path."""
    import numpy as np

    from report.figures.turntables import FRAMES, write_gif, write_mp4
    from report.pictures import PICTURE_BACKGROUND, MeshPictures, pixels

    azimuths = [FRONT + 360.0 * k / FRAMES for k in range(FRAMES)]
    look = MeshPictures(mesh, azimuths, ELEVATION, FILM_SIDE, background=PICTURE_BACKGROUND)
    frames = np.stack([pixels(frame) for frame in look(texture)])
    (write_gif if path.suffix.lower() == ".gif" else write_mp4)(path, frames)


def picture(mesh: Mesh, texture: Tensor) -> Tensor:
    """[3, S, S] in [0, 1]: a textured mesh, lit, seen from ahead, aside and above."""
    from report.pictures import MeshPictures

    return MeshPictures(mesh, [FRONT], ELEVATION, CELL)(texture)[0]


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

"""Pictures of the held-out textures while a model is trained, for whoever watches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from texgen.finetune.algorithms import Item
from texgen.mesh.export import save_image
from texgen.render.cameras import Cameras
from texgen.render.images import render

AZIMUTHS = (30.0, 120.0, 210.0, 300.0)
ELEVATION = 15.0
MOST_ITEMS = 6
"""Rows of a picture; further held-out items are not shown."""


class Previews:
    """Writes a picture every few steps: a row per held-out item, four views in a row, unlit.

    folder: gets step-000010.png and so on; a run that continues writes the same names. every: steps. size:
    pixels of a view.
    """

    def __init__(self, folder: str | Path, every: int, size: int = 160) -> None:
        if every < 1:
            raise ValueError(f"previews: every is {every}; it must be at least 1 step.")
        self.folder, self.every, self.size = Path(folder), every, size
        self.cameras = Cameras.orbit(list(AZIMUTHS), [ELEVATION] * len(AZIMUTHS))

    def due(self, step: int) -> bool:
        """Whether a picture belongs to a step: 0 (before training) and every so many after it."""
        return step % self.every == 0

    @torch.no_grad()
    def __call__(self, step: int, shown: Sequence[tuple[Item, Tensor]]) -> Path:
        """Writes the picture of a step. shown: held-out items with their textures [3, T, T] in [0, 1]."""
        rows = []
        for item, texture in shown[:MOST_ITEMS]:
            views, _ = render(item.mesh, texture, self.cameras, self.size, supersample=2)
            rows.append(torch.cat(list(views), dim=-1))
        path = self.folder / f"step-{step:06d}.png"
        save_image(path, torch.cat(rows, dim=-2).clamp(0, 1))
        return path


def preview_files(folder: str | Path) -> dict[int, Path]:
    """Step -> picture of a folder of previews, by step; empty where there is none."""
    found = {}
    for path in sorted(Path(folder).glob("step-*.png")):
        number = path.stem.removeprefix("step-")
        if number.isascii() and number.isdigit():
            found[int(number)] = path
    return found

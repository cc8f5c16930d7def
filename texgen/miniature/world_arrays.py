"""The miniature's world in flat arrays: memory maps that all processes share, and the same on a device.

Pictures, their captions and what they show lie by sample; what rays found lies by view. Sample i shows view
i % views. Nothing here casts rays.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from texgen.miniature.caption_words import VIEWS
from texgen.miniature.materials import BACKGROUND, COLOURS, MATERIALS, Paint
from texgen.miniature.scale import IMAGE_SIZE, Sizes
from texgen.miniature.shape_views import ShapeView, paint_view
from texgen.storage.files import write_text

WORDS, COLOUR_NAMES = sorted(VIEWS), tuple(COLOURS)
LONGEST_CAPTION, LONGEST_NAME = 200, 40
# The two further paintings of a sample, in this order.
WRONG_COLOUR, WRONG_MATERIAL = "wrong colour", "wrong material"
OTHER_KINDS = (WRONG_COLOUR, WRONG_MATERIAL)
INDEX = "world.json"


def _fields(sizes: Sizes) -> dict[str, tuple[str, tuple[int, ...]]]:
    s, v, n, o = IMAGE_SIZE, sizes.views, sizes.samples, sizes.others
    a, p = sizes.atlases, sizes.atlases * sizes.paints
    return {
        "alpha": ("u1", (v, s, s)),
        "depth": ("u1", (v, s, s)),
        "positions": ("f2", (v, 3, s, s)),
        "normals": ("i1", (v, 3, s, s)),
        "eye": ("f4", (v, 3)),
        "shape": (f"S{LONGEST_NAME}", (v,)),
        "word": ("i1", (v,)),
        "view_done": ("u1", (v,)),
        "images": ("u1", (n, 3, s, s)),
        "captions": (f"S{LONGEST_CAPTION}", (n,)),
        "material": ("i2", (n,)),
        "colours": ("i1", (n, 2)),  # the second, or both, -1 where there is none
        "soft": ("u1", (n,)),
        "sample_done": ("u1", (n,)),
        "others": ("u1", (o, len(OTHER_KINDS), 3, s, s)),
        "atlas_alpha": ("u1", (a, s, s)),
        "atlas_positions": ("f2", (a, 3, s, s)),
        "atlas_scale": ("f4", (a,)),  # what positions are multiplied by in Paint3D's frame
        "atlas_shape": (f"S{LONGEST_NAME}", (a,)),
        "atlas_done": ("u1", (a,)),  # 1: made, 2: has too many charts
        "atlas_painted": ("u1", (a,)),
        "atlas_images": ("u1", (p, 3, s, s)),
        "atlas_captions": (f"S{LONGEST_CAPTION}", (p,)),
    }


class World:
    """The arrays by name (``world.images`` ...): in memory, or mapped from a folder.

    mode: as of `numpy.memmap`: "w+" makes the files anew, "r+" writes to them and makes those that are
    missing, "c" keeps changes to itself.
    """

    def __init__(self, sizes: Sizes, folder: Path | None = None, mode: str = "c") -> None:
        self.sizes, self.folder = sizes, folder
        for name, (kind, shape) in _fields(sizes).items():
            if folder is None or 0 in shape:
                array = np.zeros(shape, kind)
            else:
                missing = mode == "r+" and not (folder / name).exists()
                array = np.memmap(folder / name, kind, "w+" if missing else mode, shape=shape)
            setattr(self, name, array)

    def view(self, row: int) -> ShapeView:
        """A view that `write_view` wrote."""
        pixels = np.flatnonzero(self.alpha[row])
        return ShapeView(
            shape=self.shape[row].decode(),
            pixels=torch.from_numpy(pixels.astype(np.int32)),
            positions=_picked(self.positions[row], pixels),
            coverage=torch.from_numpy(self.alpha[row].reshape(-1)[pixels]),
            normals=_picked(self.normals[row], pixels),
            depth=torch.from_numpy(np.array(self.depth[row])),
            eye=torch.from_numpy(np.array(self.eye[row])),
            word=WORDS[self.word[row]],
        )

    def write_view(self, row: int, view: ShapeView) -> None:
        """Put a view in its place."""
        pixels = view.pixels.long().numpy()
        self.alpha[row].reshape(-1)[pixels] = view.coverage.numpy()
        self.depth[row] = view.depth.numpy()
        self.positions[row].reshape(3, -1)[:, pixels] = view.positions.numpy().T
        self.normals[row].reshape(3, -1)[:, pixels] = view.normals.numpy().T
        self.eye[row] = view.eye.numpy()
        self.shape[row] = _fitting(view.shape, LONGEST_NAME)
        self.word[row] = WORDS.index(view.word)
        self.view_done[row] = 1

    def atlas(self, row: int) -> ShapeView:
        """The atlas that `write_atlas` wrote, as if it were a view."""
        pixels = np.flatnonzero(self.atlas_alpha[row])
        return ShapeView(
            shape=self.atlas_shape[row].decode(),
            pixels=torch.from_numpy(pixels.astype(np.int32)),
            positions=_picked(self.atlas_positions[row], pixels),
            coverage=torch.from_numpy(self.atlas_alpha[row].reshape(-1)[pixels]),
            normals=torch.zeros(len(pixels), 3, dtype=torch.int8),
            depth=torch.zeros(IMAGE_SIZE, IMAGE_SIZE, dtype=torch.uint8),
            eye=torch.zeros(3),
            word="",
        )

    def write_atlas(self, row: int, view: ShapeView, scale: float) -> None:
        """Put an atlas in its place; scale: of its positions in Paint3D's frame."""
        pixels = view.pixels.long().numpy()
        self.atlas_alpha[row].reshape(-1)[pixels] = view.coverage.numpy()
        self.atlas_positions[row].reshape(3, -1)[:, pixels] = view.positions.numpy().T
        self.atlas_scale[row], self.atlas_shape[row] = scale, _fitting(view.shape, LONGEST_NAME)
        self.atlas_done[row] = 1

    def write_sample(
        self, row: int, view: ShapeView, albedo: Tensor, spec: Paint, text: str, soft: bool = False
    ) -> None:
        """Put a view painted with albedo ``[P, 3]`` in its place, with its caption."""
        write_image(self.images[row], view, albedo)
        self.captions[row] = _fitting(text, LONGEST_CAPTION)
        self.material[row] = MATERIALS.index(spec.material)
        numbers = [COLOUR_NAMES.index(colour) for colour in spec.colours]
        self.colours[row] = (numbers + [-1, -1])[:2]
        self.soft[row] = soft
        self.sample_done[row] = 1


def _picked(array: np.ndarray, pixels: np.ndarray) -> Tensor:
    """``[P, 3]`` of ``[3, H, W]`` at flat pixels ``[P]``."""
    return torch.from_numpy(np.ascontiguousarray(array.reshape(3, -1)[:, pixels].T))


def write_image(image: np.ndarray, view: ShapeView, albedo: Tensor) -> None:
    """Paint a view with albedo ``[P, 3]`` over the world's background into ``[3, H, W]`` uint8."""
    background = (torch.tensor(BACKGROUND) * 255).round().to(torch.uint8)
    image[:] = background.numpy()[:, None, None]
    image.reshape(3, -1)[:, view.pixels.numpy()] = paint_view(view, albedo).numpy().T


def write_caption(array: np.ndarray, row: int, text: str) -> None:
    """Put a caption into an array of them."""
    array[row] = _fitting(text, LONGEST_CAPTION)


def _fitting(text: str, longest: int) -> bytes:
    encoded = text.encode()
    if len(encoded) > longest:
        raise ValueError(f"{text!r} has {len(encoded)} bytes; the world keeps {longest}.")
    return encoded


def write_index(folder: Path, sizes: Sizes, seed: int, painted: int) -> None:
    """Say that a world is made: its sizes, its seed and how many of its samples are painted."""
    index = {"sizes": asdict(sizes), "seed": seed, "painted": painted}
    write_text(folder / INDEX, json.dumps(index, indent=2) + "\n")


def open_world(folder: Path, device: torch.device | str = "cpu", others: bool = False) -> WorldSamples:
    """A world made by `python -m texgen.miniature.world`, on a device.

    others: with the wrong paintings, too. Raises SystemExit when there is none.
    """
    path = folder / INDEX
    if not path.exists():
        raise SystemExit(
            f"{path} is missing; make it with `python -m texgen.miniature.world --out {folder}`."
        )
    index = json.loads(path.read_text())
    world = World(Sizes(**index["sizes"]), folder)
    return WorldSamples(world, torch.device(device), index["painted"], others)


class WorldSamples:
    """What training and evaluation read of a world, in tensors on one device. On a CPU they are the maps.

    Attributes:
        images: ``[N, 3, H, W]`` uint8; captions: N strings; material: ``[N]`` place in ``MATERIALS``; marks:
            ``[N, 11]``, 1 at the colours that the paint was given; paint: ``[N]`` a number for each material
            with its colours; soft: N whether softly lit.
        others: ``[O, 2, 3, H, W]`` uint8, the first O samples as ``OTHER_KINDS`` says; none if not wanted.
        alpha, depth: ``[V, H, W]`` uint8, positions: ``[V, 3, H, W]`` float16, by view.
    """

    def __init__(
        self, world: World, device: torch.device, count: int | None = None, others: bool = True
    ) -> None:
        self.sizes, self.device = world.sizes, device
        count = self.count = world.sizes.samples if count is None else count
        self.images = _tensor(world.images[:count], device)
        self.others = _tensor(world.others[: count if others else 0], device)
        self.captions = [text.decode() for text in world.captions[:count]]
        self.material = _tensor(world.material[:count].astype(np.int64), device)
        colours = torch.from_numpy(world.colours[:count].astype(np.int64))
        marks = torch.zeros(count, len(COLOUR_NAMES) + 1).scatter_(1, colours + 1, 1.0)
        self.marks = marks[:, 1:].to(device)
        base = len(COLOUR_NAMES) + 1
        self.paint = self.material * base**2 + ((colours[:, 0] + 1) * base + colours[:, 1] + 1).to(device)
        self.soft = [bool(value) for value in world.soft[:count]]
        self.alpha, self.depth, self.positions = (
            _tensor(array, device) for array in (world.alpha, world.depth, world.positions)
        )

    def __len__(self) -> int:
        return self.count

    def _index(self, index: Tensor | None) -> Tensor:
        return torch.arange(self.count, device=self.device) if index is None else index

    def views_of(self, index: Tensor | None = None) -> Tensor:
        """The rows of the views that samples ``index [B]`` show; of all samples without an index."""
        return self._index(index) % self.sizes.views

    def pictures(self, index: Tensor | None = None) -> Tensor:
        """``[B, 3, H, W]`` in [0, 1], over the world's background."""
        return self.images[self._index(index)].float() / 255

    def alpha_of(self, index: Tensor | None = None) -> Tensor:
        """Foreground coverage ``[B, 1, H, W]`` in [0, 1]."""
        return (self.alpha[self.views_of(index)].float() / 255)[:, None]

    def depth_of(self, index: Tensor | None = None) -> Tensor:
        """Depth images ``[B, 1, H, W]`` in [0, 1]."""
        return (self.depth[self.views_of(index)].float() / 255)[:, None]

    def positions_of(self, index: Tensor | None = None) -> Tensor:
        """Surface positions ``[B, 3, H, W]``, 0 off the object."""
        return self.positions[self.views_of(index)].float()

    def draw(self, count: int) -> Tensor:
        """``[count]`` random samples."""
        return torch.randint(0, self.count, (count,), device=self.device)


class Atlases:
    """The atlases of a world on a device: images ``[M, 3, H, W]`` and captions by painting; alpha, positions
    and their scale in Paint3D's frame by atlas; owner ``[M]``: the atlas of each painting."""

    def __init__(self, world: World, device: torch.device) -> None:
        made = np.flatnonzero(world.atlas_painted)
        paints = world.sizes.paints
        rows = (made[:, None] * paints + np.arange(paints)).reshape(-1)
        self.images = _tensor(world.atlas_images[rows], device)
        self.captions = [text.decode() for text in world.atlas_captions[rows]]
        self.alpha = _tensor(world.atlas_alpha[made], device)
        self.positions = _tensor(world.atlas_positions[made], device)
        self.scale = _tensor(world.atlas_scale[made], device)
        self.owner = torch.arange(len(made), device=device).repeat_interleave(paints)

    def __len__(self) -> int:
        return len(self.images)


def open_atlases(folder: Path, device: torch.device | str = "cpu") -> Atlases:
    """The atlases of a made world."""
    index = json.loads((folder / INDEX).read_text())
    return Atlases(World(Sizes(**index["sizes"]), folder), torch.device(device))


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.asarray(array)).to(device)

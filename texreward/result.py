"""A painted texture: to be saved, rendered, looked at."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path

from torch import Tensor

from rewards.picture_files import PICTURES
from texgen.mesh.export import save_texture_png
from texgen.mesh.export_files import write_textured
from texgen.mesh.mesh import Mesh
from texgen.painting.measured import TextureResult
from texgen.render.cameras import Cameras, rig_cameras
from texgen.render.images import render
from workflow.cli.checks import check_mesh_output, check_output

Camera = Cameras | str | tuple[float, float]


@dataclass(frozen=True, eq=False)
class Result:
    """One texture on its mesh, on the CPU.

    mesh: the working mesh, with the uvs that the texture belongs to. texture: [3, T, T] in [0, 1], row 0 at
    v = 0, as everywhere in this package (a PNG's last row). details: what the method returned, with its
    seconds, network calls and views.
    """

    mesh: Mesh
    texture: Tensor
    prompt: str
    seed: int
    details: TextureResult

    @property
    def painted(self) -> Tensor:
        """[1, T, T], 1 where a view painted a texel, 0 where it was filled from its surroundings."""
        return self.details.painted.cpu()

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the textured mesh (.glb, .obj, .ply, .usdz) or the texture alone (.png, .jpg, .webp).

        The mesh has the place, size and uvs of the file it was read from; folders are made. What a format
        cannot hold is warned of. Returns the path. Raises ValueError for another ending.

        Examples:
            >>> from texreward import load
            >>> result = load("miniature", image_size=64, steps=2, texture_size=64).texture(
            ...     "procedural:trefoil", "a golden knot"
            ... )
            >>> [result.save(f"knot{ending}").name for ending in (".glb", ".png")]
            ['knot.glb', 'knot.png']
        """
        name = fspath(path)
        if Path(name).suffix.lower() in PICTURES:
            picture = check_output("save", name, PICTURES)
            save_texture_png(picture, self.texture)
            return picture
        place = check_mesh_output(name)
        for lost in write_textured(place, self.mesh, self.texture):
            warnings.warn(lost, stacklevel=2)
        return place

    def render(
        self,
        camera: Camera = (30.0, 20.0),
        size: int = 512,
        background: tuple[float, float, float] = (1.0, 1.0, 1.0),
        supersample: int = 2,
    ) -> Tensor:
        """Images [N, 3, size, size] in [0, 1], without light, of N cameras.

        camera: (azimuth, elevation) in degrees: azimuth 0 looks from the front (+z), 90 from +x, elevations
        above 0 from above; or the name of a rig, e.g. evaluation (texgen/render/rigs.py); or Cameras. size:
        pixels. background: r, g, b in [0, 1]. supersample: rendered so many times finer, then averaged.

        Examples:
            >>> from texreward import load
            >>> painter = load("miniature", image_size=64, render_size=64, texture_size=64, steps=2)
            >>> result = painter.texture("procedural:trefoil", "a golden knot")
            >>> [len(result.render(camera, size=32)) for camera in ((90, 0), "front_4view")]
            [1, 4]
        """
        images, _ = render(self.mesh, self.texture, cameras_of(camera), size, background, supersample)
        return images


def cameras_of(camera: Camera) -> Cameras:
    """Cameras of what `Result.render` takes. Raises ValueError for the name of no rig."""
    if isinstance(camera, Cameras):
        return camera
    return rig_cameras(camera) if isinstance(camera, str) else Cameras.orbit(*camera)

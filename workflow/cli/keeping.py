"""Keep and repaint: a texture that exists, and the region of it that a command paints again.

What files say is checked before a mesh is read, what the mesh says before a model is loaded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rewards.picture_files import opened
from workflow.cli.checks import MOST_TEXELS, UsageError

if TYPE_CHECKING:
    from texgen.mesh.mesh import Mesh
    from texgen.painting.keep import KeptTexture

REGIONS = {
    "mask": "--mask",
    "repaint_box": "--repaint-box",
    "repaint_part": "--repaint-part",
}


@dataclass(frozen=True, eq=False)
class Keeping:
    """What is kept and where it is painted again, as far as files say it. texture: [T, T, 3] uint8, row 0 at
    the top, as in the file. mask: [T, T] bool, likewise; box: six numbers; parts: names; one of the three."""

    texture: Any
    mask: Any = None
    box: tuple[float, ...] = ()
    parts: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Texels along a side."""
        return len(self.texture)

    def kept(self, mesh: Mesh) -> KeptTexture:
        """The texture and its region on a mesh. Raises PlainError where the mesh has no such region."""
        import torch

        from texgen.painting.keep import KeptTexture
        from texgen.painting.regions import box_region, part_region
        from texgen.render.atlas import build_atlas

        texture = float_texture(self.texture)
        if self.mask is not None:
            return KeptTexture(texture, torch.from_numpy(self.mask).flip(0)[None].float())
        atlas = build_atlas(mesh, self.size)
        if self.box:
            return KeptTexture(texture, box_region(mesh, atlas, self.box[:3], self.box[3:]))
        return KeptTexture(texture, part_region(mesh, atlas, self.parts))


def read_keeping(
    texture: str | None,
    mask: str | None = None,
    repaint_box: str | None = None,
    repaint_part: list[str] | None = None,
    texture_size: int | None = None,
) -> Keeping | None:
    """What the options say, each under its name; None where nothing is kept. Raises UsageError."""
    regions = {"mask": mask, "repaint_box": repaint_box, "repaint_part": repaint_part or None}
    given = [REGIONS[name] for name, value in regions.items() if value is not None]
    if texture is None:
        if given:
            raise UsageError(f"{given[0]} says where --texture-in is painted again; give both.")
        return None
    if len(given) != 1:
        raise UsageError(
            f"--texture-in is painted again in one region, told by one of {', '.join(REGIONS.values())}; "
            f"{'none' if not given else ' and '.join(given)} was given."
        )
    pixels = texture_pixels(texture)
    size = len(pixels)
    if texture_size not in (None, size):
        raise UsageError(
            f"--texture-size is {texture_size}, but {texture} has {size} texels along a side; leave "
            "--texture-size out."
        )
    if mask is not None:
        return Keeping(pixels, mask=mask_pixels(mask, texture, size))
    if repaint_box is not None:
        return Keeping(pixels, box=parse_box(repaint_box))
    return Keeping(pixels, parts=tuple(repaint_part or ()))


def texture_pixels(path: str):
    """[T, T, 3] uint8 of a texture's file, as it is: no profile is applied. Raises UsageError."""
    _require_file("--texture-in", path)
    with opened(path) as image:
        return texture_of(image, f"--texture-in {path}")


def texture_of(image: Any, name: str):
    """[T, T, 3] uint8 of an open image, row 0 at the top. name: in sentences. Raises UsageError."""
    import numpy as np

    width, height = image.size
    if width != height or not 16 <= width <= MOST_TEXELS:
        raise UsageError(f"{name} is {width} x {height}; give a square of 16 to {MOST_TEXELS} texels.")
    if image.mode not in ("RGB", "RGBA", "P", "L", "LA"):
        raise UsageError(f"{name} has pixels of kind {image.mode}; save it as RGB with 8 bits a channel.")
    if image.convert("RGBA").getchannel("A").getextrema()[0] < 255:
        raise UsageError(
            f"{name} is transparent in places, which a texture here cannot be; save it without transparency."
        )
    return np.array(image.convert("RGB"))


def float_texture(pixels: Any):
    """[3, T, T] float32 in [0, 1], row 0 at v = 0, of a picture [T, T, 3] uint8, row 0 at the top."""
    import torch

    return torch.from_numpy(pixels).permute(2, 0, 1).flip(1).float() / 255


def mask_pixels(path: str, texture: str, size: int):
    """`mask_of` a file."""
    _require_file("--mask", path)
    with opened(path) as image:
        return mask_of(image, f"--mask {path}", texture, size)


def mask_of(image: Any, name: str, texture: str, size: int):
    """[T, T] bool of an open image: true where it is more white than black, and opaque.

    name, texture: of the mask and of what it is for, in sentences. Raises UsageError.
    """
    import numpy as np

    if image.size != (size, size):
        width, height = image.size
        raise UsageError(
            f"{name} is {width} x {height}, but the texture {texture} is {size} x {size}; give a mask of "
            "its size."
        )
    if image.mode.startswith(("I", "F")):
        raise UsageError(f"{name} has pixels of kind {image.mode}; save it in black and white with 8 bits.")
    both = np.array(image.convert("RGBA").convert("LA"), dtype=np.float32)
    mask = both[..., 0] * both[..., 1] > 255 * 255 / 2
    if not mask.any():
        raise UsageError(f"{name} is black, so nothing is painted again; white marks the region.")
    if mask.all():
        raise UsageError(f"{name} is white, so nothing of the texture is kept; paint all of it anew instead.")
    return mask


def parse_box(text: str, name: str = "--repaint-box") -> tuple[float, ...]:
    """x0,y0,z0,x1,y1,z1 -> its lower and upper corner, in whatever order they were given."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 6 or not all(map(math.isfinite, numbers)):
        raise UsageError(f"{name} is {text!r}; give six numbers, x0,y0,z0,x1,y1,z1.")
    pairs = list(zip(numbers[:3], numbers[3:], strict=True))
    return (*map(min, pairs), *map(max, pairs))


def refuse_other_uvs(policy: str | None) -> None:
    """Raises UsageError for a policy of uvs that makes others than those of the mesh's file."""
    if policy in ("pack", "unwrap"):
        raise UsageError(f"--uv {policy} makes other uvs than those of --texture-in; leave it out.")


def require_own_uvs(path: Path, mesh: Mesh, kept_uvs: bool) -> None:
    """Raises UsageError where the mesh is not mapped as its file says, so that its texture would not fit."""
    import numpy as np

    from texgen.reading.prepare import read_mesh

    moved = not kept_uvs
    if kept_uvs:
        # Whole tiles are not a move: a texture repeats in them.
        uvs = read_mesh(path)[2]
        change = uvs - mesh.uvs.double().numpy()
        moved = bool((np.abs(change - np.round(change)) > 1e-3).any())
    if moved:
        raise UsageError(
            f"{path} is not mapped by uvs of its own that can be kept, so no texture fits it; texture it "
            "once, and give the mesh that was written with that texture."
        )


def _require_file(option: str, path: str) -> None:
    if not Path(path).is_file():
        raise UsageError(f"{option} is {path!r}; there is no such file.")

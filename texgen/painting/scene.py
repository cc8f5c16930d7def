"""The geometry of a mesh that painting needs, and what finishes a texture once its views are painted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from texgen.backprojection.fill import dilate_nearest
from texgen.backprojection.project import texel_visibility
from texgen.backprojection.smooth_fill import SurfaceFill
from texgen.diffusion.conditioning import object_crop, whole_frame
from texgen.mesh.mesh import Mesh
from texgen.painting.presets import Preset
from texgen.painting.state import TextureState, View
from texgen.render.atlas import Atlas, build_atlas
from texgen.render.cameras import Cameras, direction_word
from texgen.render.images import depth_map, geometry_buffer
from texgen.render.silhouette import clear_of_silhouette

DILATION = 0.2
"""How far "dilate" reaches, as a share of the texture's side."""


@dataclass(eq=False)
class Scene:
    """The geometry that painting needs, constant for a mesh, its cameras and the sizes of a preset."""

    mesh: Mesh
    atlas: Atlas
    views: list[View]
    # The last coverage that was filled, with its fill: it hardly ever changes between two paintings.
    filled: tuple[Tensor, SurfaceFill] | None = field(default=None, repr=False)

    def fill(self, texture: Tensor, painted: Tensor) -> Tensor:
        """`texgen.backprojection.smooth_fill.SurfaceFill`, remembered."""
        if self.filled is None or not torch.equal(self.filled[0], painted):
            self.filled = (painted, SurfaceFill.of(painted, self.atlas))
        return self.filled[1](texture)


@dataclass(frozen=True, eq=False)
class Viewpoints:
    """From where is painted. cameras: instead of the method's own; they may require a gradient. indices: of
    the cameras that paint, in painting order; None = all of them.
    """

    cameras: Cameras | None = None
    indices: Sequence[int] | None = None


OWN_CAMERAS = Viewpoints()
"""All of the method's own."""


def prepare_scene(
    mesh: Mesh,
    preset: Preset,
    cameras: Cameras,
    indices: Sequence[int] | None = None,
    atlas: Atlas | None = None,
) -> Scene:
    """Geometry buffers, depth images, crops and texel visibilities of the cameras.

    indices: which cameras, in painting order; None = all. atlas: of this mesh at the preset's texture size,
    when it is there already. Differentiable in cameras that require a gradient. The mesh decides the device
    and the precision.
    """
    atlas = build_atlas(mesh, preset.texture_size) if atlas is None else atlas
    cameras = cameras.to(mesh.vertices.device, mesh.vertices.dtype)
    indices = range(len(cameras)) if indices is None else indices
    return Scene(mesh, atlas, [prepare_view(mesh, atlas, preset, cameras[i], i) for i in indices])


def prepare_view(mesh: Mesh, atlas: Atlas, preset: Preset, camera: Cameras, index: int) -> View:
    """What one camera of a rig, at position `index`, sees; differentiable in the camera."""
    buffer = geometry_buffer(mesh, camera, preset.render_size, preset.rasterizer)
    gathers = preset.projection == "gather"
    crop = object_crop(buffer.mask, preset.crop_margin) if preset.crop else whole_frame(preset.render_size)
    azimuth, elevation = float(camera.azimuth.detach()), float(camera.elevation.detach())
    return View(
        index=index,
        azimuth=azimuth,
        elevation=elevation,
        word=direction_word(azimuth, elevation),
        buffer=buffer,
        depth=depth_map(mesh, camera, buffer, preset.depth_convention),
        visibility=texel_visibility(mesh, atlas, camera, preset.render_size) if gathers else None,
        crop=crop,
        clear=clear_of_silhouette(buffer.mask, preset.rim * crop.side) if preset.rim else None,
    )


def complete(preset: Preset, scene: Scene, state: TextureState) -> tuple[Tensor, Tensor]:
    """Texture [3, T, T] in [0, 1], filled as the preset says, and what was painted of the charts [1, T, T].

    Only "surface" and "dilate" also pad the charts. Differentiable in the state's colours; which texels are
    painted is a constant. Raises ValueError when nothing is painted.
    """
    texture = state.colour().clamp(0, 1)
    filled = state.painted()
    painted = filled * scene.atlas.mask.to(texture.dtype)
    if not bool(painted.any()):
        raise ValueError(
            f"No view of the rig {preset.rig!r} paints any texel of the mesh {scene.mesh.name!r}; "
            "check its size, its uv charts and the preset's min_cosine."
        )
    if preset.fill == "surface":
        texture = scene.fill(texture, painted)
    elif preset.fill == "dilate":
        texture = dilate_nearest(texture, filled, DILATION * preset.texture_size)
    elif preset.fill == "mean":
        mean = (texture * filled).sum((1, 2)) / filled.sum()
        texture = texture * filled + mean[:, None, None] * (1 - filled)
    return texture, painted

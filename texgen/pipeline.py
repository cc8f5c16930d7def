"""Text to texture: paint a mesh view by view with a frozen, or fine-tuned, diffusion model."""

from __future__ import annotations

import resource
import sys
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from texgen.atlas import Atlas, build_atlas
from texgen.backbone import Backbone
from texgen.cameras import Cameras, direction_word, rig_cameras
from texgen.conditioning import object_crop, whole_frame
from texgen.fill import dilate_nearest, fill_index
from texgen.mesh import Mesh
from texgen.painting import Gradient, Progress, TextureState, View, paint_view
from texgen.presets import Preset
from texgen.project import texel_visibility
from texgen.render import depth_map, geometry_buffer

__all__ = ["Scene", "TexGen", "TextureResult", "TextureState", "View", "paint_view", "prepare_scene"]


@dataclass
class TextureResult:
    """What a method returns for one mesh, prompt and seed.

    texture: [3, T, T] in [0, 1], filled and padded. painted: [1, T, T], 1 where a view painted a texel of
    the charts, before filling. seconds: painting alone, without loading models, synchronised on a GPU.
    peak_memory_bytes: on a GPU the most that torch had allocated during the painting; on a CPU the largest
    resident size of the whole process so far (the system keeps no other record). calls: network evaluations
    {"unet", "controlnet"}, a guidance pair counted once. views: per view index, azimuth, elevation, word,
    generate, refine and keep (shares of the visible surface), skipped, seconds.
    """

    texture: Tensor
    painted: Tensor
    seconds: float
    peak_memory_bytes: int
    calls: dict[str, int]
    views: list[dict[str, Any]]


@dataclass(eq=False)
class Scene:
    """The geometry that painting needs, constant for a mesh, its cameras and the sizes of a preset."""

    mesh: Mesh
    atlas: Atlas
    views: list[View]
    # The last coverage that was filled, with its index map: it hardly ever changes between two paintings.
    filled: tuple[Tensor, Tensor] | None = field(default=None, repr=False)

    def fill(self, texture: Tensor, painted: Tensor) -> Tensor:
        """`texgen.fill.fill_uncovered` with the index map remembered."""
        if self.filled is None or not torch.equal(self.filled[0], painted):
            self.filled = (painted, fill_index(painted, self.atlas))
        index = self.filled[1].reshape(-1)
        return texture.flatten(1).index_select(1, index).reshape(texture.shape)


def prepare_scene(mesh: Mesh, preset: Preset, cameras: Cameras) -> Scene:
    """Geometry buffers, depth images, crops and texel visibilities of all cameras.

    Differentiable in cameras that require a gradient. The mesh decides the device and the precision.
    """
    atlas = build_atlas(mesh, preset.texture_size)
    cameras = cameras.to(mesh.vertices.device, mesh.vertices.dtype)
    views = []
    for i in range(len(cameras)):
        camera = cameras[i]
        buffer = geometry_buffer(mesh, camera, preset.render_size)
        gathers = preset.projection == "gather"
        azimuth, elevation = float(camera.azimuth.detach()), float(camera.elevation.detach())
        views.append(
            View(
                index=i,
                azimuth=azimuth,
                elevation=elevation,
                word=direction_word(azimuth, elevation),
                buffer=buffer,
                depth=depth_map(mesh, camera, buffer, preset.depth_convention),
                visibility=texel_visibility(mesh, atlas, camera, preset.render_size) if gathers else None,
                crop=object_crop(buffer.mask, preset.crop_margin)
                if preset.crop
                else whole_frame(preset.render_size),
            )
        )
    return Scene(mesh, atlas, views)


class TexGen:
    """A text-to-texture method: a backbone and a preset. Calling it paints one mesh.

    Results depend on (seed, mesh name, prompt, preset name) only, never on what was painted before.
    cached_meshes: for how many meshes the geometry of the preset's rig is kept between calls; at 1024 pixels
    one view takes about 100 MB.
    """

    def __init__(self, backbone: Backbone, preset: Preset, cached_meshes: int = 2) -> None:
        self.backbone, self.preset, self.cached_meshes = backbone, preset, cached_meshes
        # Keyed by identity; the mesh is held too, so that its id cannot be given to another.
        self._scenes: OrderedDict[int, tuple[Mesh, Scene]] = OrderedDict()
        if preset.image_size % backbone.latent_scale:
            raise ValueError(
                f"Preset {preset.name!r}: image_size is {preset.image_size}, but the backbone's autoencoder "
                f"needs a multiple of {backbone.latent_scale}."
            )

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        """Paint, fill and pad a texture. progress(view, views, step, steps) is called after each step.

        Raises ValueError when no view sees any of the mesh's charts.
        """
        cuda = self.backbone.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.backbone.device)
        calls = self.backbone.calls.as_dict()
        start = self._now()
        with torch.no_grad():
            scene = self._scene(mesh, None)
            state, views = self._paint_views(scene, prompt, seed, progress=progress)
            texture, painted = self._finish(scene, state)
        seconds = self._now() - start
        if cuda:
            peak = torch.cuda.max_memory_allocated(self.backbone.device)
        else:
            peak = process_peak_bytes()
        spent = {name: count - calls[name] for name, count in self.backbone.calls.as_dict().items()}
        return TextureResult(texture, painted, seconds, peak, spent, views)

    def paint(
        self,
        mesh: Mesh,
        prompt: str,
        seed: int,
        cameras: Cameras | None = None,
        gradient: Gradient | None = None,
        soft: bool = False,
        detach_conditioning: bool = True,
        progress: Progress | None = None,
        views: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The differentiable painting: texture [3, T, T] in [0, 1], filled, and its coverage [1, T, T].

        cameras: instead of the preset's rig; they may require a gradient. gradient: how graphs are kept or
        rebuilt (`wrap(step, i, steps)`, `checkpoint(fn, *args)`); None = plain autograd. soft: the soft
        trimap. detach_conditioning: see `painting.paint_view`, which names what exactly is cut. views:
        indices of the cameras that paint, in painting order; None = all of them.
        With soft=False the values equal those of `__call__`.
        Raises ValueError when gradients are recorded with a scheduler that keeps state between its steps.
        """
        if torch.is_grad_enabled() and self.preset.scheduler != "ddim":
            raise ValueError(
                f"Preset {self.preset.name!r} samples with {self.preset.scheduler!r}, which keeps state "
                'between its steps and cannot be differentiated here; use scheduler="ddim", or paint under '
                "torch.no_grad()."
            )
        scene = self._scene(mesh, cameras)
        if views is not None:
            scene = Scene(scene.mesh, scene.atlas, [scene.views[i] for i in views])
        state, _ = self._paint_views(scene, prompt, seed, soft, detach_conditioning, gradient, progress)
        return self._finish(scene, state)

    def _scene(self, mesh: Mesh, cameras: Cameras | None) -> Scene:
        """The scene of the given cameras, or the remembered one of the preset's rig."""
        device, preset = self.backbone.device, self.preset
        dtype = torch.float64 if self.backbone.dtype == torch.float64 else torch.float32
        if cameras is not None:
            return prepare_scene(mesh.to(device, dtype), preset, cameras)
        if id(mesh) in self._scenes:
            self._scenes.move_to_end(id(mesh))
            scene = self._scenes[id(mesh)][1]
            if scene.mesh.vertices.device == device and scene.mesh.vertices.dtype == dtype:
                return scene
        rig = rig_cameras(preset.rig, distance=preset.distance, fov_y=preset.fov_y)
        with torch.no_grad():
            scene = prepare_scene(mesh.to(device, dtype), preset, rig)
        if self.cached_meshes > 0:
            self._scenes[id(mesh)] = (mesh, scene)
            self._scenes.move_to_end(id(mesh))
            while len(self._scenes) > self.cached_meshes:
                self._scenes.popitem(last=False)
        return scene

    def _paint_views(
        self,
        scene: Scene,
        prompt: str,
        seed: int,
        soft: bool = False,
        detach_conditioning: bool = True,
        gradient: Gradient | None = None,
        progress: Progress | None = None,
    ) -> tuple[TextureState, list[dict[str, Any]]]:
        preset, vertices = self.preset, scene.mesh.vertices
        state = TextureState.empty(preset.texture_size, vertices.device, vertices.dtype)
        words = [view.word for view in scene.views]
        prompts = [preset.view_prompt(prompt, word) for word in words]
        text = self.backbone.encode_prompts([preset.negative_prompt, *prompts]).to(vertices.dtype)
        identity = (seed, scene.mesh.name, prompt, preset.name)
        reports = []
        for position, view in enumerate(scene.views, start=1):
            start = self._now()

            def on_step(step: int, steps: int, position: int = position) -> None:
                if progress is not None:
                    progress(position, len(scene.views), step, steps)

            state, report = paint_view(
                self.backbone,
                preset,
                view,
                state,
                text[[0, position]],
                identity,
                soft,
                detach_conditioning,
                gradient,
                on_step,
            )
            where = {"index": view.index, "azimuth": view.azimuth, "elevation": view.elevation}
            reports.append({**where, "word": view.word, **report, "seconds": self._now() - start})
        return state, reports

    def _finish(self, scene: Scene, state: TextureState) -> tuple[Tensor, Tensor]:
        """Texture [3, T, T] in [0, 1], filled as the preset says, and coverage [1, T, T]."""
        texture = state.colour().clamp(0, 1)
        painted = (state.weight > 0).to(texture.dtype) * scene.atlas.mask.to(texture.dtype)
        if not bool(painted.any()):
            raise ValueError(
                f"No view of the rig {self.preset.rig!r} paints any texel of the mesh {scene.mesh.name!r}; "
                "check its size, its uv charts and the preset's min_cosine."
            )
        if self.preset.fill == "surface":
            texture = scene.fill(texture, painted.detach())
        elif self.preset.fill == "dilate":
            reach = 0.2 * self.preset.texture_size
            texture = dilate_nearest(texture, (state.weight.detach() > 0).to(texture.dtype), reach)
        return texture, painted

    def _now(self) -> float:
        """Seconds of a monotonic clock, after the device has finished what it was given."""
        if self.backbone.device.type == "cuda":
            torch.cuda.synchronize(self.backbone.device)
        return time.perf_counter()


def process_peak_bytes() -> int:
    """Largest resident size of this process since it started (Linux counts KiB, macOS bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

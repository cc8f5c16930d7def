"""Text to texture: paint a mesh view by view with a frozen, or fine-tuned, diffusion model."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from texgen.diffusion.backbone import Backbone
from texgen.kept import Kept
from texgen.mesh.mesh import Mesh
from texgen.painting.keep import KeptTexture, require_painted, start_state
from texgen.painting.measured import Painted, TextureResult, measured
from texgen.painting.method_facts import TEXGEN
from texgen.painting.presets import Preset
from texgen.painting.running import step_progress, view_texts
from texgen.painting.scene import OWN_CAMERAS, Scene, Viewpoints, complete, prepare_scene, prepare_view
from texgen.painting.state import TextureState, View
from texgen.painting.views import PLAIN, Brief, Derivative, Progress, paint_view
from texgen.render.cameras import Cameras, rig_cameras
from texgen.timing import Stopwatch

__all__ = ["Scene", "TexGen", "TextureResult", "TextureState", "View", "paint_view", "prepare_scene"]


class TexGen:
    """A text-to-texture method: a backbone and a preset. Calling it paints one mesh.

    Results depend on (seed, the mesh's shape, prompt, preset name) only, never on what was painted before.
    cached_meshes: for how many meshes the geometry of the cameras is kept between calls; at 1024 pixels one
    view takes about 100 MB. cameras: painted from instead of the preset's rig, e.g. learned ones.
    """

    def __init__(
        self, backbone: Backbone, preset: Preset, cached_meshes: int = 2, cameras: Cameras | None = None
    ) -> None:
        self.backbone, self.preset = backbone, preset
        self._cameras = cameras
        self._scenes = Kept(cached_meshes)
        TEXGEN.refuse(preset)
        backbone.control_channels(preset.control_role)  # refuses a role that is not there
        if preset.image_size % backbone.latent_scale:
            raise ValueError(
                f"Preset {preset.name!r}: image_size is {preset.image_size}, but the backbone's autoencoder "
                f"needs a multiple of {backbone.latent_scale}."
            )

    @property
    def cached_meshes(self) -> int:
        """For how many meshes the geometry of the cameras is kept."""
        return self._scenes.most

    @cached_meshes.setter
    def cached_meshes(self, count: int) -> None:
        self._scenes.most = count

    @property
    def cameras(self) -> Cameras:
        """The cameras that textures are painted from, in painting order."""
        if self._cameras is not None:
            return self._cameras
        return rig_cameras(self.preset.rig, distance=self.preset.distance, fov_y=self.preset.fov_y)

    @cameras.setter
    def cameras(self, cameras: Cameras | None) -> None:
        self._cameras = cameras
        self._scenes.clear()

    def __call__(
        self,
        mesh: Mesh,
        prompt: str,
        seed: int,
        progress: Progress | None = None,
        keep: KeptTexture | None = None,
    ) -> TextureResult:
        """Paint, fill and pad a texture. progress(view, views, step, steps) is called after each step.

        keep: a texture of which a region alone is painted; the rest comes out as it went in.
        Raises ValueError when no view sees any of the mesh's charts, or of the region.
        """

        def work() -> Painted:
            scene = self._scene(mesh)
            with self.backbone.lora_merged():
                state, views = self._paint_views(scene, prompt, seed, PLAIN, None, progress, keep)
            return Painted(*self._completed(scene, state, views, keep), views)

        return measured(self.backbone, work)

    def paint(
        self,
        mesh: Mesh,
        prompt: str,
        seed: int,
        derivative: Derivative = PLAIN,
        viewpoints: Viewpoints = OWN_CAMERAS,
        progress: Progress | None = None,
        keep: KeptTexture | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The differentiable painting: texture [3, T, T] in [0, 1], filled, and its coverage [1, T, T].

        derivative: how graphs are kept or rebuilt, and what is cut. viewpoints: other cameras than the
        method's own, or some of them. progress, keep: as in `__call__`; no gradient comes from outside of the
        region that is painted. With a hard trimap, the default, the values equal those of `__call__`.
        Raises ValueError when gradients are recorded with another scheduler than DDIM.
        """
        if torch.is_grad_enabled() and self.preset.scheduler != "ddim":
            raise ValueError(
                f"Preset {self.preset.name!r} samples with {self.preset.scheduler!r}, which cannot be "
                'differentiated here; use scheduler="ddim", or paint under torch.no_grad().'
            )
        scene, gradient = self._scene(mesh), derivative.gradient
        cameras, views, angles = viewpoints.cameras, viewpoints.indices, None
        if cameras is not None:
            cameras = cameras.to(scene.mesh.vertices.device, scene.mesh.vertices.dtype)
            moving = cameras.azimuth.requires_grad or cameras.elevation.requires_grad
            angles = cameras if gradient is not None and moving and torch.is_grad_enabled() else None
            with torch.set_grad_enabled(torch.is_grad_enabled() and angles is None):
                scene = prepare_scene(scene.mesh, self.preset, cameras, views, scene.atlas)
        elif views is not None:
            scene = Scene(scene.mesh, scene.atlas, [scene.views[i] for i in views])
        frozen = not torch.is_grad_enabled() if gradient is None else gradient.frozen()
        with self.backbone.lora_merged() if frozen else nullcontext():
            state, reports = self._paint_views(scene, prompt, seed, derivative, angles, progress, keep)
        return self._completed(scene, state, reports, keep)

    def _completed(
        self, scene: Scene, state: TextureState, reports: list[dict[str, Any]], keep: KeptTexture | None
    ) -> tuple[Tensor, Tensor]:
        """The finished texture and its coverage; what is kept counts as painted."""
        if keep is not None:
            require_painted(reports)
        texture, painted = complete(self.preset, scene, state)
        return (texture if keep is None else keep.composite(texture)), painted

    def _scene(self, mesh: Mesh) -> Scene:
        """The remembered scene of the method's own cameras."""
        device, preset = self.backbone.device, self.preset
        dtype = torch.float64 if self.backbone.dtype == torch.float64 else torch.float32

        @torch.no_grad()
        def made() -> Scene:
            return prepare_scene(mesh.to(device, dtype), preset, self.cameras)

        return self._scenes.get((id(mesh), device, dtype), made, mesh)

    def _paint_views(
        self,
        scene: Scene,
        prompt: str,
        seed: int,
        derivative: Derivative,
        cameras: Cameras | None,
        progress: Progress | None,
        keep: KeptTexture | None,
    ) -> tuple[TextureState, list[dict[str, Any]]]:
        """cameras: learned ones; the views are then rebuilt from their angles where a gradient is taken."""
        preset, vertices = self.preset, scene.mesh.vertices
        state = start_state(keep, preset.texture_size, vertices)
        texts = view_texts(self.backbone, preset, prompt, scene)
        identity = (seed, scene.mesh.shape_key(), prompt, preset.name)
        trained = [parameter for parameter in self.backbone.unet.parameters() if parameter.requires_grad]
        gradient = derivative.gradient
        reports: list[dict[str, Any]] = []
        watch = Stopwatch(self.backbone.device)
        for position, view in enumerate(scene.views, start=1):
            on_step = step_progress(progress, position, len(scene.views))
            report = view.place()
            reports.append(report)
            geometry = self._geometry(scene, view, cameras)
            brief = Brief(texts[position - 1], identity)
            run = self._view_run(geometry, brief, derivative, on_step, report)
            angles = () if cameras is None else (cameras.azimuth[view.index], cameras.elevation[view.index])
            if gradient is None:
                state = run(*state, *angles)
            else:
                state = TextureState(*gradient.view(run, (*state, *angles), trained, cameras is None))
            watch.lap()
        return state, watch.onto(reports)

    def _view_run(
        self,
        geometry: Callable[..., View],
        brief: Brief,
        derivative: Derivative,
        on_step: Callable[[int, int], None],
        report: dict[str, Any],
    ) -> Callable[..., TextureState]:
        """Painting a view as a function of the tensors of a texture state and the angles of its camera, if
        those are learned. geometry: the view of such angles. report: gets what is found of the view."""

        def run(colour_sum: Tensor, weight: Tensor, best_cosine: Tensor, *angles: Tensor) -> TextureState:
            before = TextureState(colour_sum, weight, best_cosine)
            view = geometry(*angles)
            after, found = paint_view(self.backbone, self.preset, view, before, brief, derivative, on_step)
            report.update(found)
            return after

        return run

    def _geometry(self, scene: Scene, view: View, cameras: Cameras | None) -> Callable[..., View]:
        """The view, or with learned cameras the one of given angles (scalars, degrees)."""
        if cameras is None:
            return lambda: view
        fixed = cameras[view.index]

        def rebuilt(azimuth: Tensor, elevation: Tensor) -> View:
            if not torch.is_grad_enabled():
                return view
            camera = Cameras(
                azimuth.reshape(1), elevation.reshape(1), fixed.distance, fixed.fov_y, fixed.near, fixed.far
            )
            return prepare_view(scene.mesh, scene.atlas, self.preset, camera, view.index)

        return rebuilt


def texgen(backbone: Backbone, cameras: Cameras | None = None, **overrides: Any) -> TexGen:
    """The painter of this package as a method; overrides: fields of the preset "texgen"."""
    return TexGen(backbone, TEXGEN.resolved(overrides)[0], cameras=cameras)

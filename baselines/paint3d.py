"""Paint3D (Zeng et al., arXiv 2312.13913) on the shared core.

Stage 1 paints pairs of views as one picture: front and back from text, then two pairs of inpainting; the view
that paints a texel first keeps it. Stage 2 works on the atlas with a ControlNet for position maps: inpainting
of what is missing, then a "tile" pass over everything. Cost: 3 x 20 = 60 evaluations on pairs, then 20 + 15
on the atlas.

Settings are those of the released program (Apache-2.0); where this differs stands in docs/baselines.md. Its
sampler, Euler ancestral, is DDIM with eta 1 up to a scaling of latents, which is what runs here, on Euler's
time steps (999, 946.4, ... 0) and down to a signal of 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from baselines.networks import require_networks
from baselines.presets.paint3d import FACTS, UV_PASSES, Paint3DSettings
from texgen.backprojection.backproject import face_visibility
from texgen.backprojection.fill import padding_index
from texgen.backprojection.project import Visibility, gather, texel_visibility
from texgen.backprojection.trimap import dilate, erode, kernel_side
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import fill_unknown
from texgen.mesh.mesh import Mesh
from texgen.painting.measured import Painted, TextureResult, measured
from texgen.painting.presets import Preset
from texgen.painting.repaint import (
    RenderedView,
    atlas_look,
    atlas_view,
    look,
    mask_trimap,
    painted_share,
    repaint,
)
from texgen.painting.running import Remembered, method_scene, preset_cameras, step_progress
from texgen.painting.scene import Scene, complete
from texgen.painting.state import TextureState, View
from texgen.painting.views import Progress
from texgen.render.atlas import Atlas
from texgen.render.cameras import Cameras
from texgen.timing import Stopwatch


class Paint3D:
    """The method: (mesh, prompt, seed, progress=None) -> TextureResult."""

    def __init__(
        self, backbone: Backbone, preset: Preset, settings: Paint3DSettings, cached_meshes: int = 2
    ) -> None:
        self.passes = UV_PASSES[settings.uv_stage]
        require_networks(backbone, FACTS, preset, settings)
        if settings.uv_paste and preset.fill == "none":
            raise ValueError(
                f"Preset {preset.name!r}: uv_paste leaves small holes to the preset's fill, which is none; "
                'set fill, e.g. to "surface".'
            )
        self.backbone, self.preset, self.settings = backbone, preset, settings
        self.first = preset.replace(guidance_scale=settings.first_guidance, also_controls=())
        self._scene = Remembered(self._prepare, cached_meshes)

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        return measured(self.backbone, lambda: self._paint(self._scene(mesh), prompt, seed, progress))

    def _prepare(self, mesh: Mesh) -> Scene:
        preset = self.preset
        scene = method_scene(mesh, preset, self.backbone.device)
        cameras: Cameras = preset_cameras(preset, scene.mesh).to(scene.mesh.vertices.device)
        views = []
        for view in scene.views:
            exact = texel_visibility(scene.mesh, scene.atlas, cameras[view.index], preset.render_size)
            by_face = face_visibility(exact, view.buffer, scene.atlas)
            views.append(replace(view, visibility=in_frame(by_face, preset.render_size)))
        scene.views = views
        return scene

    def _paint(self, scene: Scene, prompt: str, seed: int, progress: Progress | None) -> Painted:
        preset = self.preset
        state = TextureState.empty(preset.texture_size, scene.mesh.vertices.device)
        identity = (seed, scene.mesh.shape_key(), prompt, preset.name)
        text = self.backbone.encode_prompts([preset.negative_prompt, preset.view_prompt(prompt, "")])
        pairs = [scene.views[i : i + 2] for i in range(0, len(scene.views), 2)]
        passes = len(pairs) + len(self.passes)
        reports: list[dict[str, Any]] = []
        watch = Stopwatch(self.backbone.device)
        for index, pair in enumerate(pairs):
            on_step = step_progress(progress, index + 1, passes)
            looks = [self.look(view, state, index == 0) for view in pair]
            wanted = [uncoloured(view, state) for view in pair]
            skipped = not any(bool(mask.any()) for mask in wanted)
            if not skipped:
                chosen = self.first if index == 0 else preset
                shown = [outlined(view) if index == 0 else view for view in pair]
                images = repaint(self.backbone, chosen, shown, looks, text, identity, on_step)
                for view, image, mask in zip(pair, images, wanted, strict=True):
                    state = first_paint_wins(preset, view, state, image, mask)
            watch.lap(len(pair))
            reports += [
                {**record(view, mask), "pair": index, "skipped": skipped}
                for view, mask in zip(pair, wanted, strict=True)
            ]
        texture, painted = complete(preset, scene, state)
        if self.passes:
            steppers = [step_progress(progress, len(pairs) + 1 + i, passes) for i in range(len(self.passes))]
            texture = self._uv_stage(scene, texture, state, prompt, identity, steppers)
        return Painted(texture, painted, watch.onto(reports))

    def look(self, view: View, state: TextureState, everything: bool) -> RenderedView:
        """What a view shows. everything: paint the background along (the first pair, from text alone)."""
        seen = look(self.preset, view, state)
        missing = uncoloured(view, state)
        rgb = fill_unknown(seen.rgb, 1 - missing)
        free = dilate(missing, kernel_side(10, missing.shape[-1], 2048))
        if everything and not self.preset.pin_background:
            free = torch.ones_like(free)
        return RenderedView(rgb, seen.count, seen.best_cosine, mask_trimap(free))

    def _uv_stage(
        self,
        scene: Scene,
        texture: Tensor,
        state: TextureState,
        prompt: str,
        identity: tuple,
        steppers: Sequence[Callable],
    ) -> Tensor:
        """Inpaint the atlas where nothing is painted, gutters included; then the tile pass over all of it."""
        settings, whole = self.settings, self.preset.texture_size
        size = settings.uv_size
        inpaint = self.preset.replace(image_size=size, control_role=settings.uv_role)
        tile = inpaint.replace(
            guidance_scale=settings.tile_guidance,
            also_controls=(("tile", 1.0),),
            strength=settings.tile_strength,
            prompt_template=settings.tile_template,
            negative_prompt=settings.tile_negative,
        )
        missing = (state.weight <= 0).to(texture.dtype)
        flat = texture.flatten(1)[:, padding_index(1 - missing).reshape(-1)].reshape(texture.shape)
        view = atlas_view(position_map(scene))
        unknown = dilate(missing[None], kernel_side(15, whole, 1024))[0]
        chosen = {"uv": (inpaint, unknown), "tile": (tile, torch.ones_like(unknown))}
        for name, on_step in zip(self.passes, steppers, strict=True):
            preset, mask = chosen[name]
            text = self.backbone.encode_prompts([preset.negative_prompt, preset.view_prompt(prompt, "")])
            (image,) = repaint(
                self.backbone, preset, [view], [atlas_look(flat, mask)], text, (*identity, name), on_step
            )
            made = image[0].flip(1)
            paste = settings.uv_paste and name == "uv"
            flat = pasted(texture, made, 1 - missing, scene.atlas) if paste else made
        return flat


def pasted(texture: Tensor, made: Tensor, painted: Tensor, atlas: Atlas) -> Tensor:
    """[3, T, T]: `made` in the larger unpainted parts of the charts, `texture` elsewhere, charts padded.

    painted: [1, T, T] of 0s and 1s. Holes of less than 15 texels (of 1024) across keep the preset's fill: a
    coarse autoencoder mixes their colours with those around them, across charts and gutters.
    """
    side = kernel_side(15, texture.shape[-1], 1024)
    missing = atlas.mask * (1 - painted)
    large = dilate(erode(missing[None], side), side)[0] * missing
    mixed = torch.where(large > 0, made, texture)
    return mixed.flatten(1)[:, padding_index(atlas.mask).reshape(-1)].reshape(mixed.shape)


def in_frame(visibility: Visibility, size: int) -> Visibility:
    """The same visibility without texels outside the image [size, size]."""
    pixel = visibility.pixel
    inside = ((pixel >= 0) & (pixel <= size)).all(-1)[None]
    return replace(visibility, visible=visibility.visible * inside)


def uncoloured(view: View, state: TextureState) -> Tensor:
    """[1, 1, R, R] of 0s and 1s: surface of which less than half is painted."""
    seen = painted_share(view, state)
    return ((seen < 0.5) & (view.buffer.mask > 0)).to(seen.dtype)


def outlined(view: View) -> View:
    """The view with its depth image grown over the silhouette by 5 pixels (of 2048), softening outwards."""
    depth = view.depth
    for _ in range(max(round(5 * depth.shape[-1] / 2048), 1)):
        grown = F.max_pool2d(depth, 3, stride=1, padding=1)
        soft = F.avg_pool2d((depth > 0).to(depth.dtype), 3, stride=1, padding=1).clamp(min=0.5)
        depth = torch.where(depth > 0, depth, grown * soft)
    return replace(view, depth=depth)


def first_paint_wins(
    preset: Preset, view: View, state: TextureState, image: Tensor, wanted: Tensor
) -> TextureState:
    """Texels that the view sees and nothing has painted take the image's colour; the others stay.

    wanted: [1, 1, R, R], uncoloured pixels; 9 pixels (of 2048) at their border are left out.
    """
    inner = erode(wanted, kernel_side(19, wanted.shape[-1], 2048))
    values, weight = gather(torch.cat([image[0], inner[0]]), view.visibility)
    frontal = (view.visibility.cosine >= preset.min_cosine) & (values[3:] > 0)
    fresh = weight * frontal * (state.weight <= 0)
    best = torch.where(fresh > 0, view.visibility.cosine, state.best_cosine)
    return TextureState(state.colour_sum + values[:3] * fresh, state.weight + fresh, best)


def position_map(scene: Scene) -> Tensor:
    """[3, T, T] in [0, 1]: surface positions, in the frame that Paint3D's ControlNet was trained in."""
    scale = 0.6 / float(scene.mesh.vertices.norm(dim=-1).max())
    position = scene.atlas.position.permute(2, 0, 1) * scale
    position = position + position.new_tensor([0.0, 0.25, 0.0]).view(3, 1, 1)
    return (position.clamp(-1, 1) / 2 + 0.5) * scene.atlas.mask


def record(view: View, mask: Tensor) -> dict[str, Any]:
    """What stands in the run's record about one view."""
    share = float(mask.sum() / view.buffer.mask.sum().clamp(min=1))
    return {**view.place(), "generate": share, "refine": 0.0, "keep": 1 - share}


def paint3d(backbone: Backbone, **overrides: Any) -> Paint3D:
    """Paint3D as a method; overrides: fields of its preset and of `Paint3DSettings`.

    backbone: with ControlNets "depth", "inpaint", "uv_position" and "tile", or the roles that stand in.
    """
    return Paint3D(backbone, *FACTS.resolved(overrides))

"""Text2Tex (Chen et al., arXiv 2303.11396) on the shared core, written from published facts alone.

Ten views are generated, each followed by an update of what it sees best; then 20 times the view of 36 with
the most to improve is chosen and updated; at last an inpainting model fills the atlas. Cost: at most 10 x 50
+ 10 x 16 + 20 x 16 = 980 evaluations on the guidance pair, and 50 for the atlas.

Settings are those of the released run script; where this differs stands in docs/baselines.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from baselines.networks import require_networks
from baselines.presets.text2tex import FACTS, Text2TexSettings
from baselines.text2tex_views import Candidate, Classes, choose, classify, heat, inner_mask
from texgen.backprojection.backproject import overwrite4, pixel_texels
from texgen.backprojection.project import Visibility, gather, texel_visibility
from texgen.backprojection.trimap import dilate, kernel_side
from texgen.diffusion.backbone import Backbone
from texgen.diffusion.conditioning import resize
from texgen.mesh.mesh import Mesh
from texgen.painting.measured import Painted, TextureResult, measured
from texgen.painting.presets import Preset
from texgen.painting.repaint import RenderedView, atlas_look, atlas_view, look, mask_trimap, repaint
from texgen.painting.running import Remembered, method_scene, preset_cameras, view_texts
from texgen.painting.scene import Scene, complete, prepare_scene
from texgen.painting.state import TextureState, View
from texgen.painting.views import Progress
from texgen.render.cameras import Cameras
from texgen.render.images import GeometryBuffer, geometry_buffer
from texgen.render.view_words import WORD_RULES
from texgen.timing import Stopwatch


@dataclass(eq=False)
class Geometry:
    """Everything that depends on the mesh alone: the generation views, and the candidates of both stages.

    best_*: [T, T] int64, the candidate that is most similar to each texel; None for a stage without any.
    """

    scene: Scene
    generation: list[Candidate]
    refinement: list[Candidate]
    best_generation: Tensor | None
    best_refinement: Tensor | None


class Text2Tex:
    """The method: (mesh, prompt, seed, progress=None) -> TextureResult."""

    def __init__(
        self, backbone: Backbone, preset: Preset, settings: Text2TexSettings, cached_meshes: int = 2
    ) -> None:
        require_networks(backbone, FACTS, preset, settings)
        self.backbone, self.preset, self.settings = backbone, preset, settings
        # Text2Tex runs the first int(n s) + 1 noise levels of a pass of strength s.
        share = (int(preset.steps * settings.update_strength) + 1) / preset.steps
        self.update_preset = preset.replace(strength=min(share, 1.0))
        self._geometry = Remembered(self._prepare, cached_meshes)

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        return measured(self.backbone, lambda: self._paint(self._geometry(mesh), prompt, seed, progress))

    def _prepare(self, mesh: Mesh) -> Geometry:
        preset, settings = self.preset, self.settings
        scene = method_scene(mesh, preset, self.backbone.device)
        generation = [self._candidate(scene, view.buffer, camera) for view, camera in self._views(scene)]
        cameras = preset_cameras(preset, scene.mesh, settings.candidates).to(scene.mesh.vertices.device)
        refinement = [
            self._candidate(
                scene,
                geometry_buffer(scene.mesh, cameras[i], settings.candidate_size, preset.rasterizer),
                cameras[i],
            )
            for i in range(len(cameras) if settings.rounds else 0)
        ]
        best = [
            torch.stack([c.similarity[0] for c in group]).argmax(0) if group else None
            for group in (generation, refinement)
        ]
        return Geometry(scene, generation, refinement, *best)

    def _views(self, scene: Scene) -> list[tuple[View, Cameras]]:
        cameras = preset_cameras(self.preset, scene.mesh).to(scene.mesh.vertices.device)
        return [(view, cameras[view.index]) for view in scene.views]

    def _candidate(self, scene: Scene, buffer: GeometryBuffer, camera: Cameras) -> Candidate:
        visibility: Visibility = texel_visibility(scene.mesh, scene.atlas, camera, buffer.face.shape[-1])
        inside, _ = gather(inner_mask(buffer)[0], visibility)
        similarity = visibility.cosine * visibility.visible * (inside > 0.5)
        texel = pixel_texels(buffer, self.preset.texture_size)
        return Candidate(buffer, texel, similarity, camera)

    def _paint(self, geometry: Geometry, prompt: str, seed: int, progress: Progress | None) -> Painted:
        preset, settings, scene = self.preset, self.settings, geometry.scene
        state = TextureState.empty(preset.texture_size, scene.mesh.vertices.device)
        identity = (seed, scene.mesh.shape_key(), prompt, preset.name)
        texts = view_texts(self.backbone, preset, prompt, scene)
        views = len(scene.views) + settings.rounds
        reports: list[dict[str, Any]] = []
        watch = Stopwatch(self.backbone.device)

        def on_step(i: int, n: int) -> None:
            if progress is not None:
                progress(len(reports) + 1, views, i, n)

        for index, view in enumerate(scene.views):
            text = texts[index]
            spot, best = geometry.generation[index], geometry.best_generation
            classes = classify(spot, state.painted(), best, index, settings.view_threshold)
            report = record(view, classes, "generate")
            report["skipped"] = not bool(classes.new.any())
            if not report["skipped"]:
                state = self._pass(preset, view, state, classes.new, text, identity, on_step)
            # The classes of before: what was just generated is not updated at once.
            state, report["updated"] = self._update(view, state, classes, text, identity, on_step)
            watch.lap()
            reports.append(report)
        chosen: list[int] = []
        for _ in range(settings.rounds):
            heats = [
                heat(classify(c, state.painted(), geometry.best_refinement, i, settings.score_threshold))
                for i, c in enumerate(geometry.refinement)
            ]
            chosen.append(choose(heats, chosen))
            view = self._chosen_view(geometry, chosen[-1])
            spot = Candidate(view.buffer, pixel_texels(view.buffer, preset.texture_size))
            best, threshold = geometry.best_refinement, settings.view_threshold
            classes = classify(spot, state.painted(), best, chosen[-1], threshold)
            text = self.backbone.encode_prompts(
                [preset.negative_prompt, preset.view_prompt(prompt, view.word)]
            )
            state, updated = self._update(view, state, classes, text, identity, on_step)
            report = {**record(view, classes, "refine"), "updated": updated, "skipped": not updated}
            watch.lap()
            reports.append({**report, "heat": max(heats)})
        texture, painted = complete(preset, scene, state)
        texture = self._fill_atlas(texture, state, identity, on_step)
        return Painted(texture, painted, watch.onto(reports))

    def _chosen_view(self, geometry: Geometry, index: int) -> View:
        """The full geometry of a candidate, computed when it is chosen: 36 of them would fill the memory."""
        scene, camera = geometry.scene, geometry.refinement[index].camera
        view = prepare_scene(scene.mesh, self.preset, camera, atlas=scene.atlas).views[0]
        word = WORD_RULES[self.preset.word_rule](view.azimuth, view.elevation)
        return replace(view, index=len(scene.views) + index, word=word)

    def _update(
        self,
        view: View,
        state: TextureState,
        classes: Classes,
        text: Tensor,
        identity: tuple,
        on_step: Callable,
    ) -> tuple[TextureState, bool]:
        """The update pass, when it concerns enough of the object; and whether it did."""
        if float(classes.update.sum()) <= self.settings.update_share * float(view.buffer.mask.sum()):
            return state, False
        return self._pass(self.update_preset, view, state, classes.update, text, identity, on_step), True

    def _pass(
        self,
        preset: Preset,
        view: View,
        state: TextureState,
        mask: Tensor,
        text: Tensor,
        identity: tuple,
        on_step: Callable,
    ) -> TextureState:
        """Repaint a mask [1, 1, R, R], and always the background, and write the mask's pixels."""
        seen = look(preset, view, state)
        free = torch.maximum(mask, 1 - view.buffer.mask)
        free = dilate(free, kernel_side(9, mask.shape[-1], 768))  # 5 x 5 twice
        seen = RenderedView(seen.rgb, seen.count, seen.best_cosine, mask_trimap(free))
        (image,) = repaint(self.backbone, preset, [view], [seen], text, identity, on_step)
        values, hit = overwrite4(image[0], view.buffer, preset.texture_size, mask[0])
        colour = state.colour_sum * (1 - hit) + values * hit
        return TextureState(colour, torch.maximum(state.weight, hit), state.best_cosine)

    def _fill_atlas(self, texture: Tensor, state: TextureState, identity: tuple, on_step: Callable) -> Tensor:
        """Inpaint the atlas where no view painted, gutters included, without a prompt."""
        settings, missing = self.settings, 1 - state.painted()
        if settings.atlas_role == "none" or not bool(missing.any()):
            return texture
        unet = settings.atlas_role == "unet"
        preset = self.preset.replace(
            image_size=settings.atlas_size,
            steps=settings.atlas_steps,
            guidance_scale=settings.atlas_guidance,
            start="noise",
            control_role="" if unet else settings.atlas_role,
            show_known="always",
            unpainted="mean",
            window=(0, settings.atlas_steps) if unet else (),
        )
        size, whole = settings.atlas_size, self.preset.texture_size
        small = resize(texture[None], size)[0]
        unknown = (resize(missing[None], size)[0] > 0).to(texture.dtype)
        view = atlas_view(torch.zeros_like(small))
        text = self.backbone.encode_prompts(["", ""])
        (image,) = repaint(
            self.backbone, preset, [view], [atlas_look(small, unknown)], text, (*identity, "atlas"), on_step
        )
        image = resize(image, whole)[0].flip(1)
        return texture * (1 - missing) + image * missing


def record(view: View, classes: Classes, stage: str) -> dict[str, Any]:
    """What stands in the run's record about one view."""
    area = view.buffer.mask.sum().clamp(min=1)
    shares = {"generate": classes.new, "refine": classes.update, "keep": classes.keep}
    return {
        **view.place(),
        "stage": stage,
        **{name: float(mask.sum() / area) for name, mask in shares.items()},
    }


def text2tex(backbone: Backbone, **overrides: Any) -> Text2Tex:
    """Text2Tex as a method; overrides: fields of its preset and of `Text2TexSettings`.

    backbone: with a ControlNet "depth" and an inpainting UNet, or the roles that stand in for them.
    """
    return Text2Tex(backbone, *FACTS.resolved(overrides))

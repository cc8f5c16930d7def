"""TEXTure (Richardson et al., arXiv 2302.01721) on the shared core.

Ten views. A trimap with dilations says what to generate and what to refine; refine regions are a checkerboard
for the first 25 of 51 PNDM iterations; in iterations 11 to 19 of every view after the first an inpainting
model predicts instead of the depth model; each image is fitted into the texture by 200 Adam steps. Cost: 10 x
51 = 510 evaluations on the guidance pair.

Settings are those of the released program (MIT); where this differs stands in docs/baselines.md.
"""

from __future__ import annotations

from typing import Any

import torch

from baselines.networks import require_networks
from baselines.presets.texture import FACTS
from texgen.backprojection.fit import fit_adam, fit_mask
from texgen.backprojection.trimap import texture_trimap
from texgen.diffusion.backbone import Backbone
from texgen.mesh.mesh import Mesh
from texgen.painting.measured import Painted, TextureResult, measured
from texgen.painting.presets import Preset
from texgen.painting.repaint import RenderedView, look, repaint
from texgen.painting.running import Remembered, method_scene, step_progress, view_texts
from texgen.painting.scene import Scene, complete
from texgen.painting.state import TextureState, View
from texgen.painting.views import Progress, trimap_shares
from texgen.timing import Stopwatch

UNPAINTED = (0.8, 0.1, 0.8)
"""Colour that texels start from; where a fit does not reach its image, this is what shines through."""


class TEXTure:
    """The method: (mesh, prompt, seed, progress=None) -> TextureResult."""

    def __init__(self, backbone: Backbone, preset: Preset, cached_meshes: int = 2) -> None:
        require_networks(backbone, FACTS, preset)
        self.backbone, self.preset = backbone, preset
        self._scene = Remembered(lambda mesh: method_scene(mesh, preset, backbone.device), cached_meshes)

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        return measured(self.backbone, lambda: self._paint(self._scene(mesh), prompt, seed, progress))

    def _paint(self, scene: Scene, prompt: str, seed: int, progress: Progress | None) -> Painted:
        preset = self.preset
        state = TextureState.empty(preset.texture_size, scene.mesh.vertices.device)
        identity = (seed, scene.mesh.shape_key(), prompt, preset.name)
        reports = []
        texts = view_texts(self.backbone, preset, prompt, scene)
        watch = Stopwatch(self.backbone.device)
        for view, text in zip(scene.views, texts, strict=True):
            seen = self.look(view, state)
            report = describe(view, seen)
            if not report["skipped"]:
                (image,) = repaint(
                    self.backbone,
                    preset,
                    [view],
                    [seen],
                    text,
                    identity,
                    step_progress(progress, len(reports) + 1, len(scene.views)),
                )
                state = self.project(view, state, seen, image)
            watch.lap()
            reports.append(report)
        texture, painted = complete(preset, scene, state)
        return Painted(texture, painted, watch.onto(reports))

    def look(self, view: View, state: TextureState) -> RenderedView:
        """What the view shows, with TEXTure's trimap."""
        seen = look(self.preset, view, state)
        buffer = view.buffer
        trimap = texture_trimap(seen.count, seen.best_cosine, buffer.cosine, buffer.mask)
        return RenderedView(seen.rgb, seen.count, seen.best_cosine, trimap)

    def project(
        self, view: View, state: TextureState, seen: RenderedView, image: torch.Tensor
    ) -> TextureState:
        """Fit the texture to the image."""
        buffer, preset = view.buffer, self.preset
        weight = fit_mask(seen.trimap, buffer.mask, buffer.cosine, seen.best_cosine)
        known = state.weight > 0
        start = torch.where(known, state.colour(), state.weight.new_tensor(UNPAINTED).view(3, 1, 1))
        colour, best, touched = fit_adam(
            start,
            state.best_cosine.clamp(min=0),
            buffer,
            image,
            weight,
            preset.adam_steps,
            preset.adam_rate,
        )
        known = (known | (touched > 0)).to(colour.dtype)
        best = torch.where(known > 0, best, torch.full_like(best, -1.0))
        return TextureState(colour * known, known, best)


def describe(view: View, seen: RenderedView) -> dict[str, Any]:
    """The record of one view: where it stands, and shares of the visible surface by the trimap."""
    trimap = seen.trimap
    shares = trimap_shares(trimap, view.buffer.mask)
    skipped = not bool((torch.maximum(trimap.generate, trimap.refine) > 0).any())
    return {**view.place(), **shares, "skipped": skipped}


def texture(backbone: Backbone, **overrides: Any) -> TEXTure:
    """TEXTure as a method; overrides: fields of its preset.

    backbone: with ControlNets of the roles in the preset, and an inpainting UNet for window_role "unet".
    """
    return TEXTure(backbone, FACTS.resolved(overrides)[0])

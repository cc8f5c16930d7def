"""What every method does around its own algorithm: cameras, geometry and prompts of its preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from texgen.diffusion.backbone import Backbone
from texgen.kept import Kept
from texgen.mesh.mesh import Mesh
from texgen.painting.presets import Preset
from texgen.painting.scene import Scene, prepare_scene
from texgen.painting.state import View
from texgen.painting.views import Progress
from texgen.render.cameras import Cameras, rig_cameras
from texgen.render.view_words import WORD_RULES


def preset_cameras(preset: Preset, mesh: Mesh, rig: str | None = None) -> Cameras:
    """The cameras of a preset's rig (or of another, at its distance) for a mesh, in the preset's unit."""
    distance = preset.distance
    if preset.distance_unit == "radius":
        distance *= float(mesh.vertices.norm(dim=-1).max())
    return rig_cameras(rig or preset.rig, distance=distance, fov_y=preset.fov_y)


def method_scene(mesh: Mesh, preset: Preset, device: torch.device) -> Scene:
    """Geometry of a mesh for a preset, on a device, with the direction words of the preset's rule."""
    mesh = mesh.to(device, torch.float32)
    with torch.no_grad():
        scene = prepare_scene(mesh, preset, preset_cameras(preset, mesh))
    word = WORD_RULES[preset.word_rule]
    scene.views = [replace(view, word=word(view.azimuth, view.elevation)) for view in scene.views]
    return scene


class Remembered:
    """The last few values of a function of a mesh: geometry that does not depend on prompt and seed."""

    def __init__(self, make: Callable[[Mesh], Any], limit: int = 2) -> None:
        self._make, self._kept = make, Kept(max(limit, 1))

    def __call__(self, mesh: Mesh) -> Any:
        return self._kept.get(id(mesh), lambda: self._make(mesh), mesh)


def step_progress(progress: Progress | None, position: int, count: int) -> Callable[[int, int], None]:
    """`progress` for the steps of one of `count` views or passes; positions start at 1."""
    return lambda step, steps: progress(position, count, step, steps) if progress is not None else None


def painted_at_once(view: View) -> dict[str, Any]:
    """The record of a view whose whole surface is painted together with all others."""
    return {**view.place(), "generate": 1.0, "refine": 0.0, "keep": 0.0, "skipped": False}


def view_texts(backbone: Backbone, preset: Preset, prompt: str, scene: Scene) -> list[Tensor]:
    """Per view the pair [2, L, D] of the negative prompt and the view's own."""
    prompts = [preset.view_prompt(prompt, view.word) for view in scene.views]
    text = backbone.encode_prompts([preset.negative_prompt, *prompts]).to(scene.mesh.vertices.dtype)
    return [text[[0, i + 1]] for i in range(len(prompts))]

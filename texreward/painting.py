"""A text-to-texture model that paints meshes."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any

from rewards.checkpoints.store import WeightsMissing
from texgen.diffusion.prompts import require_words
from texgen.mesh.mesh import Mesh
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import Preset
from texgen.painting.views import Progress
from texreward.meshes import read_mesh
from texreward.models import MINIATURE, backbone_of, chosen
from texreward.opening import device_of, quiet_loading
from texreward.result import Result


class Painter:
    """Paints meshes from prompts by one model with one set of settings. Made by `load` and `tune`."""

    def __init__(self, method: TexGen) -> None:
        self.method = method

    @property
    def settings(self) -> Preset:
        """Everything that can be chosen about the painting; sizes in pixels and texels, angles in degrees."""
        return self.method.preset

    def texture(
        self,
        mesh: Mesh | str | PathLike[str],
        prompt: str,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> Result:
        """Paint one mesh. The same seed, mesh, prompt and settings give the same texture.

        mesh: see `read_mesh`, which reads files whose up or front is another axis. seed: 0 to 2**63 - 1.
        progress: called after each denoising step with (view, views, step, steps).
        Raises ValueError in one sentence for a prompt without words, and for what no view can paint.

        Examples:
            >>> from texreward import load
            >>> painter = load("miniature", image_size=64, render_size=64, texture_size=64, steps=2)
            >>> result = painter.texture("procedural:trefoil", "a red brick knot")
            >>> 0 <= float(result.texture.min()) <= float(result.texture.max()) <= 1
            True
        """
        require_words(prompt)
        if not 0 <= seed < 2**63:
            raise ValueError(f"texture: seed is {seed}; give a whole number from 0 to 2**63 - 1.")
        if not isinstance(mesh, Mesh):
            mesh = read_mesh(mesh)
        painted = self.method(mesh, prompt, seed, progress)
        return Result(mesh.to("cpu"), painted.texture.cpu(), prompt, seed, painted)


def load(
    source: str | PathLike[str] = MINIATURE,
    adapter: str | PathLike[str] | None = None,
    lora_scale: float = 1.0,
    controlnets: Mapping[str, str] | None = None,
    device: str | None = None,
    **settings: Any,
) -> Painter:
    """A model, ready to paint.

    source: "miniature" (small models that come with the package), a folder in diffusers layout, or a hub id
    `owner/name` of a Stable Diffusion 1.5 or 2 class model, which is downloaded once. adapter: a tuned model,
    as `texreward texture --model` takes it: a folder that `tune` or the workflow wrote, a model that the
    configuration names, or `owner/name@revision` of the hub; lora_scale: its strength, 0 = none to 10.
    controlnets: role -> folder or hub id; None = those in `source`'s folders controlnet_ROLE, else the
    published ones. device: cpu or cuda; None = a GPU where there is one. settings: fields of the preset
    texgen, e.g. steps (denoising steps of a view), texture_size (texels along a side), image_size (pixels),
    guidance_scale, rig, which `python -m workflow.config defaults` describes.
    Raises ValueError in one sentence for settings and places that cannot be, FileNotFoundError for weights
    that are missing.

    Examples:
        >>> load("miniature", image_size=64, steps=2).settings.steps
        2
    """
    device = device_of("load", device)
    backbone = backbone_of(source, controlnets, half=device.startswith("cuda"))
    more = {} if adapter is None else {"model": fspath(adapter), "lora_scale": lora_scale}
    choice = chosen(source, backbone, settings, **more)
    try:
        with quiet_loading():
            return Painter(choice.load(device=device))
    except WeightsMissing as error:
        raise WeightsMissing(f"load: {error}") from None

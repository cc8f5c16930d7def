"""What a method says it honours is what it reads while it paints; what it says it ignores it never reads."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest
import torch

from baselines.presets import intex, paint3d, psd_like, syncmvd, text2tex, texture
from texgen.painting.method_facts import TEXGEN
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import Preset
from texgen.painting.views import Derivative
from texgen.render.setting_types import given_types

# Written and copied there, which is not painting.
NOT_PAINTING = (
    "dataclasses",
    "texgen.painting.presets",
    "texgen.render.setting_types",
    "texgen.painting.method_facts",
)
# Settings at which all that a method can read is read: sizes, then one variant each.
SIZES = {"image_size": 64, "render_size": 64, "texture_size": 32, "steps": 2}
FACTS = {
    "texgen": (TEXGEN, [{}, {"accumulate": "cosine"}, {"projection": "scatter_mip", "crop": True}]),
    "intex": (intex.FACTS, [{}, {"accumulate": "cosine", "projection": "gather", "min_cosine": 0.1}]),
    "texture": (texture.FACTS, [{"adam_steps": 2}, {"window": [1, 1], "window_role": "depth"}]),
    "text2tex": (
        text2tex.FACTS,
        [
            {
                "rounds": 1,
                "candidate_size": 32,
                "atlas_size": 64,
                "atlas_steps": 2,
                "crop": True,
                "window": [1, 1],
            }
        ],
    ),
    "paint3d": (paint3d.FACTS, [{"uv_size": 64, "crop": True, "fill": "surface", "window": [1, 1]}]),
    "syncmvd": (syncmvd.FACTS, [{"latent_texture_size": 16, "random_background": False}]),
    "psd_like": (psd_like.FACTS, [{}]),
}
# Read where views are prepared, without a consequence for these methods (`projection` and `rim`: for all).
# The builder of chains is everybody's; the painter of texgen refuses all values of these but the usual ones.
REFUSED = {"refine", "window", "unpainted", "also_controls", "show_known", "blending", "blend_noise"}
READ_IN_VAIN = {"syncmvd": {"crop"}, "texgen": REFUSED, "intex": REFUSED}


class Watched(Preset):
    """A preset that notes which of its fields are read by code that paints."""

    read: set[str] = set()

    def __getattribute__(self, name):
        if name in given_types(Preset) and sys._getframe(1).f_globals["__name__"] not in NOT_PAINTING:
            Watched.read.add(name)
        return super().__getattribute__(name)

    def view_prompt(self, prompt, view):
        Watched.read.add("prompt_template")
        return super().view_prompt(prompt, view)


def watched(preset: Preset) -> Watched:
    return Watched(**{name: object.__getattribute__(preset, name) for name in given_types(Preset)})


def method_of(kind, backbone, facts, overrides):
    preset, settings = facts.resolved(SIZES | overrides)
    preset = watched(preset)
    if kind in ("texgen", "intex"):
        return TexGen(backbone, preset)
    module = import_module(f"baselines.{kind}")
    maker = {"texture": "TEXTure", "text2tex": "Text2Tex", "paint3d": "Paint3D", "syncmvd": "SyncMVD"}
    if kind == "psd_like":
        return module.PSDLike(backbone, lambda images, prompts: images.mean((1, 2, 3)), preset, settings)
    return getattr(module, maker[kind])(backbone, preset, *([] if settings is None else [settings]))


@pytest.mark.parametrize("kind", FACTS)
def test_honoured_fields_are_read_and_ignored_ones_are_not(kind, full_backbone, ball, monkeypatch):
    facts, variants = FACTS[kind]
    monkeypatch.setattr(Watched, "read", set())
    for variant in variants:
        method = method_of(kind, full_backbone, facts, variant)
        with torch.no_grad():
            method(ball, "a cat", 0)
        if kind in ("texgen", "intex") and method.preset.scheduler == "ddim":
            with torch.no_grad():
                method.paint(ball, "a cat", 0, Derivative(soft=True))
    read = Watched.read - {"name"}
    shared = set(given_types(Preset)) - {"name"}
    idle = set(facts.ignores) - READ_IN_VAIN.get(kind, set()) - {"projection", "rim"}
    assert sorted(read & idle) == [], f"{kind} reads what it says it ignores"
    assert sorted(shared - set(facts.ignores) - read) == [], f"{kind} never reads what it says it honours"

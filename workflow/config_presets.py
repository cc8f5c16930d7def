"""Configuration of painting methods: which fields of a preset a configuration changes."""

from __future__ import annotations

from string import Formatter
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from workflow.config_base import Colour, Strict, Unit

Count = Annotated[int, Field(ge=1)]


def _only_known_words(text: str) -> str:
    """A template that can be filled in: no other word than {prompt} and {view}, each without a format."""
    rule = "use {prompt} and {view} only, and write any other brace twice"
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError(rule) from None
    words = [(name, spec, conversion) for _, name, spec, conversion in parts if name is not None]
    if any(word not in (("prompt", "", None), ("view", "", None)) for word in words):
        raise ValueError(rule)
    if ("prompt", "", None) not in words:
        raise ValueError("must hold {prompt}, which stands for the prompt of the sheet")
    return text


Template = Annotated[str, AfterValidator(_only_known_words)]
# Fields that only some kinds of method have, beside those of the shared preset; the rest is for all.
OWN_FIELDS: dict[str, tuple[str, ...]] = {
    "text2tex": (
        "view_threshold",
        "score_threshold",
        "update_strength",
        "update_share",
        "rounds",
        "candidates",
        "candidate_size",
        "atlas_role",
        "atlas_size",
        "atlas_steps",
        "atlas_guidance",
    ),
    "paint3d": (
        "first_guidance",
        "uv_stage",
        "uv_size",
        "uv_role",
        "uv_paste",
        "tile_strength",
        "tile_guidance",
        "tile_template",
        "tile_negative",
    ),
    "syncmvd": (
        "latent_texture_size",
        "texture_step_until",
        "reference_until",
        "exponent",
        "control_start",
        "control_end",
        "random_background",
        "front_negative",
    ),
    "psd_like": (
        "objective",
        "learning_rate",
        "levels",
        "t_max",
        "t_min",
        "t_until",
        "threshold",
        "pair_weight",
        "temperature",
        "negative_every",
        "negative_rate",
        "negative_bound",
        "negative_score",
    ),
}


class PresetOverrides(Strict):
    """Fields of a method's preset that this configuration changes; what is left out keeps the preset's value.

    The first fields are those of texgen.presets.Preset, which says more about each; the others belong to one
    kind of method each (`OWN_FIELDS`) and are explained in its module in baselines/.
    """

    rig: str = Field(None, description="Generation cameras: a name in texgen.cameras.RIGS.")
    image_size: int = Field(None, ge=8, description="Side of images from the diffusion model; pixels.")
    render_size: int = Field(None, ge=8, description="Side of the renders that are projected from; pixels.")
    texture_size: int = Field(None, ge=8, description="Side of the texture; texels.")
    scheduler: Literal["ddim", "unipc", "pndm"] = Field(None, description="Sampler; fine-tuning needs ddim.")
    steps: int = Field(None, ge=1, description="Denoising steps per view.")
    eta: Unit = Field(None, description="Share of noise that a DDIM step adds again; 0 to 1.")
    guidance_scale: float = Field(None, ge=0, description="Classifier-free guidance scale.")
    control_scale: float = Field(None, ge=0, description="Strength of the ControlNet.")
    refine_strength: Unit = Field(None, description="Share of steps in which refine regions stay; 0 to 1.")
    prompt_template: Template = Field(
        None, description="Text given to the model; may use {prompt} and {view}."
    )
    negative_prompt: str = Field(None, description="Text of the unconditional branch.")
    background: Colour = Field(None, description="Background of generation renders, [r, g, b] in 0 to 1.")
    pin_background: bool = Field(None, description="Keep the background as known in every view.")
    crop: bool = Field(None, description="Zoom on the object before the model paints it.")
    known_threshold: Unit = Field(
        None, description="Share of a pixel that must be known to be shown; 0 to 1."
    )
    hard_pins: bool = Field(None, description="Pin a latent only where every pixel under it is known.")
    fill_before_encoding: bool = Field(None, description="Continue colours into unpainted surface first.")
    accumulate: Literal["mean", "mean_new", "cosine", "replace"] = Field(
        None, description="What a view does to the texture that is already there."
    )
    min_cosine: Unit = Field(None, description="Surface seen at a smaller cosine is not painted; 0 to 1.")
    rim: Unit = Field(
        None, description="Band beside silhouettes that is not projected; share of the image's side."
    )
    fill: Literal["surface", "dilate", "mean", "none"] = Field(
        None, description="How unpainted texels are filled."
    )

    distance: float = Field(None, gt=0, description="Camera distance, in distance_unit.")
    distance_unit: Literal["world", "radius"] = Field(None, description="World units, or mesh radii.")
    fov_y: float = Field(None, gt=0, lt=180, description="Vertical field of view; degrees.")
    depth_convention: Literal["disparity-global", "disparity-view", "linear-0.5-1", "linear-50-255"] = Field(
        None, description="How depth becomes the ControlNet's image."
    )
    word_rule: Literal["intex", "texture", "text2tex", "syncmvd", "none"] = Field(
        None, description="Words for the directions of views."
    )
    control_role: str = Field(None, description="ControlNet role of the backbone; empty = no ControlNet.")
    also_controls: dict[str, float] = Field(None, description="Further ControlNet roles and strengths.")
    show_known: Literal["always", "never"] = Field(
        None, description="Whether control images with colours show what is known."
    )
    same_noise: bool = Field(None, description="All views start from the same noise.")
    blending: Literal["before", "after", "after_next"] = Field(
        None, description="When pinned regions are replaced, and at which noise level."
    )
    refine: Literal["pinned", "checker"] = Field(None, description="How refine regions stay at first.")
    window: list[int] = Field(
        None, max_length=2, description="First and last step at which window_role predicts; [] = none."
    )
    window_role: str = Field(None, description="ControlNet role, or unet for the inpainting UNet.")
    unpainted: Literal["black", "mean", "checker"] = Field(
        None, description="What unpainted surface shows in renders."
    )
    adam_steps: int = Field(None, ge=1, description="texture: optimiser steps of each fit.")
    adam_rate: float = Field(None, gt=0, description="texture: learning rate of each fit.")

    view_threshold: Unit = Field(None, description="text2tex: least similarity that is painted.")
    score_threshold: Unit = Field(None, description="text2tex: the same while candidates are scored.")
    update_strength: Unit = Field(None, description="text2tex: strength of updates; 0 to 1.")
    update_share: Unit = Field(None, description="text2tex: least share of the object that is updated.")
    rounds: int = Field(None, ge=0, description="text2tex: chosen views that are refined.")
    candidates: str = Field(None, description="text2tex: rig that refinement chooses from.")
    candidate_size: Count = Field(None, description="text2tex: side of the renders it is judged on.")
    atlas_role: str = Field(None, description="text2tex: what fills the atlas: unet, a role, or none.")
    atlas_size: Count = Field(None, description="text2tex: side of the atlas while it is filled; pixels.")
    atlas_steps: Count = Field(None, description="text2tex: denoising steps of that.")
    atlas_guidance: float = Field(None, ge=0, description="text2tex: guidance of that.")
    first_guidance: float = Field(None, ge=0, description="paint3d: guidance of the first pair of views.")
    uv_stage: Literal["full", "inpaint", "none"] = Field(
        None, description="paint3d: inpaint leaves out the tile pass, none all of stage 2."
    )
    uv_size: Count = Field(None, description="paint3d: side of the atlas in stage 2; pixels.")
    uv_role: str = Field(None, description="paint3d: ControlNet role for position maps.")
    uv_paste: bool = Field(None, description="paint3d: only larger unpainted parts change in stage 2.")
    tile_strength: Unit = Field(None, description="paint3d: strength of the tile pass; 0 to 1.")
    tile_guidance: float = Field(None, ge=0, description="paint3d: guidance of the tile pass.")
    tile_template: Template = Field(None, description="paint3d: prompt of the tile pass, with {prompt}.")
    tile_negative: str = Field(None, description="paint3d: negative prompt of the tile pass.")
    latent_texture_size: Count = Field(None, description="syncmvd: side of the texture of latents.")
    texture_step_until: Unit = Field(None, description="syncmvd: share of the time steps on the texture.")
    reference_until: int = Field(None, ge=0, description="syncmvd: time until which the front is seen.")
    exponent: float = Field(None, ge=0, description="syncmvd: of the cosine weights at the end.")
    control_start: float = Field(None, ge=0, description="syncmvd: ControlNet strength at the beginning.")
    control_end: float = Field(None, ge=0, description="syncmvd: ControlNet strength at the end.")
    random_background: bool = Field(None, description="syncmvd: changing colours behind the views.")
    front_negative: str = Field(None, description="syncmvd: what negative prompts add off the front.")
    objective: Literal["psd-like", "dreamdpo"] = Field(None, description="psd_like: which direction.")
    learning_rate: float = Field(None, gt=0, description="psd_like: Adam's, on the texture.")
    levels: Count = Field(None, description="psd_like: resolutions that the texture is a sum of.")
    t_max: Unit = Field(None, description="psd_like: largest noise level at the beginning, as a share.")
    t_min: Unit = Field(None, description="psd_like: smallest noise level, as a share.")
    t_until: Unit = Field(None, description="psd_like: largest noise level at the end, as a share.")
    threshold: float = Field(None, ge=0, description="psd_like: dreamdpo's least gap of scores.")
    pair_weight: float = Field(None, ge=0, description="psd_like: weight of the pair term.")
    temperature: float = Field(None, gt=0, description="psd_like: of the gap of scores.")
    negative_every: int = Field(None, ge=0, description="psd_like: steps between tunings of the negative.")
    negative_rate: float = Field(None, gt=0, description="psd_like: step length of a tuning.")
    negative_bound: float = Field(None, gt=0, description="psd_like: largest change of the negative.")
    negative_score: float = Field(None, ge=0, description="psd_like: weight of scores in a tuning.")

    def refused(self, kind: str) -> list[str]:
        """Fields that were given although another kind of method has them."""
        foreign = {name for other, names in OWN_FIELDS.items() if other != kind for name in names}
        return sorted(self.model_fields_set & foreign)

    def changes(self) -> dict[str, Any]:
        """The fields that were given, for `Preset.replace`."""
        return self.model_dump(exclude_unset=True)

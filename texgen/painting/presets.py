"""What distinguishes one painting method from another on the shared painter, as data. Imports no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from texgen.render.setting_types import (
    Colour,
    Count,
    DepthConvention,
    GivenAs,
    NotNegative,
    Positive,
    Rasterizer,
    Rig,
    Side,
    Template,
    Unit,
    WholeNumber,
    WordRule,
    check_fields,
)

Window = Annotated[list[WholeNumber], Field(max_length=2)]


def _about(description: str) -> Any:
    """The description of a field, which documents and the configuration's schema show."""
    return Field(description=description)


@dataclass(frozen=True)
class Preset:
    """Settings of a painting method; each field says what it means, in pixels or texels where it is a size.

    All images and textures are square. A method need not honour every field: what it ignores is declared
    beside its own preset (`baselines.presets`) and refused in configurations.
    """

    name: Annotated[str, _about("Stands in file names and in the seeds of the random draws.")]
    rig: Annotated[
        Rig, _about("Generation cameras, painted in their order: a name in texgen/render/rigs.py.")
    ]
    distance: Annotated[Positive, _about("Camera distance, in distance_unit.")] = 2.5
    fov_y: Annotated[
        float, Field(gt=0, lt=180, description="Vertical field of view of the cameras; degrees.")
    ] = 50.0
    distance_unit: Annotated[
        Literal["world", "radius"],
        _about("World units, or radii of the mesh's bounding sphere around the origin."),
    ] = "world"
    word_rule: Annotated[
        WordRule, _about("Words for the directions of views (texgen/render/view_words.py).")
    ] = "intex"
    image_size: Annotated[Side, _about("Side of images from the diffusion model; pixels.")] = 512
    render_size: Annotated[
        Side,
        _about(
            "Side of the renders that are conditioned on and projected from; pixels. A multiple of "
            "image_size antialiases what the model is shown."
        ),
    ] = 1024
    texture_size: Annotated[Side, _about("Side of the texture; texels.")] = 1024
    rasterizer: Annotated[
        Rasterizer,
        _about(
            "What finds visible faces: warp (CPU and GPU), or nvdiffrast where it is installed, on a GPU."
        ),
    ] = "warp"
    scheduler: Annotated[
        Literal["ddim", "unipc", "pndm", "lcm"],
        _about(
            "Sampler; lcm is that of latent consistency models and adapters, with spacing model; fine-tuning "
            "needs ddim."
        ),
    ] = "ddim"
    steps: Annotated[Count, _about("Denoising steps per view; of psd_like, steps of its optimiser.")] = 10
    eta: Annotated[Unit, _about("Share of noise that a DDIM step adds again; 0 none, 1 ancestral.")] = 1.0
    spacing: Annotated[
        Literal["model", "leading", "trailing", "linspace"],
        _about("Where the time steps lie; model = as the model's scheduler file says (`diffusion.sampler`)."),
    ] = "model"
    last_signal: Annotated[
        Literal["model", "one"],
        _about("alpha-bar that DDIM chains end at; model = as the model's scheduler file says."),
    ] = "model"
    guidance_scale: Annotated[
        NotNegative, _about("Classifier-free guidance scale; 1 evaluates no unconditional half.")
    ] = 7.5
    start: Annotated[
        Literal["noise", "render"],
        _about("Chains start from noise, or from the render noised to the level of their first step."),
    ] = "noise"
    strength: Annotated[Unit, _about("Share of the denoising steps that run; 0 to 1.")] = 1.0
    same_noise: Annotated[
        bool,
        _about("All views start from the same noise, as in programs that set their seed again for each."),
    ] = False
    blending: Annotated[
        Literal["before", "after", "after_next"],
        _about("When pinned regions are replaced, and at which noise level (texgen/diffusion/sampler.py)."),
    ] = "before"
    blend_noise: Annotated[
        Literal["fresh", "fixed"], _about("They are replaced by fresh noise in each step, or by one draw.")
    ] = "fresh"
    refine_strength: Annotated[
        Unit,
        _about("Share of the steps in which refine regions stay as painted; 0 regenerates them from noise."),
    ] = 0.0
    refine: Annotated[
        Literal["pinned", "checker"],
        _about("How refine regions stay: pinned (InTeX), or every other square of them (TEXTure)."),
    ] = "pinned"
    window: Annotated[
        tuple[int, ...],
        GivenAs(Window),
        _about("First and last step at which window_role predicts in views after the first; [] = none."),
    ] = ()
    window_role: Annotated[
        str, _about("ControlNet role that predicts there, or unet for the inpainting UNet.")
    ] = "unet"
    depth_convention: Annotated[
        DepthConvention, _about("How depth becomes the ControlNet's image (texgen/render/images.py).")
    ] = "disparity-global"
    control_role: Annotated[
        str,
        _about("ControlNet role of the backbone; empty = no ControlNet, where the method can do without."),
    ] = "depth_inpaint"
    control_scale: Annotated[NotNegative, _about("Strength of the ControlNet.")] = 1.0
    also_controls: Annotated[
        tuple[tuple[str, float], ...],
        GivenAs(dict[str, float]),
        _about("Further ControlNet roles and their strengths."),
    ] = ()
    show_known: Annotated[
        Literal["always", "never"],
        _about(
            "Whether control images with colours show what is known; never = nothing of it, so that a "
            "depth-aware inpainting net serves as a plain depth net."
        ),
    ] = "always"
    prompt_template: Annotated[
        Template,
        _about("Text given to the model, with {prompt} and, where wanted, {view}: the direction's word."),
    ] = "masterpiece, high quality, {prompt}, {view} view"
    negative_prompt: Annotated[str, _about("Text of the unconditional branch.")] = (
        "bad quality, worst quality, shadows"
    )
    background: Annotated[
        tuple[float, float, float],
        GivenAs(Colour),
        _about("Background of generation renders, [r, g, b] in 0 to 1."),
    ] = (1.0, 1.0, 1.0)
    pin_background: Annotated[
        bool,
        _about(
            "Keep the background as known in every view; false = as released: unknown in the first view and "
            "kept from the second on."
        ),
    ] = False
    crop: Annotated[bool, _about("Zoom on the object before the model paints it.")] = True
    crop_margin: Annotated[
        float, Field(ge=1, description="Side of that crop as a multiple of the object's larger side.")
    ] = 1.1
    known_threshold: Annotated[
        Unit, _about("Share of a pixel that must be known for it to be shown to the ControlNet; 0 to 1.")
    ] = 0.5
    hard_pins: Annotated[
        bool,
        _about(
            "Pin a latent only where every pixel under it is known; false = as released: by the share of its "
            "pixels that are known, which lets the background eat thin parts at low resolutions."
        ),
    ] = False
    fill_before_encoding: Annotated[
        bool,
        _about(
            "Continue colours smoothly into unpainted surface before encoding; false = as released: it is "
            "black and darkens the latents beside it."
        ),
    ] = True
    unpainted: Annotated[
        Literal["black", "mean", "checker"],
        _about("What unpainted surface shows in renders: black, the mean colour, or a grey checkerboard."),
    ] = "black"
    sample_posterior: Annotated[
        bool, _about("Encode to a sample of the autoencoder's posterior, not to its mode.")
    ] = True
    projection: Annotated[
        Literal["gather", "scatter_mip", "fit_adam", "overwrite4", "face_gather", "gradient_mean"],
        _about(
            "From image to texture: gather (every visible texel samples the image) or scatter_mip (InTeX's "
            "splats); the others are fixed by the method that has them."
        ),
    ] = "gather"
    adam_steps: Annotated[Count, _about("Optimiser steps of each fit of the texture to an image.")] = 200
    adam_rate: Annotated[Positive, _about("Learning rate of each fit.")] = 0.01
    accumulate: Annotated[
        Literal["mean", "mean_new", "cosine", "replace"],
        _about(
            "What a view does to the texture: mean (over all views that see a texel, as released), mean_new "
            "(keep regions are left alone), cosine (the same weighted by cosine ** cosine_power), replace."
        ),
    ] = "mean"
    cosine_power: Annotated[NotNegative, _about("Exponent of the weights of accumulate: cosine.")] = 4.0
    min_cosine: Annotated[
        Unit, _about("Surface seen at a smaller cosine is not painted from that view; 0 = as released.")
    ] = 0.0
    rim: Annotated[
        Unit,
        _about(
            "Band beside silhouettes that is not projected, as the background shows through there; share of "
            "the image's side, 0 = as released."
        ),
    ] = 0.0
    fill: Annotated[
        Literal["surface", "dilate", "mean", "none"],
        _about(
            "How texels that no view painted are filled: surface (continued smoothly from the painted "
            "border around them, then padding around the charts), dilate (InTeX: nearest painted texel "
            "within 0.2 of the texture's side), mean (TEXTure: the mean painted colour), none."
        ),
    ] = "surface"
    soft_sharpness: Annotated[Positive, _about("Slope of the soft trimap in training.")] = 100.0
    upscaler: Annotated[
        str,
        _about(
            "File of Real-ESRGAN weights by which denoised views are enlarged in inference, with the package "
            "spandrel; empty = bilinearly."
        ),
    ] = ""

    def __post_init__(self) -> None:
        given = {
            "background": [float(value) for value in self.background],
            "window": list(self.window),
            "also_controls": dict(self.also_controls),
        }
        for name, value in given.items():
            object.__setattr__(self, name, value)
        check_fields(self, f"Preset {self.name!r}")
        if len(self.window) == 1:
            raise ValueError(
                f"Preset {self.name!r}: window is {list(self.window)}; give a first and a last step."
            )
        object.__setattr__(self, "background", tuple(self.background))
        object.__setattr__(self, "window", tuple(self.window))
        object.__setattr__(self, "also_controls", tuple(sorted(given["also_controls"].items())))

    def replace(self, **overrides: Any) -> Preset:
        """A copy with some fields changed. Raises ValueError for a field that does not exist."""
        unknown = sorted(set(overrides) - set(asdict(self)))
        if unknown:
            raise ValueError(
                f"A preset has no field {unknown[0]!r}; its fields are {', '.join(asdict(self))}."
            )
        return replace(self, **overrides)

    def view_prompt(self, prompt: str, view: str) -> str:
        """The prompt of one view. view: a direction word."""
        return self.prompt_template.format(prompt=prompt, view=view)


PRESETS: dict[str, Preset] = {
    # The generator that paper 2506.18331 fine-tunes, at the settings of its released configuration, painted
    # by exact visibility and filled where no camera looks.
    "texgen": Preset(name="texgen", rig="front_short"),
    # InTeX (arXiv 2403.11878) at its published settings.
    "intex": Preset(
        name="intex",
        rig="default",
        scheduler="unipc",
        steps=20,
        eta=0.0,
        refine_strength=0.6,
        fill_before_encoding=False,
        projection="scatter_mip",
        fill="dilate",
    ),
}


def get_preset(name: str, **overrides: Any) -> Preset:
    """A named preset with some fields changed. Raises ValueError for an unknown name or field."""
    if name not in PRESETS:
        raise ValueError(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name].replace(**overrides)

"""What distinguishes one painting method from another on the shared painter, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from texgen.cameras import RIGS
from texgen.render import DEPTH_CONVENTIONS
from texgen.view_words import WORD_RULES

# Named here, not taken from `texgen.sampler`: that loads diffusers, which preparing a mesh does not need.
SCHEDULERS = ("ddim", "unipc", "pndm")
BLENDINGS = ("before", "after", "after_next")
PROJECTIONS = ("gather", "scatter_mip", "fit_adam", "overwrite4", "face_gather", "gradient_mean")
ACCUMULATIONS = ("mean", "mean_new", "cosine", "replace")
FILLS = ("surface", "dilate", "mean", "none")
_CHOICES = {
    "rig": tuple(RIGS),
    "distance_unit": ("world", "radius"),
    "word_rule": tuple(WORD_RULES),
    "scheduler": SCHEDULERS,
    "start": ("noise", "render"),
    "blending": BLENDINGS,
    "blend_noise": ("fresh", "fixed"),
    "refine": ("pinned", "checker"),
    "show_known": ("always", "never"),
    "unpainted": ("black", "mean", "checker"),
    "depth_convention": DEPTH_CONVENTIONS,
    "projection": PROJECTIONS,
    "accumulate": ACCUMULATIONS,
    "fill": FILLS,
}


@dataclass(frozen=True)
class Preset:
    """Settings of a painting method. Sizes in pixels or texels, all images and textures square.

    name: stands in file names and in the seeds of the random draws.
    rig: name of the camera list (`texgen.cameras.RIGS`), painted in its order.
    distance, fov_y: camera distance, vertical field of view in degrees.
    distance_unit: of the distance: "world", or "radius" of the mesh's bounding sphere around the origin.
    word_rule: which words stand for the directions of views (`texgen.view_words`).
    image_size: side of the images that the diffusion model makes.
    render_size: side at which the mesh is rendered for conditioning and projected from; a multiple of
        image_size antialiases what the model is shown.
    texture_size: side of the texture.
    scheduler, steps, eta: "ddim", "unipc" or "pndm"; number of denoising steps; DDIM's noise (0 none, 1
        ancestral).
    start, strength: chains start from noise, or from the render noised to the level of their first step; the
        share of the steps that run.
    same_noise: all views start from the same noise (programs that set their seed again for each).
    blending, blend_noise: when pinned regions are replaced (`texgen.sampler.ViewDenoising`), and whether by
        fresh noise in each step or by one fixed draw.
    guidance_scale: classifier-free guidance; 1 evaluates no unconditional half.
    refine_strength: fraction of the steps during which refine regions are pinned to what is painted; 0
        regenerates them from noise.
    refine: how: "pinned" (InTeX), or "checker" (TEXTure: every other square of them is).
    window, window_role: first and last step, inclusive, at which another model predicts in views after the
        first: the ControlNet of this role, or the inpainting UNet for "unet" (TEXTure). Empty = none.
    depth_convention: how depth becomes an image (`texgen.render.depth_map`).
    control_role, control_scale: which ControlNet of the backbone, and its strength; "" = none.
    also_controls: further ControlNets and their strengths, as a mapping or as pairs.
    show_known: whether a control image with colours shows what is known, or, "never", nothing of it, so that
        a depth-aware inpainting net serves as a plain depth net.
    prompt_template: with {prompt} and {view} (front, side, back, top or bottom).
    negative_prompt: text of the unconditional half.
    background: colour [3] in [0, 1] behind the object.
    pin_background: the background is known, and kept, in every view; False = as released: it is unknown in
        the first view and kept from the second on.
    crop: zoom on a square around the object, `crop_margin` times its larger side, where that lies inside the
        frame.
    known_threshold: a pixel at image_size is shown to the ControlNet when more than this share of it is
        "keep".
    hard_pins: a latent is pinned only where every pixel under it is known; False = as released: pinned by the
        share of its pixels that are known, which lets the background eat thin parts at low resolutions.
    fill_before_encoding: before encoding, unpainted surface takes smoothly continued colours of its
        surroundings; False = it is black, as released, and darkens the latents beside it.
    unpainted: what unpainted surface shows in renders: "black", the "mean" of what is painted (TEXTure) or a
        grey "checker" (Text2Tex).
    sample_posterior: encode to a sample of the autoencoder's posterior, not its mode (AutoencoderKL).
    projection: "gather" (every visible texel samples the image), "scatter_mip" (InTeX's splats), "fit_adam"
        (TEXTure: optimise texels until the render fits), "overwrite4" (Text2Tex: each pixel sets its four
        texels), "face_gather" (Paint3D: gather on every face of which a pixel is seen) or "gradient_mean"
        (SyncMVD: mean of the pixels on a texel).
    adam_steps, adam_rate: of "fit_adam".
    accumulate: what a view does to the texture.
        "mean": running mean over all views that see a texel, keep regions included (as released);
        "mean_new": running mean, but keep regions are left alone;
        "cosine": as mean_new, weighted by cosine ** cosine_power, so frontal views dominate;
        "replace": generate and refine regions take the new colour, keep regions are left alone.
    cosine_power: exponent of "cosine".
    min_cosine: surface seen at a smaller cosine is not painted from that view (0 = as released).
    rim: width of the band beside the silhouette that is not projected, as a share of the diffusion image's
        side; the background shows through there (0 = as released).
    fill: what happens to texels that no view painted: "surface" (continued smoothly from the painted
        border around them, then padding around the charts), "dilate" (InTeX: nearest painted texel within 0.2
        of the texture's side, the rest stays black), "mean" (TEXTure: the mean painted colour), "none".
    soft_sharpness: slope of the soft trimap in training.
    """

    name: str
    rig: str
    distance: float = 2.5
    fov_y: float = 50.0
    distance_unit: str = "world"
    word_rule: str = "intex"
    image_size: int = 512
    render_size: int = 1024
    texture_size: int = 1024
    scheduler: str = "ddim"
    steps: int = 10
    eta: float = 1.0
    guidance_scale: float = 7.5
    start: str = "noise"
    strength: float = 1.0
    same_noise: bool = False
    blending: str = "before"
    blend_noise: str = "fresh"
    refine_strength: float = 0.0
    refine: str = "pinned"
    window: tuple[int, ...] = ()
    window_role: str = "unet"
    depth_convention: str = "disparity-global"
    control_role: str = "depth_inpaint"
    control_scale: float = 1.0
    also_controls: tuple[tuple[str, float], ...] = ()
    show_known: str = "always"
    prompt_template: str = "masterpiece, high quality, {prompt}, {view} view"
    negative_prompt: str = "bad quality, worst quality, shadows"
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pin_background: bool = False
    crop: bool = True
    crop_margin: float = 1.1
    known_threshold: float = 0.5
    hard_pins: bool = False
    fill_before_encoding: bool = True
    unpainted: str = "black"
    sample_posterior: bool = True
    projection: str = "gather"
    adam_steps: int = 200
    adam_rate: float = 0.01
    accumulate: str = "mean"
    cosine_power: float = 4.0
    min_cosine: float = 0.0
    rim: float = 0.0
    fill: str = "surface"
    soft_sharpness: float = 100.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "background", tuple(float(value) for value in self.background))
        object.__setattr__(self, "window", tuple(self.window))
        object.__setattr__(self, "also_controls", tuple(sorted(dict(self.also_controls).items())))
        for field, allowed in _CHOICES.items():
            if getattr(self, field) not in allowed:
                raise ValueError(
                    f"Preset {self.name!r}: {field} is {getattr(self, field)!r}; "
                    f"it must be one of {', '.join(allowed)}."
                )
        for field in ("image_size", "render_size", "texture_size", "steps", "adam_steps"):
            if getattr(self, field) < 1:
                raise ValueError(
                    f"Preset {self.name!r}: {field} is {getattr(self, field)}; it must be positive."
                )
        for field in ("refine_strength", "min_cosine", "known_threshold", "rim", "eta", "strength"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(
                    f"Preset {self.name!r}: {field} is {getattr(self, field)}; it must be from 0 to 1."
                )
        if len(self.background) != 3 or not all(0 <= value <= 1 for value in self.background):
            raise ValueError(
                f"Preset {self.name!r}: background is {self.background}; it must be three values from 0 to 1."
            )
        if len(self.window) not in (0, 2):
            raise ValueError(
                f"Preset {self.name!r}: window is {list(self.window)}; give a first and a last step."
            )
        if "{prompt}" not in self.prompt_template:
            raise ValueError(f"Preset {self.name!r}: prompt_template lacks {{prompt}}.")

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

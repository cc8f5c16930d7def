"""Configuration of fine-tuning: the reward, the gradient strategy, the schedule."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from texgen.render.setting_types import Rasterizer, Rig
from workflow.config.method_settings import PresetOverrides
from workflow.config.signatures import defaults_of
from workflow.config.strict import Colour, Name, Strict

# What stands in the code that uses it is not typed again.
LOOP = defaults_of("texgen.finetune.settings", "TrainSettings")
STRATEGY = defaults_of("texgen.finetune.gradients", "make_strategy")
DIRECT = defaults_of("texgen.finetune.direct", "Direct")
NABLA = defaults_of("texgen.finetune.nabla", "Nabla")
D3PO = defaults_of("texgen.finetune.d3po", "D3PO")
CAMERAS = defaults_of("texgen.finetune.learned_cameras", "CameraRates")


class JitterSettings(Strict):
    """How far the cameras and backgrounds of renders move in training; measurements use them as they are."""

    azimuth: float = Field(default=0.0, ge=0, le=180, description="Degrees to either side.")
    elevation: float = Field(default=0.0, ge=0, le=90, description="Degrees to either side.")
    distance: float = Field(default=0.0, ge=0, le=0.9, description="Share of the distance, to either side.")
    background: float = Field(default=0.0, ge=0, le=1, description="0 = as given, 1 = any colour.")
    noise: float = Field(
        default=0.0, ge=0, le=1, description="Spread of noise on the judged pixels; 0.002 in R2D3."
    )


class RewardTerm(Strict):
    """One term of a training reward. Metrics of renders use the cameras below; others ignore them."""

    metric: Name = Field(description="A metric of this configuration; it is what is optimised.")
    weight: float = Field(
        default=1.0, gt=0, description="Weight of the term in the sum of standardised terms."
    )
    mean: float = Field(
        default=0.0, description="Mean of the metric for the untuned model, subtracted from it."
    )
    std: float = Field(
        default=1.0, gt=0, description="Spread of the metric for the untuned model, its divisor."
    )
    rig: Rig = Field(
        default="tilted_short", description="Cameras that judge renders: a name in texgen/render/rigs.py."
    )
    size: int = Field(default=128, ge=8, description="Side of the judged renders; pixels.")
    crop: bool = Field(
        default=False, description="Judge the square around the object, enlarged by 1.1, scaled to size."
    )
    judged_size: int | None = Field(
        default=None,
        ge=8,
        description="Scale renders bilinearly to this side before the score does; null = not.",
    )
    backgrounds: list[Colour] = Field(
        default=[[1.0, 1.0, 1.0]], min_length=1, description="Backgrounds of renders."
    )
    rasterizer: Rasterizer = Field(
        default="warp",
        description="What finds visible faces in the judged renders; nvdiffrast must be installed.",
    )
    target: float | None = Field(
        default=None, description="Value of the metric that `shape` is about; null = none."
    )
    shape: Literal["hinge", "target"] = Field(
        default="hinge",
        description="hinge = beyond the target nothing is gained; target = distance from it counts.",
    )
    jitter: JitterSettings = Field(
        default_factory=JitterSettings,
        description="Random moves of cameras and backgrounds, drawn for every step.",
    )


class GradientSettings(Strict):
    """Which denoising steps carry the gradient from the reward to the weights; used by direct."""

    strategy: Literal["exact", "last_k", "random_k", "low_variance"] = Field(
        default="last_k",
        description="exact = all steps; last_k = only the last k; random_k = the last 1 to k, drawn anew; "
        "low_variance = the last step, repeated from several noisings.",
    )
    k: int = Field(
        default=STRATEGY["k"],
        ge=1,
        description="Number of last steps that carry gradient, at most for random_k.",
    )
    copies: int = Field(
        default=STRATEGY["copies"], ge=1, description="Noisings of the last step; used by low_variance."
    )
    replay: bool = Field(
        default=STRATEGY["replay"],
        description="Keep no graph on the way forward: memory does not grow with views and steps.",
    )
    through_conditioning: bool = Field(
        default=False, description="Follow earlier colours into the conditioning of later views, too."
    )


class NablaSettings(Strict):
    """Residual gradient detailed balance; used by the algorithm nabla."""

    beta: float = Field(
        default=NABLA["beta"], gt=0, description="Strength of the reward against the untuned model."
    )
    transitions: int = Field(
        default=NABLA["transitions"], ge=1, description="Denoising steps per chain that are trained."
    )
    draws: int = Field(
        default=NABLA["draws"], ge=1, description="Jittered judgements whose mean is the reward."
    )
    max_flow: float | None = Field(
        default=NABLA["max_flow"], gt=0, description="Largest norm of a target; null = no limit."
    )


class D3poSettings(Strict):
    """Preference between two samples; used by the algorithm d3po."""

    beta: float = Field(default=D3PO["beta"], gt=0, description="Temperature of the preference.")
    clip: float = Field(
        default=D3PO["clip"], gt=0, lt=1, description="Ratios of densities are clipped to 1 +- clip."
    )
    transitions: int = Field(
        default=D3PO["transitions"], ge=1, description="Denoising steps per chain that are trained."
    )
    margin: float = Field(
        default=D3PO["margin"], ge=0, description="Rewards nearer than this are a tie, which trains nothing."
    )


class LearnCameras(Strict):
    """Azimuth and elevation of the generation cameras, trained together with the adapter."""

    azimuth_lr: float = Field(
        default=CAMERAS["azimuth"], ge=0, description="Learning rate of azimuths; degrees per early step."
    )
    elevation_lr: float = Field(
        default=CAMERAS["elevation"], ge=0, description="Learning rate of elevations; degrees per early step."
    )
    limit: float = Field(
        default=CAMERAS["limit"], gt=0, description="How far a camera may move from its rig; degrees."
    )


class TunedModel(Strict):
    """One LoRA adapter, trained on the training split by the gradient of a reward of its textures."""

    algorithm: Literal["direct", "nabla", "d3po"] = Field(
        default="direct",
        description="direct = backpropagation through texture generation; nabla = residual gradient detailed "
        "balance; d3po = preference between two samples.",
    )
    rewards: list[RewardTerm] = Field(
        min_length=1,
        description="Terms of the reward. The first is what the model is tuned for, by which the tables "
        "judge it; others hold it.",
    )
    steps: int = Field(ge=1, description="Optimiser steps.")
    batch: int = Field(
        default=LOOP["accumulate"], ge=1, description="Textures per optimiser step, by gradient accumulation."
    )
    # YAML reads 1e-3 (no dot) as text; this is the one field that people write so.
    learning_rate: float = Field(
        default=LOOP["learning_rate"], gt=0, strict=False, description="Learning rate of AdamW."
    )
    warmup: int = Field(
        default=LOOP["warmup"],
        ge=0,
        description="Optimiser steps in which the learning rates rise to their values.",
    )
    decay: bool = Field(
        default=LOOP["decay"],
        description="Let the learning rates fall to 0 over the training, by half a cosine.",
    )
    max_grad_norm: float | None = Field(
        default=LOOP["grad_clip"],
        gt=0,
        description="Norm above which gradients are scaled down; null = never.",
    )
    rank: int = Field(default=4, ge=1, description="LoRA rank.")
    alpha: float = Field(default=4.0, gt=0, description="LoRA alpha; alpha / rank scales the adapter.")
    layers: Literal["attention", "attention+convolutions"] = Field(
        default="attention", description="Layers of the UNet that the adapter changes."
    )
    gradient: GradientSettings = Field(
        default_factory=GradientSettings, description="Gradient strategy of direct."
    )
    nabla: NablaSettings = Field(default_factory=NablaSettings, description="Settings of nabla.")
    d3po: D3poSettings = Field(default_factory=D3poSettings, description="Settings of d3po.")
    kl_weight: float = Field(
        default=DIRECT["kl_weight"],
        ge=0,
        description="Weight of the divergence from the untuned model in direct's loss.",
    )
    learn_cameras: LearnCameras | None = Field(
        default=None, description="Train the generation cameras, too (direct only); null = they are fixed."
    )
    views_per_step: int | None = Field(
        default=LOOP["views_per_step"],
        ge=1,
        description="Views drawn anew for every optimiser step; null = all of the preset's rig.",
    )
    target: float | None = Field(
        default=DIRECT["target"], description="Reward beyond which nothing is gained (a hinge); null = none."
    )
    preset: PresetOverrides = Field(
        default_factory=PresetOverrides, description="Changes to the texgen preset while training."
    )
    validate_every: int = Field(
        default=LOOP["holdout_every"],
        ge=1,
        description="Optimiser steps between measurements of the held-out reward.",
    )
    validation_samples: int = Field(
        default=2,
        ge=0,
        description="Training (mesh, prompt) pairs kept for that measurement, at most half of them.",
    )
    keep_best: bool = Field(
        default=LOOP["keep_best"], description="Keep the adapter of the best held-out reward, not the last."
    )
    patience: int | None = Field(
        default=LOOP["patience"],
        ge=1,
        description="Measurements without a new best after which training stops; null = never.",
    )
    monitor: list[Name] | None = Field(
        default=[],
        description="Metrics measured beside the held-out reward, each with its weights in memory; "
        "null = all of the configuration.",
    )
    checkpoint_every: int = Field(
        default=LOOP["checkpoint_every"], ge=1, description="Optimiser steps between resumable checkpoints."
    )
    preview_every: int | None = Field(
        default=None,
        ge=1,
        description="Optimiser steps between pictures of the held-out textures, in "
        "results/training/<model>/previews; null = none. They change no number and take time to paint.",
    )
    seed: int = Field(default=LOOP["seed"], ge=0, description="Seed of the training run.")

    @model_validator(mode="after")
    def _warmup_ends(self) -> TunedModel:
        if self.warmup >= self.steps:
            raise ValueError(f"warmup is {self.warmup}; it must be less than steps, {self.steps}")
        return self

    @model_validator(mode="after")
    def _previews_need_pairs(self) -> TunedModel:
        if self.preview_every is not None and self.validation_samples == 0:
            raise ValueError("preview_every shows held-out pairs; give validation_samples at least 1")
        return self

    @model_validator(mode="after")
    def _cameras_need_direct(self) -> TunedModel:
        if self.learn_cameras is not None and self.algorithm != "direct":
            raise ValueError(
                f"learn_cameras needs the algorithm direct; {self.algorithm} has no gradient for it"
            )
        return self

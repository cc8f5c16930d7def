"""The configuration: pydantic models as the single source of its checks, its JSON schema and its defaults.

    python -m workflow.config check FILE...     one sentence per mistake, exit status 1 when there is one
    python -m workflow.config schema [--check]  write (or compare) workflow/schemas/config.schema.json
    python -m workflow.config defaults          print every optional field with its default and meaning

Imports no torch: a Snakefile loads this at every parse.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from workflow.config_errors import nested_models, sentence
from workflow.tables import NAME, ConfigError, MeshRow, PromptRow, read_meshes, read_prompts

SCHEMA_PATH = Path(__file__).parent / "schemas" / "config.schema.json"

Name = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
Unit = Annotated[float, Field(ge=0, le=1)]
Colour = Annotated[list[Unit], Field(min_length=3, max_length=3)]


class Strict(BaseModel):
    """Base of every block: unknown keys are refused, numbers are not read from strings."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Weights(Strict):
    """Where the weights of one model are: exactly one of `folder` and `hub`."""

    folder: str | None = Field(None, description="Folder in diffusers or transformers layout, from the root.")
    hub: str | None = Field(None, description="Hub id, organisation/name; downloaded on first use.")
    revision: str | None = Field(None, description="Branch, tag or commit of the hub id; null = its default.")

    @model_validator(mode="after")
    def _one_place(self) -> Weights:
        if (self.folder is None) == (self.hub is None):
            raise ValueError("give exactly one of folder and hub")
        if self.revision is not None and self.hub is None:
            raise ValueError("a revision belongs to a hub id, not to a folder")
        return self

    @property
    def source(self) -> str:
        """What loaders take: the folder or the hub id."""
        return self.folder or self.hub  # type: ignore[return-value]


class Backbone(Weights):
    """The diffusion model that every method of the configuration shares."""

    controlnets: dict[Name, Weights] = Field(description="ControlNet weights by role, e.g. depth_inpaint.")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="Number format of the frozen weights; float16 and bfloat16 are for GPUs."
    )


class MeshPreparation(Strict):
    """How meshes are read, before any method sees them."""

    table: str = Field("config/meshes.tsv", description="Sheet of meshes; columns in config/README.md.")
    uv: Literal["keep", "unwrap"] = Field(
        "keep", description="keep = use complete UVs of the file, else unwrap; unwrap = always unwrap."
    )
    longest_side: float = Field(
        1.6, gt=0, description="Longest side of the bounding box that cameras are made for; world units."
    )


class PresetOverrides(Strict):
    """Fields of a method's preset that this configuration changes; what is left out keeps the preset's value.

    The fields are those of texgen.presets.Preset, which says more about each.
    """

    rig: str = Field(None, description="Generation cameras: a name in texgen.cameras.RIGS.")
    image_size: int = Field(None, ge=8, description="Side of images from the diffusion model; pixels.")
    render_size: int = Field(None, ge=8, description="Side of the renders that are projected from; pixels.")
    texture_size: int = Field(None, ge=8, description="Side of the texture; texels.")
    scheduler: Literal["ddim", "unipc"] = Field(None, description="Sampler; fine-tuning needs ddim.")
    steps: int = Field(None, ge=1, description="Denoising steps per view.")
    eta: Unit = Field(None, description="Share of noise that a DDIM step adds again; 0 to 1.")
    guidance_scale: float = Field(None, ge=0, description="Classifier-free guidance scale.")
    control_scale: float = Field(None, ge=0, description="Strength of the ControlNet.")
    refine_strength: Unit = Field(None, description="Share of steps in which refine regions stay; 0 to 1.")
    prompt_template: str = Field(None, description="Text given to the model; may use {prompt} and {view}.")
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
    fill: Literal["surface", "dilate", "none"] = Field(None, description="How unpainted texels are filled.")

    def changes(self) -> dict[str, Any]:
        """The fields that were given, for `Preset.replace`."""
        return self.model_dump(exclude_unset=True)


class Head(Strict):
    """Weights of an aesthetic head: a path, or an address with its SHA-256."""

    path: str | None = Field(None, description="Folder with head.safetensors, or a file of weights.")
    url: str | None = Field(
        None, pattern="^https://", description="Address it is downloaded from on first use; needs sha256."
    )
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the downloaded file.")

    @model_validator(mode="after")
    def _one_place(self) -> Head:
        if (self.path is None) == (self.url is None):
            raise ValueError("give exactly one of path and url")
        if (self.url is None) != (self.sha256 is None):
            raise ValueError("url and sha256 belong together")
        return self


class AestheticMetric(Strict):
    """Aesthetic score of renders: an affine map of the CLIP image embedding."""

    kind: Literal["aesthetic"] = Field(description="aesthetic")
    clip: Weights = Field(description="CLIP whose image embedding is judged.")
    head: Head = Field(description="Affine map from the embedding to the score.")
    label: str = Field("Aesthetic", description="Name of the column.")


class ClipScoreMetric(Strict):
    """CLIPScore of renders: raw cosine of image and prompt embeddings."""

    kind: Literal["clipscore"] = Field(description="clipscore")
    clip: Weights = Field(description="CLIP whose embeddings are compared.")
    prefix: str = Field("", description="Put before every prompt.")
    label: str = Field("CLIPScore", description="Name of the column.")


class AlignmentMetric(Strict):
    """Geometry-texture alignment, judged on the texture itself."""

    kind: Literal["alignment"] = Field(description="alignment")
    label: str = Field("Alignment", description="Name of the column.")


Metric = Annotated[AestheticMetric | ClipScoreMetric | AlignmentMetric, Field(discriminator="kind")]


class RewardTerm(Strict):
    """One term of a training reward. Metrics of renders use the cameras below; others ignore them."""

    metric: Name = Field(description="A metric of this configuration; it is what is optimised.")
    weight: float = Field(1.0, gt=0, description="Weight of the term in the sum of standardised terms.")
    mean: float = Field(0.0, description="Mean of the metric for the untuned model, subtracted from it.")
    std: float = Field(1.0, gt=0, description="Spread of the metric for the untuned model, its divisor.")
    rig: str = Field("tilted_short", description="Cameras that judge renders: a name in texgen.cameras.RIGS.")
    size: int = Field(128, ge=8, description="Side of the judged renders; pixels.")
    backgrounds: list[Colour] = Field([[1.0, 1.0, 1.0]], min_length=1, description="Backgrounds of renders.")


class Gradient(Strict):
    """Which denoising steps carry the gradient from the reward to the weights."""

    strategy: Literal["exact", "last_k"] = Field(
        "last_k", description="exact = all steps, one step's graph alive at a time; last_k = only the last k."
    )
    k: int = Field(1, ge=1, description="Number of last steps that carry gradient; used by last_k.")


class TunedModel(Strict):
    """One LoRA adapter, trained on the training split by backpropagation through texture generation."""

    rewards: list[RewardTerm] = Field(min_length=1, description="Terms of the reward.")
    steps: int = Field(ge=1, description="Optimiser steps.")
    batch: int = Field(1, ge=1, description="Textures per optimiser step, by gradient accumulation.")
    # YAML reads 1e-3 (no dot) as text; this is the one field that people write so.
    learning_rate: float = Field(1e-3, gt=0, strict=False, description="Learning rate of AdamW.")
    max_grad_norm: float = Field(1.0, gt=0, description="Norm above which gradients are scaled down.")
    rank: int = Field(4, ge=1, description="LoRA rank.")
    alpha: float = Field(4.0, gt=0, description="LoRA alpha; alpha / rank scales the adapter.")
    gradient: Gradient = Field(default_factory=Gradient, description="Gradient strategy.")
    views_per_step: int | None = Field(
        None, ge=1, description="Views drawn anew for every optimiser step; null = all of the preset's rig."
    )
    target: float | None = Field(
        None, description="Reward beyond which nothing is gained (a hinge); null = none."
    )
    preset: PresetOverrides = Field(
        default_factory=PresetOverrides, description="Changes to the texgen preset while training."
    )
    validate_every: int = Field(
        10, ge=1, description="Optimiser steps between measurements of the held-out reward."
    )
    validation_samples: int = Field(
        2, ge=0, description="Evaluation (mesh, prompt) pairs in that measurement; 0 = none."
    )
    checkpoint_every: int = Field(5, ge=1, description="Optimiser steps between resumable checkpoints.")
    seed: int = Field(0, ge=0, description="Seed of the training run.")


class Method(Strict):
    """One row of the table."""

    kind: Literal["texgen", "intex"] = Field(description="Which method: texgen or intex.")
    model: Name | None = Field(None, description="Tuned model of this file; null = untuned backbone.")
    preset: PresetOverrides = Field(
        default_factory=PresetOverrides, description="Changes to the preset for this row only."
    )
    label: str | None = Field(None, description="Name of the row; null = its key.")


class Evaluation(Strict):
    """What every method is run on and how renders are made for scoring."""

    seeds: list[Annotated[int, Field(ge=0)]] = Field(
        [0], min_length=1, description="Seeds per (mesh, prompt); averaged inside a sample."
    )
    reference: Name = Field("pretrained", description="Method that others are compared with, in pairs.")
    rig: str = Field("evaluation", description="Scoring cameras: a name in texgen.cameras.RIGS.")
    size: int = Field(224, ge=8, description="Side of the scored renders; pixels.")
    supersample: int = Field(2, ge=1, description="Renders are made this many times finer, then averaged.")
    backgrounds: dict[Name, Colour] = Field(
        {"white": [1.0, 1.0, 1.0], "grey": [0.5, 0.5, 0.5]},
        min_length=1,
        description="Backgrounds of the scored renders by name, [r, g, b] in 0 to 1.",
    )
    shards: int = Field(1, ge=1, description="Jobs per method; use the number of GPUs.")


class Config(Strict):
    """A whole run: meshes, prompts, models, methods, metrics, protocol."""

    title: str = Field(description="One line that names the run, shown with the table.")
    note: str = Field("", description="What a reader of the table must know, shown in its caption.")
    results: str = Field("results", description="Folder that everything is computed into.")
    meshes: MeshPreparation = Field(default_factory=MeshPreparation, description="Meshes, their preparation.")
    prompts: str = Field("config/prompts.tsv", description="Sheet of prompts; columns in config/README.md.")
    published: str | None = Field(
        None, description="Sheet of published numbers that is printed beside ours; null = none."
    )
    backbone: Backbone = Field(description="The diffusion model.")
    presets: dict[Literal["texgen", "intex"], PresetOverrides] = Field(
        default_factory=dict, description="Changes to the presets, by kind of method."
    )
    metrics: dict[Name, Metric] = Field(min_length=1, description="Columns of the table.")
    models: dict[Name, TunedModel] = Field(default_factory=dict, description="LoRA adapters to train.")
    methods: dict[Name, Method] = Field(min_length=1, description="Rows of the table.")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="Evaluation protocol.")

    @model_validator(mode="after")
    def _references(self) -> Config:
        for name, model in self.models.items():
            for term in model.rewards:
                if term.metric not in self.metrics:
                    raise ValueError(
                        f"models.{name}.rewards names the metric {term.metric!r}; "
                        f"allowed are {_names(self.metrics)}"
                    )
        for name, method in self.methods.items():
            if method.model is not None and method.model not in self.models:
                raise ValueError(
                    f"methods.{name}.model is {method.model!r}; allowed are null and {_names(self.models)}"
                )
        sizes = {
            f"methods.{name}": method.preset.texture_size or self._texture_size(method.kind)
            for name, method in self.methods.items()
        } | {
            f"models.{name}": model.preset.texture_size or self._texture_size("texgen")
            for name, model in self.models.items()
        }
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} {size or 'the preset default'}" for name, size in sizes.items())
            raise ValueError(f"texture_size must be one for all methods and models, but it is {shown}")
        if self.evaluation.reference not in self.methods:
            raise ValueError(
                f"evaluation.reference is {self.evaluation.reference!r}; allowed are {_names(self.methods)}"
            )
        return self

    def _texture_size(self, kind: str) -> int | None:
        """Texture size that the configuration gives to one kind of method; None = the preset's default."""
        preset = self.presets.get(kind)
        return preset.texture_size if preset else None


def _names(block: dict[str, Any]) -> str:
    return ", ".join(block) or "none (the block is empty)"


def parse_config(data: Any, where: str = "configuration") -> Config:
    """The checked configuration. Raises `ConfigError` with one sentence per mistake, each naming `where`."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: must hold fields such as title and backbone, not {type(data).__name__}.")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError("\n".join(sentence(where, Config, item) for item in error.errors())) from None


def load_config(path: str | Path) -> Config:
    """Read and check one YAML file. Raises `ConfigError`."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}).") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{place}: is not YAML ({getattr(error, 'problem', error)}).") from error
    return parse_config(data, str(path))


def load_sheets(config: Config) -> tuple[list[MeshRow], list[PromptRow]]:
    """The checked mesh and prompt rows of a configuration. Raises `ConfigError`."""
    meshes = read_meshes(config.meshes.table)
    return meshes, read_prompts(config.prompts, meshes)


def schema_text() -> str:
    """The JSON schema of a configuration file, as it is stored."""
    return json.dumps(Config.model_json_schema(), indent=2, ensure_ascii=False) + "\n"


def defaults_text(model: type[BaseModel] = Config, indent: str = "") -> str:
    """YAML-like text of every field of a block and of the blocks in it: its default and what it means."""
    lines = []
    for name, field in model.model_fields.items():
        blocks = nested_models(field.annotation)
        if field.is_required():
            value = "required"
        elif model is PresetOverrides:
            value = "the preset's"
        elif blocks:
            value = ""
        else:
            value = json.dumps(field.get_default(call_default_factory=True))
        lines.append(f"{indent}{name}: {value}".rstrip() + f"  # {field.description}")
        repeated = any(word in str(field.annotation) for word in ("dict[", "list["))
        for block in blocks:
            inner = indent + "  "
            if repeated:
                lines.append(f"{inner}(each {block.__name__})")
                inner += "  "
            lines.append(defaults_text(block, inner))
    return "\n".join(lines)


def _check(paths: list[str]) -> int:
    failed = False
    for path in paths:
        try:
            config = load_config(path)
            meshes, prompts = load_sheets(config)
        except ConfigError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        print(
            f"{path}: valid; {len(config.methods)} methods, {len(config.models)} tuned models, "
            f"{len(config.metrics)} metrics, {len(meshes)} meshes, {len(prompts)} prompts."
        )
    return int(failed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m workflow.config", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check configuration files and the sheets they name")
    check.add_argument("files", nargs="+")
    schema = commands.add_parser("schema", help="write the JSON schema")
    schema.add_argument("--check", action="store_true", help="only compare; exit 1 when it differs")
    commands.add_parser("defaults", help="print every field with its default and meaning")
    options = parser.parse_args(arguments)
    if options.command == "check":
        return _check(options.files)
    if options.command == "defaults":
        print(defaults_text())
        return 0
    if options.check:
        same = SCHEMA_PATH.is_file() and SCHEMA_PATH.read_text(encoding="utf-8") == schema_text()
        if not same:
            print(f"{SCHEMA_PATH.name} is stale; run `python -m workflow.config schema`.", file=sys.stderr)
        return int(not same)
    SCHEMA_PATH.parent.mkdir(exist_ok=True)
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

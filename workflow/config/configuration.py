"""The configuration: pydantic models as the single source of its checks, its JSON schema and its defaults.

    python -m workflow.config check FILE...     one sentence per mistake, exit status 1 when there is one
    python -m workflow.config schema [--check]  write (or compare) workflow/schemas/config.schema.json
    python -m workflow.config defaults          print every optional field with its default and meaning

Imports no torch: a Snakefile loads this at every parse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, model_validator

from texgen.errors import PlainError
from texgen.render.setting_types import Rasterizer, Rig
from texgen.storage.files import read_bytes
from texgen.storage.plain_text import without_passwords
from workflow.config.error_sentences import sentence
from workflow.config.inputs import BackboneWeights, MeshPreparation
from workflow.config.kinds import METHODS, OFFICIAL_BACKEND
from workflow.config.method_settings import PresetOverrides
from workflow.config.methods import (
    Method,
    MethodName,
    networks,
    refuse_misplaced,
    refuse_networks,
    refuse_overrides,
    signature_of,
)
from workflow.config.metrics import Metric, Scoring, metric_kind
from workflow.config.sheets import ConfigError, MeshRow, PromptRow, read_meshes, read_prompts
from workflow.config.strict import Colour, InputPath, Name, PlainPath, Strict
from workflow.config.training import TunedModel

MOST_BYTES = 16 << 20
HUGE = 2**63
"""Python does not even write down numbers of many digits, which YAML reads in several notations."""


class References(Strict):
    """Pictures that the renders of every method are compared with, as a set (CMMD)."""

    images: PlainPath = Field(description="Folder of pictures, made by the protocol of the renders.")
    metric: Name = Field(description="A clipscore metric of this file, whose CLIP embeds both.")


class Evaluation(Strict):
    """What every method is run on and how renders are made for scoring."""

    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = Field(
        default=[0], min_length=1, description="Seeds per (mesh, prompt); averaged inside a sample."
    )
    reference: Name = Field(
        default="pretrained", description="Method that others are compared with, in pairs."
    )
    rig: Rig = Field(default="evaluation", description="Scoring cameras: a name in texgen/render/rigs.py.")
    size: int = Field(default=224, ge=8, description="Side of the scored renders; pixels.")
    supersample: int = Field(
        default=2, ge=1, description="Renders are made this many times finer, then averaged."
    )
    backgrounds: dict[Name, Colour] = Field(
        default={"white": [1.0, 1.0, 1.0], "grey": [0.5, 0.5, 0.5]},
        min_length=1,
        description="Backgrounds of the scored renders by name, [r, g, b] in 0 to 1.",
    )
    rasterizer: Rasterizer = Field(
        default="warp",
        description="What finds visible faces in the scored renders; nvdiffrast must be installed.",
    )
    save_renders: bool = Field(
        default=False, description="Also save the scored renders, in RESULTS/renders/METHOD/ASSET/."
    )
    references: References | None = Field(
        default=None, description="Reference pictures that the renders' distance to is measured; null = none."
    )
    shards: int = Field(default=1, ge=1, description="Jobs per method; use the number of GPUs.")


class Config(Strict):
    """A whole run: meshes, prompts, models, methods, metrics, protocol."""

    title: str = Field(description="One line that names the run, shown with the table.")
    note: str = Field(default="", description="What a reader of the table must know, shown in its caption.")
    results: PlainPath = Field(default="results", description="Folder that everything is computed into.")
    meshes: MeshPreparation = Field(default_factory=MeshPreparation, description="Meshes, their preparation.")
    prompts: InputPath = Field(
        default="config/prompts.tsv", description="Sheet of prompts; columns in config/README.md."
    )
    published: InputPath | None = Field(
        default=None, description="Sheet of published numbers that is printed beside ours; null = none."
    )
    backbone: BackboneWeights = Field(description="The diffusion model.")
    presets: dict[MethodName, PresetOverrides] = Field(
        default_factory=dict, description="Changes to the presets, by kind of method."
    )
    metrics: dict[Name, Metric] = Field(min_length=1, description="Columns of the table.")
    models: dict[Name, TunedModel] = Field(default_factory=dict, description="LoRA adapters to train.")
    methods: dict[Name, Method] = Field(min_length=1, description="Rows of the table.")
    scoring: Scoring = Field(default_factory=Scoring, description="Which code computes image scores.")
    evaluation: Evaluation = Field(default_factory=Evaluation, description="Evaluation protocol.")
    study: PlainPath | None = Field(
        default=None,
        description="Folder with a user study's key.json and answers, for its figure; null = none.",
    )

    @model_validator(mode="after")
    def _references(self) -> Config:
        for name, model in self.models.items():
            named = {"rewards": [term.metric for term in model.rewards], "monitor": model.monitor or []}
            for field, metric in ((field, each) for field, some in named.items() for each in some):
                if metric not in self.metrics:
                    raise ValueError(
                        f"models.{name}.{field} names the metric {metric!r}; "
                        f"allowed are {_names(self.metrics)}"
                    )
        for kind, preset in self.presets.items():
            refuse_overrides(f"presets.{kind}", kind, preset)
        for name, model in self.models.items():
            refuse_overrides(f"models.{name}.preset", "texgen", model.preset)
            refuse_networks(f"models.{name}", "texgen", self.changes("texgen", model.preset), self.backbone)
        for name, method in self.methods.items():
            if method.model is not None and method.model not in self.models:
                raise ValueError(
                    f"methods.{name}.model is {method.model!r}; allowed are null and {_names(self.models)}"
                )
            self._check_kind(name, method)
        if self.scoring.backend == "official":
            if self.scoring.precision != "float32":
                raise ValueError(
                    f"scoring.precision is {self.scoring.precision}, which the official packages do not "
                    "offer; leave it at float32, or set scoring.backend: native"
                )
            for name, metric in self.metrics.items():
                if not metric_kind(metric).is_geometric and metric.kind not in OFFICIAL_BACKEND:
                    raise ValueError(
                        f"scoring.backend is official, which cannot score metrics.{name} ({metric.kind}); "
                        f"it can {', '.join(OFFICIAL_BACKEND)}"
                    )
        sizes = {f"methods.{name}": self.texture_size(method) for name, method in self.methods.items()} | {
            f"models.{name}": self.changes("texgen", model.preset).get("texture_size")
            for name, model in self.models.items()
        }
        if len(set(sizes.values())) > 1:
            shown = ", ".join(f"{name} {size or 'the preset default'}" for name, size in sizes.items())
            raise ValueError(f"texture_size must be one for all methods and models, but it is {shown}")
        references = self.evaluation.references
        if references is not None:
            scores = [name for name, metric in self.metrics.items() if metric.kind == "clipscore"]
            if references.metric not in scores:
                raise ValueError(
                    f"evaluation.references.metric is {references.metric!r}; it must be a metric of the kind "
                    f"clipscore, here {', '.join(scores) or 'none'}"
                )
        if self.evaluation.reference not in self.methods:
            raise ValueError(
                f"evaluation.reference is {self.evaluation.reference!r}; allowed are {_names(self.methods)}"
            )
        return self

    def _check_kind(self, name: str, method: Method) -> None:
        where = f"methods.{name}"
        refuse_misplaced(where, method)
        scores = {key for key, m in self.metrics.items() if not metric_kind(m).judges_texture}
        if method.metric is not None and method.metric not in scores:
            raise ValueError(f"{where}.metric is {method.metric!r}; allowed are {', '.join(sorted(scores))}")
        refuse_overrides(f"{where}.preset", method.kind, method.preset)
        refuse_networks(where, method.kind, self.changes(method.kind, method.preset), self.backbone)

    def changes(self, kind: str, own: PresetOverrides) -> dict[str, Any]:
        """Changes to the settings of one kind of method: the configuration's for that kind, then a row's."""
        shared = self.presets[kind].changes() if kind in self.presets else {}
        return {**shared, **own.changes()}

    def networks(self) -> tuple[str, ...]:
        """Roles of the backbone's networks that some method or training asks for, each once."""
        kinds = [(method.kind, method.preset) for method in self.methods.values()]
        kinds += [("texgen", model.preset) for model in self.models.values()]
        if any(METHODS[kind].paints and METHODS[kind].load_facts() is None for kind, _ in kinds):
            return (*self.backbone.controlnets, "unet")
        used = [role for kind, own in kinds for role in networks(kind, self.changes(kind, own))]
        return tuple(dict.fromkeys(used))

    def texture_size(self, method: Method) -> int | None:
        """Texture size that the configuration gives to a method; None = the preset's default."""
        signature = signature_of(method)
        if signature is None:
            return self.changes(method.kind, method.preset).get("texture_size")
        defaults = {each.name: each.default for each in signature.parameters}
        found = (defaults | method.arguments).get("texture_size")
        return found if isinstance(found, int) else None


def _names(block: dict[str, Any]) -> str:
    return ", ".join(block) or "none (the block is empty)"


def parse_config(data: Any, where: str = "configuration") -> Config:
    """The checked configuration. Raises `ConfigError` with one sentence per mistake, each naming `where`."""
    if not isinstance(data, dict):
        raise ConfigError(f"{where}: must hold fields such as title and backbone, not {type(data).__name__}.")
    huge = _huge_number(data)
    if huge is not None:
        raise ConfigError(f"{where}: {huge} is a whole number beyond 2^63; give a smaller one.")
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        sentences = "\n".join(sentence(where, Config, item) for item in error.errors())
        raise ConfigError(without_passwords(sentences)) from None


def _huge_number(data: Any) -> str | None:
    """The first field that holds a whole number too large to be written down; None = there is none."""
    left, seen = [("", data)], set()
    while left:
        field, value = left.pop()
        if isinstance(value, int) and abs(value) >= HUGE:
            return field
        if not isinstance(value, dict | list) or id(value) in seen:  # YAML may hold what holds itself
            continue
        seen.add(id(value))
        if isinstance(value, dict):
            if any(isinstance(key, int) and abs(key) >= HUGE for key in value):
                return f"a key of {field or 'the file'}"
            left += [(f"{field}.{key}" if field else str(key), each) for key, each in value.items()]
        else:
            left += [(f"{field}[{index}]", each) for index, each in enumerate(value)]
    return None


def load_config(path: str | Path) -> Config:
    """Read and check one YAML file. Raises `ConfigError`."""
    try:
        data = yaml.safe_load(read_bytes(path, MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check the path.") from error
    except PlainError as error:
        raise ConfigError(str(error)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as such.") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise ConfigError(f"{path}{place}: is not YAML ({reason}); correct it there.") from error
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deeply; a configuration has a few levels.") from None
    except ValueError as error:  # e.g. a date that does not exist
        raise ConfigError(f"{path}: is not YAML ({error}); correct it there.") from error
    return parse_config(data, str(path))


def load_sheets(config: Config) -> tuple[list[MeshRow], list[PromptRow]]:
    """The checked mesh and prompt rows of a configuration. Raises `ConfigError`."""
    meshes = read_meshes(config.meshes.table)
    return meshes, read_prompts(config.prompts, meshes)

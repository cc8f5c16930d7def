"""Configuration of metrics: one block per kind, told apart by its field `kind`."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args

from pydantic import Field, TypeAdapter, create_model, model_validator

from rewards.checkpoints.published_files import CLIP_MODELS
from workflow.config.checkpoints import BERT, VIT_H_14, Checkpoint, pinned, tokenizer_of
from workflow.config.custom import PLACE, Place, check_arguments
from workflow.config.custom import signature_of as signature_of_custom
from workflow.config.file_metrics import CycleRewardMetric, HpMetric, IctMetric, Reward3DMetric
from workflow.config.geometry_metrics import (
    AlignmentMetric,
    ColourisationMetric,
    EmphasisMetric,
    SymmetryMetric,
)
from workflow.config.kinds import METRICS, CustomKind, MetricKind
from workflow.config.signatures import REQUIRED
from workflow.config.signatures import of_module as signature_of
from workflow.config.strict import InputPath, Strict, Weights


class Scoring(Strict):
    """How image scores are computed."""

    backend: Literal["native", "official"] = Field(
        default="native",
        description="native = ours; official = the published packages themselves in an environment of their "
        "own (see docs/scorers.md), to check ours; slow, for evaluation only.",
    )
    precision: Literal["float32", "tf32", "float16"] = Field(
        default="float32",
        description="Of the networks of image scores, in evaluation: float32 = exact; tf32, float16 = "
        "several times faster on a GPU, off by what docs/scorers.md says. Training is always in float32.",
    )


class Head(Strict):
    """Weights of an aesthetic head: a path, or an address with its SHA-256."""

    path: InputPath | None = Field(
        default=None, description="Folder with head.safetensors, or a file of weights."
    )
    url: str | None = Field(
        default=None,
        pattern="^https://",
        description="Address it is downloaded from on first use; needs sha256.",
    )
    sha256: str | None = Field(
        default=None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the downloaded file."
    )

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
    clip: Checkpoint = Field(description="CLIP whose image embedding is judged.")
    head: Head = Field(description="Affine map from the embedding to the score.")
    label: str = Field(default="Aesthetic", description="Name of the column.")


class ClipScoreMetric(Strict):
    """CLIPScore of renders: raw cosine of image and prompt embeddings."""

    kind: Literal["clipscore"] = Field(description="clipscore")
    clip_model: Literal["ViT-B/32", "ViT-L/14"] = Field(
        default="ViT-B/32",
        description="OpenAI's CLIP whose embeddings are compared, unless `clip` names another.",
    )
    clip: Checkpoint | None = Field(
        default=None, description="CLIP to use; null = the pinned one of clip_model."
    )
    prefix: str = Field(default="", description="Put before every prompt.")
    label: str = Field(default="CLIPScore", description="Name of the column.")

    @model_validator(mode="after")
    def _default(self) -> ClipScoreMetric:
        if self.clip is None:
            self.clip = pinned(CLIP_MODELS[self.clip_model])
        return self


class HubScore(Strict):
    """Base of metrics whose published weights come without the tokenizer that they need."""

    tokenizer_hub: ClassVar[str]

    weights: Checkpoint = Field(description="Published checkpoint, or a folder.")
    tokenizer: Weights | None = Field(
        default=None,
        description="Tokenizer and image settings; null = those of the folder, or the published ones.",
    )

    @model_validator(mode="after")
    def _published_tokenizer(self) -> Self:
        if self.tokenizer is None and self.weights.hub is not None:
            self.tokenizer = tokenizer_of(self.tokenizer_hub)
        return self


class ImageRewardMetric(HubScore):
    """ImageReward of renders: BLIP trained on people's preferences."""

    tokenizer_hub: ClassVar[str] = BERT

    kind: Literal["imagereward"] = Field(description="imagereward")
    weights: Checkpoint = Field(
        default_factory=lambda: pinned("zai-org/ImageReward"),
        description="Official checkpoint, or a folder in plain layout.",
    )
    label: str = Field(default="ImageReward", description="Name of the column.")


class Hpsv2Metric(HubScore):
    """HPSv2 of renders: cosine of a CLIP ViT-H/14 that was tuned to people's rankings."""

    tokenizer_hub: ClassVar[str] = VIT_H_14

    kind: Literal["hpsv2"] = Field(description="hpsv2")
    version: Literal["v2.0", "v2.1"] = Field(
        default="v2.1", description="Which checkpoint; the scores of one cannot be compared with the other's."
    )
    weights: Checkpoint = Field(
        default_factory=lambda: pinned("xswu/HPSv2"),
        description="Official checkpoint, or a folder in transformers layout.",
    )
    label: str = Field(default="HPSv2", description="Name of the column.")


class PickScoreMetric(HubScore):
    """PickScore of renders: a CLIP ViT-H/14 tuned to people's choices, times its temperature."""

    tokenizer_hub: ClassVar[str] = VIT_H_14

    kind: Literal["pickscore"] = Field(description="pickscore")
    weights: Checkpoint = Field(
        default_factory=lambda: pinned("yuvalkirstain/PickScore_v1"),
        description="Official checkpoint, or a folder in transformers layout.",
    )
    label: str = Field(default="PickScore", description="Name of the column.")


class CustomMetric(Strict):
    """A reward or score of your own, in a file of your own (docs/adding-a-reward.md)."""

    kind: Literal["custom"] = Field(description="custom")
    file: Place = Field(description=PLACE)
    arguments: dict[str, Any] = Field(default={}, description="Arguments of the class.")
    judges: Literal["texture", "renders"] = Field(
        default="texture",
        description="Whether it is called with a textured mesh, or with renders and prompts.",
    )
    decimals: int = Field(default=4, ge=0, le=9, description="Decimals shown in the column.")
    label: str | None = Field(default=None, description="Name of the column; null = that of the class.")

    @model_validator(mode="after")
    def _fits_its_file(self) -> CustomMetric:
        check_arguments(self.file, signature_of_custom(self.file), self.arguments, ("device",))
        if self.label is None:
            self.label = self.file.rpartition(":")[2]
        return self


WRITTEN = (
    AestheticMetric,
    ClipScoreMetric,
    ImageRewardMetric,
    Hpsv2Metric,
    PickScoreMetric,
    CycleRewardMetric,
    IctMetric,
    HpMetric,
    Reward3DMetric,
    AlignmentMetric,
    SymmetryMetric,
    EmphasisMetric,
    ColourisationMetric,
    CustomMetric,
)


def derived_block(kind: str) -> type[Strict]:
    """The block of a kind of metric for which none is written: read from the signature of its class.

    A geometric reward takes the parameters of its class; an image score its `weights`, a `tokenizer` where
    its loader takes one, and the other parameters of the loader. A parameter of the type `Annotated[float,
    Field(gt=0, description=...)]` has a rule and a description.
    """
    known = METRICS[kind]
    learned = not known.judges_texture
    signature = signature_of(known.module, known.name, "load" if learned else "__init__")
    fields: dict[str, Any] = {"kind": (Literal[kind], Field(description=kind))}
    for each in signature.parameters:
        if each.name in ("source", "head", "device", "cache"):
            continue
        if learned and each.name in ("tokenizer", "base"):
            fields["tokenizer"] = (
                Weights | None,
                Field(default=None, description="Tokenizer; null = the folder's."),
            )
            continue
        about = Field(default=... if each.default is REQUIRED else each.default)
        about.description = f"Parameter {each.name} of {known.module}.{known.name}."
        fields[each.name] = (each.annotation, about)
    if learned:
        fields["weights"] = (Checkpoint, Field(description="Folder of the weights, or a hub id."))
    fields["label"] = (str, Field(default=known.name, description="Name of the column."))
    return create_model(
        f"{known.name}Metric", __base__=Strict, __doc__=f"{known.module}.{known.name}", **fields
    )


BLOCKS = {get_args(block.model_fields["kind"].annotation)[0]: block for block in WRITTEN}
BLOCKS |= {kind: derived_block(kind) for kind in METRICS if kind not in BLOCKS}
Metric: Any = Annotated[Union[tuple(BLOCKS.values())], Field(discriminator="kind")]  # noqa: UP007 (of a list)


def metric_kind(block: Any) -> MetricKind | CustomKind:
    """Where the metric of a block is implemented and how its column looks."""
    if block.kind != "custom":
        return METRICS[block.kind]
    up = (signature_of_custom(block.file).constants or {}).get("higher_is_better", True)
    return CustomKind(block.file, block.judges == "texture", up, block.decimals)


def parse_metric(data: dict[str, Any]) -> Metric:
    """The checked block of one metric. Raises pydantic's ValidationError."""
    return TypeAdapter(Metric).validate_python(data)

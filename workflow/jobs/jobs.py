"""The jobs of a run, typed: what each must know, what re-runs it, what it reads, which code it runs.

A job is written as one JSON file and read back by its step. It carries only the networks, metrics and weights
that it uses, so that nothing else in a configuration concerns it. Imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, ValidationError

from texgen.errors import DamagedFileError
from texgen.reading.policies import UvPolicy
from workflow.code_identity import code_version
from workflow.config.custom import path_of
from workflow.config.inputs import BackboneWeights
from workflow.config.kinds import METHODS, METRICS, glb_places, program_module
from workflow.config.metrics import Metric
from workflow.config.official_methods import OfficialProgram
from workflow.config.strict import Colour, Strict
from workflow.config.training import TunedModel
from workflow.provenance import read_settings
from workflow.weights.local_files import backbone_places, metric_places, preset_places, read_in

AssetRecord = dict[str, Any]
"""One thing to texture, as `Asset.record` gives it: asset, mesh, prompt_id, prompt, seed."""


class Job(Strict):
    """What the jobs have in common.

    ASSETS: names of its fields that hold long lists, which are handed on as they are. LEFT_OUT: what names
    columns and does not concern the job.
    """

    model_config = ConfigDict(frozen=True)
    ASSETS: ClassVar[tuple[str, ...]] = ()
    LEFT_OUT: ClassVar[dict[str, Any]] = {}

    def record(self) -> dict[str, Any]:
        """The job as plain JSON, which `read` takes."""
        short = self.model_dump(mode="json", exclude={**self.LEFT_OUT, **dict.fromkeys(self.ASSETS, True)})
        return short | {name: getattr(self, name) for name in self.ASSETS}

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """A job of parts that are checked already, as a plan makes it."""
        return cls.model_construct(**fields)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """The job of a settings file. Raises DamagedFileError when it is cut off or of another version."""
        try:
            return cls.model_validate(read_settings(path))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "the file"
            raise DamagedFileError(
                f"{path} is not a settings file of this version ({field}: {first['msg']}); delete it and run "
                "again."
            ) from error

    def identity(self) -> dict[str, Any]:
        """What of the job decides its result: when this differs, the result is made again."""
        return self.record()

    def places(self) -> dict[str, str]:
        """What it reads of weights on this machine: role -> folder or file."""
        return {}

    def files(self) -> list[str]:
        """The files in these places, as inputs of its rule: a missing one is named before the run."""
        return list(
            dict.fromkeys(path for role, place in self.places().items() for path in read_in(role, place))
        )

    def modules(self) -> list[str]:
        """The modules that it runs: an edit of their code, or of what they import, makes its result anew."""
        return []

    def sources(self) -> list[str]:
        """The files of code that it runs and that belong to the user, not to this package."""
        return []

    def code(self) -> str:
        """Hash of all code that it may run."""
        return code_version(*self.modules(), files=self.sources())


def metric_modules(block: Any) -> list[str]:
    """The modules that load and compute a metric."""
    own = [] if block.kind == "custom" else [METRICS[block.kind].module]
    return ["workflow.steps.scorers", *own]


def sources_of(*blocks: Any) -> list[str]:
    """Files of custom metrics."""
    places = [block.file for block in blocks if block is not None and block.kind == "custom"]
    return sorted({path_of(place).as_posix() for place in places})


class MeshJob(Job):
    """Read, clean, normalise and unwrap one mesh."""

    mesh: str
    source: str
    sha256: str = ""
    rotate: str = ""
    licence: str = ""
    uv: UvPolicy = "auto"
    longest_side: float = Field(default=1.6, gt=0)
    texture_size: int | None = None

    def modules(self) -> list[str]:
        return ["workflow.steps.prepare_mesh"]


class TextureJob(Job):
    """Texture one shard of the assets by one method.

    score: the image score that psd_like ranks its pairs by. file: FILE.py:NAME of a custom method. preset:
    changes to the method's settings, a custom method's arguments.
    """

    ASSETS = ("assets",)
    LEFT_OUT = {"score": {"label"}}

    method: str
    kind: str
    model: str | None = None
    lora_scale: float = 1.0
    score: Metric | None = None
    folder: str | None = None
    official: OfficialProgram | None = None
    file: str | None = None
    preset: dict[str, Any] = {}
    backbone: BackboneWeights | None = None
    assets: list[AssetRecord] = []

    def identity(self) -> dict[str, Any]:
        """All but the assets, which have identities of their own."""
        return {name: value for name, value in self.record().items() if name != "assets"}

    def places(self) -> dict[str, str]:
        scored = {} if self.score is None else metric_places(self.score, "score")
        own = preset_places(self.preset) if self.file is None else {}
        return (backbone_places(self.backbone) if self.backbone is not None else {}) | scored | own

    def files(self) -> list[str]:
        """Weights, and the GLBs of a precomputed method."""
        if self.folder is None:
            return super().files()
        places = [path for asset in self.assets for path in glb_places(self.folder, asset["asset"])]
        return super().files() + [path.as_posix() for path in places if path.is_file()]

    def modules(self) -> list[str]:
        program = [] if self.official is None else [program_module(self.official.program)]
        scored = [] if self.score is None else metric_modules(self.score)
        tuned = [] if self.model is None else ["texgen.finetune.learned_cameras"]
        own = [METHODS[self.kind].module] if METHODS[self.kind].module else []
        return ["workflow.steps.texture", *own, *program, *scored, *tuned]

    def sources(self) -> list[str]:
        own = [] if self.file is None else [path_of(self.file).as_posix()]
        return own + sources_of(self.score)


# What may change between a kill and the next start without starting the training again.
FREE = ("validate_every", "checkpoint_every", "keep_best", "patience", "monitor", "preview_every")


class TrainJob(Job):
    """Train one LoRA adapter. metrics: those of the reward, and those that are only watched."""

    ASSETS = ("assets", "validation_assets")

    model: str
    training: TunedModel
    metrics: dict[str, Metric]
    preset: dict[str, Any] = {}
    backbone: BackboneWeights
    assets: list[AssetRecord] = []
    validation_assets: list[AssetRecord] = []

    @property
    def rewarded(self) -> list[str]:
        """Metrics of the reward, each once."""
        return list(dict.fromkeys(term.metric for term in self.training.rewards))

    @property
    def watched(self) -> list[str]:
        """Metrics that are measured beside the held-out reward."""
        monitor = self.training.monitor
        alone = self.rewarded if len(self.training.rewards) == 1 else []
        return [name for name in self.metrics if name not in alone and (monitor is None or name in monitor)]

    def record(self) -> dict[str, Any]:
        own = super().record()
        own["training"].pop("preset", None)
        for metric in own["metrics"].values():
            metric.pop("label", None)
        return own

    def identity(self) -> dict[str, Any]:
        """What decides the numbers of a training step: neither what is only watched, nor how often."""
        own = self.record()
        # A constant rate goes on beyond the last step; one that has decayed does not.
        free = FREE if self.training.decay else (*FREE, "steps")
        own["training"] = {name: value for name, value in own["training"].items() if name not in free}
        own["metrics"] = {name: own["metrics"][name] for name in self.rewarded}
        return own

    def places(self, watched: bool = True) -> dict[str, str]:
        """watched: with the weights of metrics that are only watched."""
        names = self.metrics if watched else self.rewarded
        scored = [metric_places(self.metrics[name], name) for name in names]
        return backbone_places(self.backbone) | {
            role: place for each in scored for role, place in each.items()
        }

    def modules(self) -> list[str]:
        scored = sorted({module for metric in self.metrics.values() for module in metric_modules(metric)})
        return ["workflow.steps.finetune", METHODS["texgen"].module, *scored]

    def sources(self) -> list[str]:
        return sources_of(*self.metrics.values())


class Protocol(Strict):
    """How renders are made for scoring; see `Evaluation`."""

    rig: str
    size: int
    supersample: int
    backgrounds: dict[str, Colour]
    rasterizer: str = "warp"


class ScoreJob(Job):
    """Score the textures of a method by one metric. protocol: None where the texture itself is judged."""

    ASSETS = ("assets",)
    LEFT_OUT = {"block": {"label"}}

    metric: str
    block: Metric
    backend: Literal["native", "official"] = "native"
    precision: Literal["float32", "tf32", "float16"] = "float32"
    protocol: Protocol | None = None
    assets: list[AssetRecord] = []

    def places(self) -> dict[str, str]:
        return metric_places(self.block, self.metric)

    def modules(self) -> list[str]:
        official = ["rewards.official.client"] if self.backend == "official" else []
        return ["workflow.steps.score", *metric_modules(self.block), *official]

    def sources(self) -> list[str]:
        return sources_of(self.block)

"""Tuning of a model by a reward of the textures that it paints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from rewards.base import TextureReward, training_reward
from texgen.diffusion.lora import LAYERS
from texgen.diffusion.prompts import require_words
from texgen.finetune.items import HeldOut, TrainingItem
from texgen.finetune.settings import TrainSettings
from texgen.finetune.trainer import Trainer
from texgen.geometry.prepared import prepare_geometry
from texgen.mesh.mesh import Mesh
from texreward.checked import checked
from texreward.meshes import read_mesh
from texreward.models import MINIATURE, configuration
from texreward.opening import quiet_loading
from texreward.painting import Painter, load
from workflow.config.sheets import ConfigError
from workflow.config.training import TunedModel
from workflow.jobs.assets import Asset, held_out
from workflow.jobs.jobs import TrainJob
from workflow.steps.finetune import build_algorithm, build_reward, judged, train_settings

RewardChoice = str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | TextureReward


def tune(
    reward: RewardChoice,
    meshes: Sequence[Mesh | str | PathLike[str]],
    prompts: Sequence[str],
    folder: str | PathLike[str],
    model: str | PathLike[str] = MINIATURE,
    settings: Mapping[str, Any] | None = None,
    **training: Any,
) -> Painter:
    """Train a LoRA adapter by the gradient of a reward and return the painter with it.

    reward: the name of a metric, such as alignment or imagereward; or a term {"metric": NAME, "rig": ...,
    "size": ...} with the fields of a configuration's rewards, or several such terms; or a reward of your own
    (docs/adding-a-reward.md), which is called with a `rewards.base.Textured` and returns a scalar. meshes:
    see `read_mesh`; every prompt is trained with every mesh. folder: gets pytorch_lora_weights.safetensors,
    for `load(adapter=folder)`, and history.jsonl, one row a step. model, settings: as in `load`, which also
    the returned painter is loaded with. training: fields of a configuration's model, e.g. steps,
    learning_rate, rank, views_per_step, validation_samples (pairs that are held out to choose the best step).
    Raises ValueError in one sentence for what cannot be trained.

    Examples:
        >>> import tempfile
        >>> small = {"image_size": 64, "render_size": 64, "texture_size": 64, "steps": 2}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     given = ["procedural:trefoil"], ["a red knot"], folder
        ...     painter = tune("alignment", *given, settings=small, steps=1)
        >>> painter.settings.texture_size
        64
    """
    block, own = _training(reward, training)
    job = _job(block, model, own)
    items = _items(meshes, prompts)
    # Another UNet than the painter's that is returned: there the adapter is folded into the weights.
    painter = load(model, **(settings or {}))
    backbone, size = painter.method.backbone, painter.settings.texture_size
    backbone.add_lora(block.rank, block.alpha, LAYERS[block.layers], seed=block.seed)
    painter.method.cached_meshes = len(meshes)
    device = str(backbone.device)
    with quiet_loading():
        judge = build_reward(job, device) if own is None else training_reward(own)
    kept, held = (_prepared(each, size, device) for each in _split(items, block.validation_samples))
    trainer = Trainer(
        painter.method,
        build_algorithm(block, judge),
        judged(judge, kept),
        train_settings(block),
        HeldOut(judged(judge, held)),
    )
    trainer.run(folder)
    del trainer, painter, backbone, judge
    return load(model, adapter=folder, **(settings or {}))


def _training(reward: RewardChoice, fields: dict[str, Any]) -> tuple[TunedModel, TextureReward | None]:
    """The checked settings of the training, and the reward where it is an object."""
    own = None
    if isinstance(reward, str):
        terms: Any = [{"metric": reward}]
    elif isinstance(reward, Mapping):
        terms = [dict(reward)]
    elif isinstance(reward, Sequence):
        terms = [dict(each) for each in reward]
    else:
        own, terms = reward, [{"metric": "own"}]
        for name in ("name", "higher_is_better"):
            if not callable(reward) or not hasattr(reward, name):
                raise ConfigError(
                    f"tune: the reward has no {name}; give a metric's name, or a reward as "
                    "docs/adding-a-reward.md describes it."
                )
    given = {"steps": TrainSettings.steps, **fields, "rewards": terms}
    return checked("tune", TunedModel, given), own


def _job(block: TunedModel, model: str | PathLike[str], own: TextureReward | None) -> TrainJob:
    """The terms of the reward with the metrics that they name."""
    metrics = configuration(model).metrics
    wanted = [] if own is not None else list(dict.fromkeys(term.metric for term in block.rewards))
    for name in wanted:
        if name not in metrics:
            raise ConfigError(f"tune: there is no metric {name!r}; allowed are {', '.join(metrics)}.")
    return TrainJob.of(training=block, metrics={name: metrics[name] for name in wanted})


def _items(meshes: Sequence[Mesh | str | PathLike[str]], prompts: Sequence[str]) -> list[tuple[Asset, Mesh]]:
    """Every prompt with every mesh. Raises ConfigError for none, and for one text in place of several."""
    for name, given in (("meshes", meshes), ("prompts", prompts)):
        if isinstance(given, str | PathLike | Mesh) or not given:
            raise ConfigError(f"tune: {name} must be a list with at least one entry.")
    for prompt in prompts:
        require_words(prompt)
    read = [each if isinstance(each, Mesh) else read_mesh(each) for each in meshes]
    return [(Asset(mesh.name, text, text, 0), mesh) for text in prompts for mesh in read]


def _split(items: list[tuple[Asset, Mesh]], wanted: int) -> tuple[list, list]:
    """What is trained on, and what is held out, as the workflow chooses it."""
    held = held_out([asset for asset, _ in items], wanted)
    return [each for each in items if each[0] not in held], [each for each in items if each[0] in held]


def _prepared(items: list[tuple[Asset, Mesh]], size: int, device: str) -> list[TrainingItem]:
    """Training items with the fields that geometric rewards need."""
    moved = {id(mesh): mesh.to(device) for _, mesh in items}
    fields = {key: prepare_geometry(mesh.to("cpu"), size).to(device) for key, mesh in moved.items()}
    return [TrainingItem(moved[id(mesh)], asset.prompt, fields[id(mesh)]) for asset, mesh in items]

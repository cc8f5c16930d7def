"""What a training step works on: items, their order, and the seeds and views of a step.

Every choice is a function of (seed, step), so a step does not depend on what ran before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from texgen.finetune.algorithms import Item, Reward
from texgen.mesh.mesh import Mesh
from texgen.seeds import generator, stable_seed


@dataclass(frozen=True)
class TrainingItem:
    """One mesh and prompt; `geometry` is for rewards that need it, training does not look at it."""

    mesh: Mesh
    prompt: str
    geometry: Any = None

    @property
    def name(self) -> str:
        return item_name(self)


@dataclass(frozen=True)
class HeldOut:
    """Items that are only measured, always with the same noise, and that decide which adapter is the best.
    scores: further rewards that are measured on them, by name.
    """

    items: Sequence[Item] = ()
    scores: Mapping[str, Reward] = field(default_factory=dict)


def noise_seed(seed: int, step: int, part: int) -> int:
    """Seed of the noise of item `part` in `step`, new for every step."""
    return stable_seed(seed, "train", step, part)


def item_name(item: Item) -> str:
    """ "mesh--prompt"."""
    return f"{item.mesh.name}--{item.prompt}"


def view_subset(views: int, count: int, seed: int, step: int) -> list[int]:
    """`count` of `views` indices, drawn without replacement for this step, in ascending order."""
    return torch.randperm(views, generator=generator(seed, "views", step))[:count].sort().values.tolist()


def item_number(count: int, index: int, seed: int) -> int:
    """Which of `count` items has place `index` in an endless sequence of shuffled epochs."""
    epoch, place = divmod(index, count)
    return int(torch.randperm(count, generator=generator(seed, "epoch", epoch))[place])

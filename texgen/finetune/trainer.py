"""Training of a LoRA adapter by a reward: a loop that can be killed at any time and continues bit for bit.

Every random choice is a function of (seed, step): which items, which noise, which views. A step therefore
does not depend on how many steps ran in this process, and a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from texgen.cameras import RIGS
from texgen.finetune.checkpointing import load_checkpoint, save_checkpoint
from texgen.finetune.direct import Direct, Item, Reward
from texgen.finetune.gradients import LastK, Strategy
from texgen.finetune.history import History, Progress, peak_memory_bytes
from texgen.mesh import Mesh
from texgen.pipeline import TexGen
from texgen.seeds import generator, stable_seed


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message says at which step and what to change."""


@dataclass(frozen=True)
class TrainingItem:
    """One mesh and prompt; `geometry` is for rewards that need it, training does not look at it."""

    mesh: Mesh
    prompt: str
    geometry: Any = None

    @property
    def name(self) -> str:
        return f"{self.mesh.name}--{self.prompt}"


@dataclass(frozen=True)
class TrainSettings:
    """What a run does; everything but `steps` and the two intervals decides the numbers of each step."""

    steps: int = 60  # optimiser steps
    learning_rate: float = 3e-4
    weight_decay: float = 1e-4
    grad_clip: float | None = 1.0  # largest norm of the gradient over all LoRA weights; None = no limit
    accumulate: int = 1  # items per optimiser step
    seed: int = 0
    holdout_every: int = (
        10  # steps between held-out measurements (also before the first and after the last); 0 = never
    )
    checkpoint_every: int = 10  # steps between checkpoints
    gradient: Strategy = field(default_factory=LastK)
    views_per_step: int | None = None  # None = all views of the rig, else a random subset, in the rig's order
    target: float | None = None  # hinge: rewards above it are not pushed further

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"training settings: {name} is {getattr(self, name)}; it must be at least 1."
                )
        if not self.learning_rate > 0:
            raise ValueError(
                f"training settings: learning_rate is {self.learning_rate}; it must be positive."
            )
        if self.views_per_step is not None and self.views_per_step < 1:
            raise ValueError("training settings: views_per_step must be at least 1, or None for all views.")


@dataclass(frozen=True)
class TrainResult:
    """Summary of a run: steps done, rows of the history, seconds of this process."""

    steps: int
    rows: list[dict[str, Any]]
    seconds: float


class Trainer:
    """Tunes the LoRA weights of `method.backbone` to raise `reward(texture, painted, item)`.

    items: what is trained on, each seen once per epoch in a new order; heldout: items only measured, always
    with the same noise. checkpoint: file for resumable state, outside the outputs of a workflow rule (those
    are deleted when a job is killed); None = not resumable. `identity` is added to what must agree for a
    checkpoint to be continued, e.g. the reward's version.
    """

    def __init__(
        self,
        method: TexGen,
        reward: Reward,
        items: Sequence[Item],
        settings: TrainSettings,
        heldout: Sequence[Item] = (),
        checkpoint: str | Path | None = None,
        identity: str = "",
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        if not items:
            raise TrainingError("There is nothing to train on: give at least one mesh and prompt.")
        if method.preset.scheduler != "ddim":
            raise TrainingError(
                f"Preset {method.preset.name!r} samples with {method.preset.scheduler!r}, which keeps state "
                "between steps; fine-tuning needs scheduler 'ddim'."
            )
        self.parameters = list(method.backbone.lora_parameters())
        self.method = method
        self.reward = reward
        self.items = list(items)
        self.heldout = list(heldout)
        self.settings = settings
        self.checkpoint = None if checkpoint is None else Path(checkpoint)
        self.progress = Progress(settings.steps) if progress is None else progress
        self.algorithm = Direct(reward, settings.gradient, settings.target)
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.device = self.parameters[0].device
        self.identity = self._identity(identity)

    def run(self, folder: str | Path) -> TrainResult:
        """Trains, or continues from the checkpoint; writes history.jsonl as it goes and the adapter at the
        end.

        Raises TrainingError at the first loss or gradient that is not finite (the weights are not touched by
        it).
        """
        started = time.perf_counter()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        resumed = None
        if self.checkpoint is not None:
            resumed = load_checkpoint(self.checkpoint, self.identity, self.parameters, self.optimizer)
        history = History(folder / "history.jsonl", resumed.rows if resumed else ())
        done = resumed.step if resumed else 0
        if not history.rows:
            self._record(history, self._row(0, heldout_reward=self._measure(0)))
        for step in range(done + 1, self.settings.steps + 1):
            row = self._step(step)
            row["heldout_reward"] = self._measure(step)
            self._record(history, row)
            if step % self.settings.checkpoint_every == 0 or step == self.settings.steps:
                self._save(step, history)
        self.method.backbone.save_lora(folder)
        return TrainResult(self.settings.steps, history.rows, time.perf_counter() - started)

    def _step(self, step: int) -> dict[str, Any]:
        started = time.perf_counter()
        settings = self.settings
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        settings.gradient.evaluations.reset()
        self.optimizer.zero_grad(set_to_none=True)
        views = self._views(step)
        losses, rewards, names, seeds = [], [], [], []
        for part in range(settings.accumulate):
            item = self._item((step - 1) * settings.accumulate + part)
            seed = noise_seed(settings.seed, step, part)
            loss, reward = self.algorithm.loss(self.method, item, seed, views)
            self._require_finite(loss, "loss", step, item_name(item), seed)
            if loss.requires_grad:
                (loss / settings.accumulate).backward()
            losses.append(float(loss.detach()))
            rewards.append(float(reward))
            names.append(item_name(item))
            seeds.append(seed)
        limit = math.inf if settings.grad_clip is None else settings.grad_clip
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        self._require_finite(norm, "gradient norm", step, ", ".join(names), seeds[-1])
        self.optimizer.step()
        return self._row(
            step,
            reward=sum(rewards) / len(rewards),
            loss=sum(losses) / len(losses),
            grad_norm=float(norm),
            seconds=time.perf_counter() - started,
            items=names,
            seeds=seeds,
            evaluations=settings.gradient.evaluations.as_dict(),
        )

    def _item(self, index: int) -> Item:
        """Item number `index` of the endless sequence of shuffled epochs."""
        epoch, place = divmod(index, len(self.items))
        order = torch.randperm(len(self.items), generator=generator(self.settings.seed, "epoch", epoch))
        return self.items[int(order[place])]

    def _views(self, step: int) -> list[int] | None:
        """The views of one step: None for all, else a subset of the rig in the rig's order."""
        count, views = self.settings.views_per_step, len(RIGS[self.method.preset.rig])
        if count is None or count >= views:
            return None
        return view_subset(views, count, self.settings.seed, step)

    def _measure(self, step: int) -> float | None:
        """Mean reward of the held-out items, without gradient and with the same noise every time."""
        every = self.settings.holdout_every
        if not self.heldout or every < 1 or (step % every and step != self.settings.steps):
            return None
        total = 0.0
        for item in self.heldout:
            seed = stable_seed(self.settings.seed, "heldout", item_name(item))
            with torch.no_grad():
                texture, painted = self.method.paint(item.mesh, item.prompt, seed)
                value = self.reward(texture, painted, item)
            self._require_finite(value, "held-out reward", step, item_name(item), seed)
            total += float(value)
        return total / len(self.heldout)

    def _row(self, step: int, **values: Any) -> dict[str, Any]:
        row = {
            "step": step,
            "reward": None,
            "heldout_reward": None,
            "loss": None,
            "grad_norm": None,
            "seconds": 0.0,
            "items": [],
            "seeds": [],
            "evaluations": None,
            "peak_memory_bytes": peak_memory_bytes(self.device),
        }
        return row | values

    def _record(self, history: History, row: dict[str, Any]) -> None:
        history.append(row)
        self.progress(row)

    def _save(self, step: int, history: History) -> None:
        if self.checkpoint is not None:
            save_checkpoint(
                self.checkpoint, self.identity, step, self.parameters, self.optimizer, history.rows
            )

    def _require_finite(self, value: Tensor, what: str, step: int, item: str, seed: int) -> None:
        if not bool(torch.isfinite(value).all()):
            raise TrainingError(
                f"Step {step}: the {what} is {float(value)} for {item!r} with noise seed {seed}; "
                f"lower learning_rate (now {self.settings.learning_rate:g}) and run again."
            )

    def _identity(self, extra: str) -> str:
        settings = {
            key: value
            for key, value in asdict(self.settings).items()
            if key not in ("steps", "holdout_every", "checkpoint_every", "gradient")
        }
        entries = settings | {
            "gradient": repr(self.settings.gradient),
            "preset": repr(self.method.preset),
            "items": [item_name(item) for item in self.items],
            "reward": getattr(self.reward, "__name__", type(self.reward).__name__),
            "identity": extra,
        }
        return json.dumps(entries, sort_keys=True)


def noise_seed(seed: int, step: int, part: int) -> int:
    """Seed of the noise of item `part` in `step`, new for every step."""
    return stable_seed(seed, "train", step, part)


def item_name(item: Item) -> str:
    """ "mesh--prompt"."""
    return f"{item.mesh.name}--{item.prompt}"


def view_subset(views: int, count: int, seed: int, step: int) -> list[int]:
    """`count` of `views` indices, drawn without replacement for this step, in ascending order."""
    return torch.randperm(views, generator=generator(seed, "views", step))[:count].sort().values.tolist()

"""Training of a LoRA adapter by a reward: a loop that can be killed at any time and continues bit for bit.

Every random choice is a function of (seed, step): which items, which noise, which views. A step therefore
does not depend on how many steps ran in this process, and a resumed run equals an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from texgen.finetune.algorithms import Item, NotFiniteError, Sample, SampleOutcome
from texgen.finetune.checkpointing import Best, Progressed, Resumable, load_checkpoint, save_checkpoint
from texgen.finetune.direct import measured_divergence
from texgen.finetune.history import History, TrainingProgress, history_row
from texgen.finetune.identity import run_identity
from texgen.finetune.items import HeldOut, item_name, item_number, noise_seed, view_subset
from texgen.finetune.learned_cameras import LearnedCameras, save_cameras
from texgen.finetune.loss_scale import LossScale
from texgen.finetune.previews import Previews
from texgen.finetune.requirements import Algorithm, TrainingError, require_differentiable
from texgen.finetune.settings import TrainSettings
from texgen.painting.measured import peak_memory_bytes
from texgen.painting.pipeline import TexGen
from texgen.painting.scene import Viewpoints
from texgen.render.cameras import Cameras
from texgen.seeds import stable_seed


@dataclass(frozen=True)
class TrainResult:
    """Summary of a run: steps done, the step whose adapter was saved, rows of the history, seconds of this
    process."""

    steps: int
    saved_step: int
    rows: list[dict[str, Any]]
    seconds: float


class Trainer:
    """Tunes the LoRA weights of `method.backbone` to raise the algorithm's reward.

    items: what is trained on, each seen once per epoch in a new order. heldout: what is measured besides;
    None = nothing. checkpoint: None = not resumable. progress: called with each row of the history.
    """

    def __init__(
        self,
        method: TexGen,
        algorithm: Algorithm,
        items: Sequence[Item],
        settings: TrainSettings,
        heldout: HeldOut | None = None,
        checkpoint: Resumable | None = None,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        if not items:
            raise TrainingError("There is nothing to train on: give at least one mesh and prompt.")
        require_differentiable(method, algorithm, settings)
        self.adapter = list(method.backbone.lora_parameters())
        self.method, self.algorithm, self.settings = method, algorithm, settings
        measured = HeldOut() if heldout is None else heldout
        self.items, self.heldout, self.scores = list(items), list(measured.items), dict(measured.scores)
        self.checkpoint = checkpoint
        self.progress = TrainingProgress(settings.steps) if progress is None else progress
        self.device = self.adapter[0].device
        groups: list[dict[str, Any]] = [{"params": self.adapter}]
        self.cameras: LearnedCameras | None = None
        if settings.cameras is not None:
            self.cameras = LearnedCameras(method.cameras.to(self.device), settings.cameras)
            groups += self.cameras.groups()
        self.optimizer = torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.scale = LossScale.of(method.backbone.dtype)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        own = "" if checkpoint is None else checkpoint.identity
        self.identity = run_identity(method, algorithm, settings, self.items, own)
        self.best: Best | None = None
        self.previews: Previews | None = None
        """Set it to see the held-out textures while they are trained; it changes no number."""

    @property
    def parameters(self) -> list[torch.nn.Parameter]:
        """All that is trained: the adapter, then the cameras."""
        return [*self.adapter, *(self.cameras.parameters if self.cameras else ())]

    def run(self, folder: str | Path) -> TrainResult:
        """Trains, or continues from the checkpoint; writes history.jsonl as it goes, the adapter and learned
        cameras at the end.

        Raises TrainingError at the first loss or gradient that is not finite (the weights are not touched by
        it).
        """
        started = time.perf_counter()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        resumed = None
        if self.checkpoint is not None:
            resumed = load_checkpoint(self.checkpoint.path, self.identity, self.parameters, self.optimizer)
        history = History(folder / "history.jsonl", resumed.rows if resumed else ())
        done = resumed.step if resumed else 0
        self.best = resumed.best if resumed else None
        if resumed and resumed.scale is not None:
            self.scale.value, self.scale.steps = resumed.scale
        if not history.rows:
            self._record(history, self._row(0) | self._measure(0))
        for step in range(done + 1, self.settings.steps + 1):
            if self._exhausted(history):
                break
            row = self._step(step)
            self._record(history, row | self._measure(step))
            done = step
            last = step == self.settings.steps or self._exhausted(history)
            if step % self.settings.checkpoint_every == 0 or last:
                self._save(step, history)
        saved = self._take_best(done)
        self.method.backbone.save_lora(folder)
        if self.cameras is not None:
            save_cameras(folder, self.cameras.cameras())
        return TrainResult(done, saved, history.rows, time.perf_counter() - started)

    def _step(self, step: int) -> dict[str, Any]:
        started = time.perf_counter()
        settings = self.settings
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        self.algorithm.evaluations.reset()
        outcomes: list[SampleOutcome] = []
        samples = self._samples(step)
        names, seeds = [item_name(item) for item, _ in samples], [seed for _, seed in samples]

        def add_gradients(scale: float) -> None:
            outcomes[:] = self._outcomes(step, samples, scale)

        self.scale.backward(add_gradients, self.parameters)
        limit = math.inf if settings.grad_clip is None else settings.grad_clip
        norm = float(torch.nn.utils.clip_grad_norm_(self.adapter, limit))
        if not math.isfinite(norm):
            raise self._not_finite("gradient norm", norm, step, ", ".join(names), seeds[-1])
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * settings.rate(step)
        self.optimizer.step()
        if self.cameras is not None:
            self.cameras.clamp()
        divergences = [outcome.kl for outcome in outcomes if outcome.kl is not None]
        return self._row(
            step,
            reward=_mean([outcome.reward for outcome in outcomes]),
            loss=_mean([outcome.loss for outcome in outcomes]),
            kl=_mean(divergences) if divergences else None,
            grad_norm=norm,
            seconds=time.perf_counter() - started,
            items=names,
            seeds=seeds,
            evaluations=self.algorithm.evaluations.as_dict(),
            details=self._details(outcomes),
        )

    def _samples(self, step: int) -> list[tuple[Item, int]]:
        """Items of a step with their noise seeds."""
        settings, samples = self.settings, []
        for part in range(settings.accumulate):
            number = (step - 1) * settings.accumulate + part
            item = self.items[item_number(len(self.items), number, settings.seed)]
            samples.append((item, noise_seed(settings.seed, step, part)))
        return samples

    def _outcomes(self, step: int, samples: Sequence[tuple[Item, int]], scale: float) -> list[SampleOutcome]:
        """Adds the gradients of a step's items, times the scale."""
        views, outcomes = self._views(step), []
        for item, seed in samples:
            viewpoints = Viewpoints(self._cameras(), views)
            sample = Sample(item, seed, viewpoints, scale / self.settings.accumulate)
            try:
                outcomes.append(self.algorithm.accumulate(self.method, sample))
            except NotFiniteError as error:
                raise self._not_finite(error.what, error.value, step, item_name(item), seed) from None
        return outcomes

    def _cameras(self) -> Cameras | None:
        return None if self.cameras is None else self.cameras.cameras()

    def _details(self, outcomes: list[SampleOutcome]) -> dict[str, Any] | None:
        found = [outcome.details for outcome in outcomes if outcome.details]
        details: dict[str, Any] = {key: _mean([each[key] for each in found]) for key in (found or [{}])[0]}
        if self.cameras is not None:
            details["azimuth_offset"] = self.cameras.azimuth.detach().tolist()
            details["elevation_offset"] = self.cameras.elevation.detach().tolist()
        return details or None

    def _views(self, step: int) -> list[int] | None:
        """The views of one step: None for all, else a subset of the rig in the rig's order."""
        count, views = self.settings.views_per_step, len(self.method.cameras)
        if count is None or count >= views:
            return None
        return view_subset(views, count, self.settings.seed, step)

    def _measure(self, step: int) -> dict[str, Any]:
        """What is known of the held-out items after a step; the same noise every time, no gradient."""
        every = self.settings.holdout_every
        if not self.heldout or every < 1 or (step % every and step != self.settings.steps):
            self._show(step)
            return {}
        rewards, divergences, shown = [], [], []
        scores: dict[str, list[float]] = {name: [] for name in self.scores}
        for item in self.heldout:
            sample = self._heldout_sample(item)
            with torch.no_grad():
                texture, painted, divergence = measured_divergence(self.method, sample)
                shown.append((item, texture))
                rewards.append(float(self.algorithm.reward(texture, painted, item)))
                for name, score in self.scores.items():
                    value = score(texture, painted, item)
                    if value is not None:  # a score that cannot judge this mesh
                        scores[name].append(float(value))
            if not math.isfinite(rewards[-1]):
                raise self._not_finite("held-out reward", rewards[-1], step, item_name(item), sample.seed)
            if divergence is not None:
                divergences.append(divergence)
        self._show(step, shown)
        reward = _mean(rewards)
        if self.best is None or reward > self.best.reward:
            copies = [parameter.detach().clone() for parameter in self.parameters]
            self.best = Best(step, reward, copies)
        return {
            "heldout_reward": reward,
            "heldout_kl": _mean(divergences) if divergences else None,
            "heldout_scores": {name: _mean(values) for name, values in scores.items() if values} or None,
        }

    def _heldout_sample(self, item: Item) -> Sample:
        """A held-out item with its noise, the same after every step."""
        seed = stable_seed(self.settings.seed, "heldout", item_name(item))
        return Sample(item, seed, Viewpoints(self._cameras()))

    def _show(self, step: int, shown: Sequence[tuple[Item, torch.Tensor]] = ()) -> None:
        """Hands the held-out textures on where they are to be seen; those that were not made are made."""
        if self.previews is None or not self.heldout or not self.previews.due(step):
            return
        if not shown:
            samples = [self._heldout_sample(item) for item in self.heldout]
            with torch.no_grad():
                shown = [(each.item, measured_divergence(self.method, each)[0]) for each in samples]
        self.previews(step, shown)

    def _exhausted(self, history: History) -> bool:
        """Whether the last `patience` measurements brought no new best."""
        if self.settings.patience is None or self.best is None:
            return False
        later = [row for row in history.rows if row["heldout_reward"] is not None]
        return sum(row["step"] > self.best.step for row in later) >= self.settings.patience

    def _take_best(self, done: int) -> int:
        """Puts the best weights in place of the last ones where that is wanted; the step they are from."""
        if not self.settings.keep_best or self.best is None:
            return done
        with torch.no_grad():
            for parameter, best in zip(self.parameters, self.best.parameters, strict=True):
                parameter.copy_(best)
        return self.best.step

    def _row(self, step: int, **values: Any) -> dict[str, Any]:
        return history_row(step, peak_memory_bytes=peak_memory_bytes(self.device), **values)

    def _record(self, history: History, row: dict[str, Any]) -> None:
        history.append(row)
        self.progress(row)

    def _save(self, step: int, history: History) -> None:
        if self.checkpoint is not None:
            save_checkpoint(
                self.checkpoint.path,
                Progressed(step, history.rows, self.best, (self.scale.value, self.scale.steps)),
                self.identity,
                self.parameters,
                self.optimizer,
            )

    def _not_finite(self, what: str, value: float, step: int, item: str, seed: int) -> TrainingError:
        return TrainingError(
            f"Step {step}: the {what} is {value} for {item!r} with noise seed {seed}; "
            f"lower learning_rate (now {self.settings.learning_rate:g}) and run again."
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)

"""What a run will cost, before it starts: evaluations, hours, disk, downloads. Imports no torch.

An evaluation is one UNet and its ControlNets on one guidance pair. Counts are those of the published
algorithms, at most: views with nothing to paint make none. Hours follow from seconds of one evaluation, which
must be measured on the machine that is to run: of a painting, all that belongs to a texture included, and of
a training, whose evaluations carry the adapter beside the network and a backward pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from texgen.errors import DamagedFileError
from texgen.painting.method_facts import TEXGEN
from texgen.render.rigs import RIGS
from texgen.storage.files import read_bytes
from texgen.storage.records import read_record
from workflow.config.kinds import METHODS, METRICS
from workflow.config.training import TunedModel
from workflow.jobs.plan import Plan

REFERENCE_SIDE = 512
"""Pixels; an evaluation at another size counts by its share of the pixels."""
TEXTURE_BYTES = 0.8
"""Of a texel in a PNG, as measured (docs/scaling.md); two per texture, and in the GLB once more."""
MESH_BYTES = 2_300_000
"""Of a prepared mesh, and of the geometry in each GLB, as measured."""


@dataclass(frozen=True)
class Cost:
    """One row of the estimate.

    jobs: of the workflow. evaluations: at 512 pixels, at most. disk: bytes. strategy: of a training's
    gradient, with passes: those evaluations that are part of an optimiser step. images: that are scored.
    """

    name: str
    jobs: int
    evaluations: float
    disk: float = 0.0
    strategy: str | None = None
    passes: float = 0.0
    images: int = 0


@dataclass(frozen=True)
class Rates:
    """Seconds of one evaluation at 512 pixels. training: of one pass of an optimiser step, by strategy.
    image: of one image through CLIP ViT-L/14, None where that was not measured."""

    painting: float
    training: dict[str, float]
    image: float | None = None

    def hours(self, cost: Cost) -> float | None:
        """Of a row; None for scores where no image was measured.

        Passes of a strategy that was not measured take as long as the slowest one that was.
        """
        if cost.images:
            return None if self.image is None else cost.images * self.image / 3600
        slowest = max([self.painting, *self.training.values()])
        passes = cost.passes * self.training.get(cost.strategy or "", slowest)
        return (passes + (cost.evaluations - cost.passes) * self.painting) / 3600


def costs(plan: Plan) -> list[Cost]:
    """The costs of all trainings, methods and scores."""
    return [*trainings(plan), *textures(plan), scores(plan)]


def trainings(plan: Plan) -> Iterator[Cost]:
    for name in plan.models:
        block = plan.config.models[name]
        preset, _ = TEXGEN.resolved(plan.config.changes("texgen", block.preset))
        views = len(RIGS[preset.rig])
        painted = min(views, block.views_per_step or views)
        per_item = gradient_evaluations(block, painted, preset.steps)
        measured = block.steps // block.validate_every + 1 if block.validate_every else 0
        held_out = measured * len(plan.validation_assets(name)) * views * (preset.steps + 2)
        share, passes = _share(preset.image_size), block.steps * block.batch * per_item
        strategy = block.gradient.strategy if block.algorithm == "direct" else block.algorithm
        yield Cost(f"training {name}", 1, (passes + held_out) * share, 10e6, strategy, passes * share)


def gradient_evaluations(block: TunedModel, views: int, steps: int) -> float:
    """Evaluations of one item's gradient: forward passes, their repetitions and backward passes."""
    if block.algorithm != "direct":
        transitions = getattr(block, block.algorithm).transitions
        samples = 2 if block.algorithm == "d3po" else 1
        return samples * views * (steps + 4 * min(transitions, steps))
    again = 3 if block.gradient.replay else 2
    carried = {
        "exact": float(steps),
        "last_k": float(min(block.gradient.k, steps)),
        "random_k": (1 + min(block.gradient.k, steps)) / 2,
        "low_variance": 0.0,
    }[block.gradient.strategy]
    total = views * (steps + (again - 1) * carried)
    if block.gradient.strategy == "low_variance":
        total += views * again * block.gradient.copies
    return total + (3 * views if block.kl_weight > 0 else 0)


def textures(plan: Plan) -> Iterator[Cost]:
    assets = len(plan.assets)
    for name in plan.methods:
        job = plan.texture_job(name)
        facts = METHODS[job.kind].load_facts()
        each, side = 0.0, plan.texture_size or 1024
        if facts is not None:
            preset, own = facts.resolved(job.preset)
            each, side = painting_evaluations(job.kind, preset, own), preset.texture_size
        disk = assets * (3 * TEXTURE_BYTES * side**2 + MESH_BYTES)
        yield Cost(f"textures {name}", len(plan.shards), assets * each, disk)


def painting_evaluations(kind: str, preset: Any, own: Any) -> float:
    """Evaluations of one texture at 512 pixels."""
    views, steps, share = len(RIGS[preset.rig]), preset.steps, _share(preset.image_size)
    if kind == "text2tex":
        updates = min(int(steps * own.update_strength) + 1, steps)
        atlas = 0.0 if own.atlas_role == "none" else own.atlas_steps * _share(own.atlas_size)
        return (views * (steps + updates) + own.rounds * updates) * share + atlas
    if kind == "paint3d":  # pairs of views as one picture, twice as wide
        passes = {"none": 0.0, "inpaint": 1.0, "full": 1.0 + own.tile_strength}.get(own.uv_stage, 2.0)
        return views * steps * share + passes * steps * _share(own.uv_size)
    if kind == "psd_like":  # four single evaluations a step
        return 2 * steps * share
    if kind == "texture" and preset.scheduler == "pndm":
        steps += 1  # its list holds one time step twice
    return views * steps * share


def scores(plan: Plan) -> Cost:
    """Jobs of scores; what a network takes per image depends on it, so there are no evaluations here."""
    images = [each for each in plan.config.metrics.values() if not _is_geometric(each.kind)]
    protocol = plan.config.evaluation
    views = len(RIGS[protocol.rig]) * len(protocol.backgrounds)
    rendered = len(plan.assets) * len(plan.methods) * views
    count = len(images) * rendered
    return Cost(f"scores ({count:,} of images)", len(plan.methods), 0.0, images=count)


def _is_geometric(kind: str) -> bool:
    return kind in METRICS and METRICS[kind].is_geometric


def _share(side: int) -> float:
    return (side / REFERENCE_SIDE) ** 2


def measured_rates(place: Path, precision: str = "float32") -> Rates | None:
    """From the result of `make gpu-check`, or from the run.json files of a results folder (those of the kind
    texgen, which say nothing of training and scores); None where there are none. precision: of scores. Raises
    DamagedFileError for a file that is neither."""
    if place.is_file():
        return _rates_of_check(place, precision)
    seconds, calls = 0.0, 0
    for path in sorted((place / "textures").glob("*/*/run.json")):
        run = read_record(path)
        if run.get("kind") == "texgen" and run.get("device_seconds") and run.get("calls", {}).get("unet"):
            seconds, calls = seconds + run["device_seconds"], calls + run["calls"]["unet"]
    return Rates(seconds / calls, {}) if calls else None


def _rates_of_check(path: Path, precision: str) -> Rates | None:
    try:
        return _checked_rates(json.loads(read_bytes(path))["items"], precision)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise DamagedFileError(
            f"{path} is not a result of `make gpu-check` (or was changed); give one, or a results folder."
        ) from error


def _checked_rates(items: dict[str, Any], precision: str) -> Rates | None:
    painting, training = items.get("painting_texgen", {}), items.get("training", {})
    if "device_s" not in painting:
        return None
    seconds = sum(painting["device_s"]) / len(painting["device_s"]) / painting["calls"]["unet"]
    steps = {"exact": training.get("exact_6_views"), "last_k": training.get("last_1_6_views")}
    scoring = items.get("scoring", {}).get(precision)
    return Rates(
        seconds,
        {name: each["device_s"] / each["passes"] for name, each in steps.items() if each},
        1 / scoring["images_s"] if scoring else None,
    )


def spent_seconds(results: Path, name: str) -> float | None:
    """Device seconds that the textures of a method took in a run that is there; None without any."""
    runs = [read_record(path) for path in (results / "textures" / name).glob("*/run.json")]
    found = [run["device_seconds"] for run in runs if run.get("device_seconds")]
    return sum(found) if found else None

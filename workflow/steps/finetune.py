"""Train one LoRA adapter by the gradient of its reward; continues from its checkpoint when killed."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from texgen.storage.records import FILES, stamps
from texgen.storage.result_records import checked_mesh
from workflow import provenance
from workflow.config.kinds import ADAPTER_FILE, CAMERAS_FILE, PREVIEWS
from workflow.config.metrics import metric_kind
from workflow.config.training import RewardTerm, TunedModel
from workflow.jobs.jobs import TrainJob
from workflow.runtime.devices import claim_gpu, device_name, pick_device
from workflow.runtime.locking import work_alone
from workflow.runtime.step_errors import run_step


def build_term(job: TrainJob, term: RewardTerm, device: str):
    """The texture reward of one term: the metric itself, or its mean over renders from the term's cameras,
    shaped where the term has a target."""
    from rewards.shaping import Shaped

    reward = build_unshaped(job, term, device)
    return reward if term.target is None else Shaped(reward, term.target, term.shape)


def build_unshaped(job: TrainJob, term: RewardTerm, device: str):
    """The same without its shape."""
    from rewards.rendered import Jitter, RenderedReward
    from texgen.render.cameras import rig_cameras
    from workflow.steps.scorers import load_metric

    metric = job.metrics[term.metric]
    reward = load_metric(metric, device, training=True)
    if metric_kind(metric).judges_texture:
        return reward
    backgrounds = tuple(tuple(colour) for colour in term.backgrounds)
    return RenderedReward(
        reward,
        rig_cameras(term.rig),
        size=term.size,
        backgrounds=backgrounds,
        jitter=Jitter(**term.jitter.model_dump()),
        rasterizer=term.rasterizer,
        crop=term.crop,
        judged_size=term.judged_size,
    )


def build_reward(job: TrainJob, device: str):
    """The reward of a settings file as the trainer takes it: `(texture, painted, item) -> scalar`."""
    from rewards.base import training_reward
    from rewards.composite import Composite, Term

    terms = [
        Term(build_term(job, term, device), term.weight, term.mean, term.std) for term in job.training.rewards
    ]
    plain = len(terms) == 1 and (terms[0].weight, terms[0].mean, terms[0].std) == (1.0, 0.0, 1.0)
    return training_reward(terms[0].reward if plain else Composite(terms))


def build_scores(job: TrainJob, device: str) -> dict[str, Any]:
    """Metrics that are only watched, by name: `(texture, painted, item) -> raw value`, or None for a mesh
    that the metric cannot judge.

    Renders are judged from the cameras of the reward's first term.
    """
    from rewards.base import NotApplicable, Textured

    first = job.training.rewards[0]

    def watch(reward):
        def score(texture, painted, item):
            try:
                return reward(Textured(item.mesh, texture, painted, item.prompt, item.geometry))
            except NotApplicable:
                return None

        return score

    return {
        name: watch(build_unshaped(job, first.model_copy(update={"metric": name}), device))
        for name in job.watched
    }


def build_painter(job: TrainJob, device: str):
    """The painter of a settings file, with an adapter that changes nothing yet."""
    from texgen.diffusion.lora import LAYERS
    from workflow.steps.loading import build_method, load_backbone

    training = job.training
    backbone = load_backbone(job.backbone, device)
    backbone.add_lora(training.rank, training.alpha, LAYERS[training.layers], seed=training.seed)
    method = build_method("texgen", backbone, job.preset)
    # Every step visits another mesh: the geometry of all of them stays at hand.
    method.cached_meshes = len({asset["mesh"] for asset in job.assets + job.validation_assets})
    return method


def build_algorithm(training: TunedModel, reward):
    """The algorithm that a configuration names, with its settings."""
    from texgen.finetune.d3po import D3PO
    from texgen.finetune.direct import Direct
    from texgen.finetune.gradients import make_strategy
    from texgen.finetune.nabla import Nabla

    if training.algorithm == "nabla":
        return Nabla(reward, **training.nabla.model_dump())
    if training.algorithm == "d3po":
        return D3PO(reward, **training.d3po.model_dump())
    gradient = training.gradient
    strategy = make_strategy(gradient.strategy, k=gradient.k, copies=gradient.copies, replay=gradient.replay)
    return Direct(
        reward,
        strategy,
        target=training.target,
        kl_weight=training.kl_weight,
        detach_conditioning=not gradient.through_conditioning,
    )


def train_settings(training: TunedModel):
    """What the training loop takes of a configuration."""
    from texgen.finetune.learned_cameras import CameraRates
    from texgen.finetune.settings import TrainSettings

    moving = training.learn_cameras
    rates = None
    if moving is not None:
        rates = CameraRates(moving.azimuth_lr, moving.elevation_lr, moving.limit)
    return TrainSettings(
        steps=training.steps,
        learning_rate=training.learning_rate,
        warmup=training.warmup,
        decay=training.decay,
        grad_clip=training.max_grad_norm,
        accumulate=training.batch,
        seed=training.seed,
        holdout_every=training.validate_every,
        checkpoint_every=training.checkpoint_every,
        views_per_step=training.views_per_step,
        keep_best=training.keep_best,
        patience=training.patience,
        cameras=rates,
    )


def build_items(records: list[dict[str, Any]], meshes: Path, device: str) -> list:
    """Training items of some assets; each mesh is loaded once."""
    from texgen.finetune.items import TrainingItem
    from workflow.steps.loading import load_prepared

    loaded = {
        name: load_prepared(meshes, name, device) for name in sorted({each["mesh"] for each in records})
    }
    return [
        TrainingItem(loaded[each["mesh"]][0], each["prompt"], loaded[each["mesh"]][1]) for each in records
    ]


def judged(reward, items: list) -> list:
    """The items that a reward can judge; the others are named, with the reason."""
    kept = []
    for item in items:
        reason = reward.refusal(item)
        if reason is None:
            kept.append(item)
        else:
            print(f"left out {item.name}: {reason}", flush=True)
    return kept


def training_identity(job: TrainJob, meshes: Path, code: str) -> str:
    """Hash of all that decides the numbers of a training step; a checkpoint is continued only under it."""
    names = sorted({asset["mesh"] for asset in job.assets + job.validation_assets})
    for name in names:
        checked_mesh(meshes, name)
    return provenance.content_hash(
        {
            "job": job.identity(),
            "weights": provenance.place_hashes(job.places(watched=False)),
            "meshes": {name: provenance.file_hash(meshes / name / "geometry.npz") for name in names},
            "code": code,
        }
    )


def train(job: TrainJob, meshes: Path, work: Path, code: str, threads: int) -> dict[str, Any]:
    """Train into `work`, which keeps history, checkpoint and finished adapter; returns the model's record."""
    import torch

    from texgen.finetune.checkpointing import Resumable
    from texgen.finetune.items import HeldOut
    from texgen.finetune.previews import Previews
    from texgen.finetune.trainer import Trainer

    torch.set_num_threads(threads)
    device = pick_device()
    training = job.training
    identity = training_identity(job, meshes, code)
    method = build_painter(job, device)
    reward = build_reward(job, device)
    trainer = Trainer(
        method,
        build_algorithm(training, reward),
        judged(reward, build_items(job.assets, meshes, device)),
        train_settings(training),
        HeldOut(
            judged(reward, build_items(job.validation_assets, meshes, device)), build_scores(job, device)
        ),
        # Another identity is another run: it starts anew beside the old checkpoint instead of refusing.
        Resumable(work / f"checkpoint.{identity[:10]}.pt", identity),
    )
    if training.preview_every is not None:
        trainer.previews = Previews(work / PREVIEWS, training.preview_every)
    result = trainer.run(work)
    return {
        **job.record(),
        "seconds": result.seconds,
        "threads": threads,
        "steps_done": result.steps,
        "saved_step": result.saved_step,
        "device": device_name(device),
        "versions": provenance.package_versions(),
        "git": provenance.git_revision(),
        "identity": identity,
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the job")
    parser.add_argument("--meshes", type=Path, required=True, help="folder of prepared meshes")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints, kept between runs")
    parser.add_argument("--out", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--code", required=True, help="hash of the code of this stage")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    options = parser.parse_args(arguments)
    job = TrainJob.read(options.settings)
    with work_alone(options.work):
        claim = claim_gpu()
        record = train(job, options.meshes, options.work, options.code, options.threads)
        record["code"] = options.code
        learned = [CAMERAS_FILE] if job.training.learn_cameras is not None else []
        names = (ADAPTER_FILE, "history.jsonl", *learned)
        for name in names:
            with provenance.atomic_path(options.out / name) as path:
                shutil.copyfile(options.work / name, path)
        record[FILES] = stamps(options.out, names)
        provenance.write_json(options.out / "config.json", record)
        print(
            f"{job.model}: {record['steps_done']} steps, adapter of step {record['saved_step']}, "
            f"{record['seconds']:.0f} s in this run"
        )
        if claim is not None:
            claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

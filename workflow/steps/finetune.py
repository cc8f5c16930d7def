"""Train one LoRA adapter by backpropagation of its reward; continues from its checkpoint when killed."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

from workflow import provenance
from workflow.devices import claim_gpu, device_name, pick_device
from workflow.plan import ADAPTER_FILE

# What may change between a kill and the next start without starting the training again.
FREE = ("steps", "validate_every", "checkpoint_every")


def build_reward(settings: dict[str, Any], device: str):
    """The reward of a settings file as the trainer takes it: `(texture, painted, item) -> scalar`."""
    from rewards.base import training_reward
    from rewards.composite import Composite, Term
    from rewards.rendered import RenderedReward
    from texgen.cameras import rig_cameras
    from workflow.steps.loading import load_metric

    terms = []
    for block in settings["training"]["rewards"]:
        metric_settings = settings["metrics"][block["metric"]]
        reward = load_metric(metric_settings, device, training=True)
        if metric_settings["kind"] != "alignment":
            backgrounds = tuple(tuple(colour) for colour in block["backgrounds"])
            reward = RenderedReward(reward, rig_cameras(block["rig"]), block["size"], backgrounds)
        terms.append(Term(reward, block["weight"], block["mean"], block["std"]))
    plain = len(terms) == 1 and (terms[0].weight, terms[0].mean, terms[0].std) == (1.0, 0.0, 1.0)
    return training_reward(terms[0].reward if plain else Composite(terms))


def build_items(records: list[dict[str, Any]], meshes: Path, device: str) -> list:
    """Training items of some assets; each mesh is loaded once."""
    from texgen.finetune.trainer import TrainingItem
    from workflow.steps.loading import load_prepared

    loaded = {
        name: load_prepared(meshes, name, device) for name in sorted({each["mesh"] for each in records})
    }
    return [
        TrainingItem(loaded[each["mesh"]][0], each["prompt"], loaded[each["mesh"]][1]) for each in records
    ]


def training_identity(settings: dict[str, Any], meshes: Path, code: str) -> str:
    """Hash of all that decides the numbers of a training step; a checkpoint is continued only under it."""
    from workflow.steps.loading import weight_hashes

    training = {key: value for key, value in settings["training"].items() if key not in FREE}
    names = sorted({asset["mesh"] for asset in settings["assets"] + settings["validation_assets"]})
    scorers = {
        name: provenance.folder_hash(metric["clip"]["folder"])
        for name, metric in settings["metrics"].items()
        if "clip" in metric and metric["clip"]["folder"] is not None
    }
    return provenance.content_hash(
        {
            "settings": {**settings, "training": training},
            "weights": weight_hashes(settings["backbone"]),
            "scorers": scorers,
            "meshes": {name: provenance.file_hash(meshes / name / "geometry.npz") for name in names},
            "code": code,
        }
    )


def train(settings: dict[str, Any], meshes: Path, work: Path, code: str, threads: int) -> dict[str, Any]:
    """Train into `work`, which keeps history, checkpoint and finished adapter; returns the model's record."""
    import torch

    from texgen.finetune.gradients import make_strategy
    from texgen.finetune.trainer import Trainer, TrainSettings
    from workflow.steps.loading import build_method, load_backbone

    torch.set_num_threads(threads)
    device = pick_device()
    training = settings["training"]
    backbone = load_backbone(settings["backbone"], device)
    backbone.add_lora(training["rank"], training["alpha"], seed=training["seed"])
    identity = training_identity(settings, meshes, code)
    method = build_method("texgen", backbone, settings["preset"])
    # Every step visits another mesh: the geometry of all of them stays at hand.
    method.cached_meshes = len(
        {asset["mesh"] for asset in settings["assets"] + settings["validation_assets"]}
    )
    trainer = Trainer(
        method,
        build_reward(settings, device),
        build_items(settings["assets"], meshes, device),
        TrainSettings(
            steps=training["steps"],
            learning_rate=training["learning_rate"],
            grad_clip=training["max_grad_norm"],
            accumulate=training["batch"],
            seed=training["seed"],
            holdout_every=training["validate_every"],
            checkpoint_every=training["checkpoint_every"],
            gradient=make_strategy(training["gradient"]["strategy"], training["gradient"]["k"]),
            views_per_step=training["views_per_step"],
            target=training["target"],
        ),
        heldout=build_items(settings["validation_assets"], meshes, device),
        # Another identity is another run: it starts anew beside the old checkpoint instead of refusing.
        checkpoint=work / f"checkpoint.{identity[:10]}.pt",
        identity=identity,
    )
    result = trainer.run(work)
    return {
        **settings,
        "seconds": result.seconds,
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
    claim = claim_gpu()
    settings = provenance.read_json(options.settings)
    record = train(settings, options.meshes, options.work, options.code, options.threads)
    for name in (ADAPTER_FILE, "history.jsonl"):
        with provenance.atomic_path(options.out / name) as path:
            shutil.copyfile(options.work / name, path)
    provenance.write_json(options.out / "config.json", record)
    print(
        f"{settings['model']}: {settings['training']['steps']} steps, {record['seconds']:.0f} s in this run"
    )
    if claim is not None:
        claim.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write README.md beside a tuned model, from its record, its history and the records of its meshes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from report.model_card import base_name, model_card
from rewards.checkpoints.published_files import wanted
from texgen.finetune.history import read_history
from texgen.shipped import of_the_miniature
from texgen.storage.files import write_text
from texgen.storage.result_records import checked_mesh, checked_model
from workflow.jobs.jobs import TrainJob
from workflow.runtime.step_errors import run_step
from workflow.weights.local_files import any_of_the_miniature, backbone_places, metric_places

MINIATURE = "the miniature of texreward, Apache-2.0"
FOLDER = "not published; ask whoever made this folder"


def weights_of(job: TrainJob) -> dict[str, str]:
    """Network -> where it is from and under which terms, the backbone first, then those of the reward."""
    base, places = base_name(job.backbone.model_dump()), backbone_places(job.backbone)
    if job.backbone.hub is not None:
        terms = f"see https://huggingface.co/{job.backbone.hub}"
    else:
        terms = MINIATURE if any_of_the_miniature(places) else FOLDER
    found = {"backbone": f"{base}: {terms}"}
    for name in job.rewarded:
        block = job.metrics[name]
        published = wanted(block.model_dump())
        for field, want in published.items():
            found[f"reward {name}, {field}"] = f"{want.hub}: {want.licence}"
        local = metric_places(block, name)
        for role, place in local.items():
            found[f"reward {role}"] = f"{place}: {MINIATURE if of_the_miniature(place) else FOLDER}"
    return found


def mesh_licences(record: dict[str, Any], meshes: Path) -> dict[str, str]:
    """Licence of every mesh that a model was trained or measured on."""
    names = sorted({each["mesh"] for each in record["assets"] + record["validation_assets"]})
    return {name: checked_mesh(meshes, name).get("licence") or "none stated" for name in names}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--settings", type=Path, required=True, help="settings file of the training")
    parser.add_argument("--folder", type=Path, required=True, help="folder of the finished model")
    parser.add_argument("--meshes", type=Path, required=True, help="folder of prepared meshes")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    job = TrainJob.read(options.settings)
    record = checked_model(options.folder)
    history = read_history(options.folder / "history.jsonl")
    card = model_card(record, history, weights_of(job), mesh_licences(record, options.meshes))
    write_text(options.out, card)
    print(f"{options.out}: {record['steps_done']} steps, {len(record['assets'])} pairs")
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

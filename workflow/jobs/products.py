"""What the jobs in the middle of a run make that others read. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from texgen.storage.result_records import MESH_FILES
from workflow.config.kinds import ADAPTER_FILE
from workflow.jobs.figure_settings import staged_method
from workflow.jobs.plan import Plan
from workflow.jobs.restored import manifest_path


def outputs(plan: Plan) -> dict[str, list[Path]]:
    """Each job, named as `workflow.jobs.recheck` names it -> its declared outputs that others read."""
    results = Path(plan.config.results)
    found = {
        f"mesh.{mesh}": [results / "meshes" / mesh / name for name in MESH_FILES] for mesh in plan.meshes
    }
    for model in plan.models:
        found[f"model.{model}"] = [
            results / "models" / model / name for name in (ADAPTER_FILE, "history.jsonl")
        ]
    for method in plan.methods:
        for shard in plan.shards:
            found[f"texture.{method}.{shard}"] = [manifest_path(plan, method, shard)]
        found[f"score.{method}"] = [score_table(plan, metric, method) for metric in plan.metrics]
        found[f"renders.{method}"] = [results / "renders" / method / "renders.tsv"]
    found["quality"] = [results / "quality.tsv"]
    if plan.config.evaluation.references is not None:
        found["distances"] = [results / "distances.tsv"]
    if staged_method(plan) is not None:
        found["stages"] = [results / "stages" / "stages.npz"]
    return found


def score_table(plan: Plan, metric: str, method: str) -> Path:
    """The scores of a method by one metric."""
    return Path(plan.config.results) / "scores" / metric / f"{method}.tsv"

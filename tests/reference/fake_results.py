"""A finished results folder whose files hold nothing but bytes, with true records: made in a moment."""

from __future__ import annotations

from pathlib import Path

from texgen.storage.records import FILES, stamps, write_record
from texgen.storage.result_records import MESH_FILES, RUN_FILES, write_manifest, write_score_record
from workflow.config.kinds import ADAPTER_FILE
from workflow.jobs.plan import Plan


def fake_results(plan: Plan) -> None:
    """Everything that a run of the plan leaves and that has a record."""
    results = Path(plan.config.results)
    for mesh in plan.meshes:
        folder = results / "meshes" / mesh
        _fill(folder, MESH_FILES, mesh)
        write_record(folder / "mesh.json", {"mesh": mesh, FILES: stamps(folder, MESH_FILES)})
    for model in plan.models:
        folder, names = results / "models" / model, (ADAPTER_FILE, "history.jsonl")
        _fill(folder, names, model)
        write_record(folder / "config.json", {"model": model, FILES: stamps(folder, names)})
        _fill(results / "training" / model, ["checkpoint.0.pt"], model)
    for method in plan.methods:
        for shard in plan.shards:
            fake_shard(
                results / "textures" / method, method, shard, [each.record() for each in plan.shard(shard)]
            )
            _fill(results / "benchmarks" / "texture", [f"{method}.{shard}.tsv"], method)
        for metric in plan.metrics:
            _fill(results / "scores" / metric, [f"{method}.tsv"], metric + method)
            record = {"metric": metric, "method": method, "hash": "h"}
            write_score_record(results / "scores" / metric / f"{method}.tsv", record)
    for stem, job in plan.all_jobs():
        plan.write_settings(stem, job)
    _fill(results, ["quality.tsv"], "quality")
    write_score_record(results / "quality.tsv", {})


def fake_shard(textures: Path, method: str, shard: int, assets: list[dict]) -> None:
    """The textured assets of one job."""
    runs = []
    for asset in assets:
        folder = textures / asset["asset"]
        _fill(folder, RUN_FILES, method + asset["asset"])
        run = {"method": method, **asset, "status": "ok", "hash": "h", FILES: stamps(folder, RUN_FILES)}
        write_record(folder / "run.json", run)
        runs.append(run)
    write_manifest(textures / f"shard-{shard}.json", method, textures, runs)


def _fill(folder: Path, names, what: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        lines = [f"{name} of {what}, line {number}\n" for number in range(6)]
        (folder / name).write_text("".join(lines))

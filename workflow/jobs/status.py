"""What a results folder holds of what a configuration asks for: done, missing or failed, and why.

Reads files only: it may be called while a run is at work, also from another machine of a cluster. Imports no
torch.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from workflow.config.kinds import ADAPTER_FILE
from workflow.jobs.plan import Plan
from workflow.provenance import read_record
from workflow.runtime.progress import duration


@dataclass
class StageProgress:
    """Progress of one stage (a model, a method, the scores of a method).

    done, failed, total: counts of the unit (steps, assets, metrics). note: what a reader should know besides.
    reasons: why units failed. What would be made again after a change, `snakemake --dry-run` tells.
    """

    name: str
    unit: str
    done: int
    total: int
    failed: int = 0
    note: str = ""
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return self.done + self.failed >= self.total

    def note_reason(self, reason: str, units: int = 1) -> None:
        """Count one more unit, or several, that failed for a reason."""
        self.reasons[reason] = self.reasons.get(reason, 0) + units


def mesh_stage(plan: Plan, results: Path) -> StageProgress:
    """Prepared meshes."""
    stage = StageProgress("meshes", "meshes", 0, len(plan.meshes))
    for mesh in plan.meshes:
        if (results / "meshes" / mesh / "geometry.npz").is_file():
            stage.done += 1
    return stage


def model_stage(plan: Plan, results: Path, model: str) -> StageProgress:
    """Training steps of one tuned model, by its history."""
    total = plan.config.models[model].steps
    stage = StageProgress(f"model {model}", "steps", 0, total)
    if (results / "models" / model / ADAPTER_FILE).is_file():
        stage.done = total
        return stage
    try:
        text = (results / "training" / model / "history.jsonl").read_text(encoding="utf-8")
        # The last line may be half written; only whole ones end in a line feed.
        last = json.loads(text.rpartition("\n")[0].splitlines()[-1])
        stage.done = min(int(last["step"]), total)
        stage.note = "" if last.get("reward") is None else f"reward {float(last['reward']):.4g}"
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError):
        pass  # it is being written, or damaged: nothing is known of the training
    return stage


def texture_stage(plan: Plan, results: Path, method: str) -> StageProgress:
    """Assets of one method, with their rate and the reasons of those that failed."""
    stage = StageProgress(f"textures {method}", "assets", 0, len(plan.assets))
    seconds = []
    for asset in plan.assets:
        path = results / "textures" / method / asset.name / "run.json"
        run = read_record(path)
        if run is None:
            continue
        if run.get("status") == "ok":
            stage.done += 1
            seconds.append(run.get("seconds", 0.0))
        else:
            stage.failed += 1
            stage.note_reason(str(run.get("reason", "no reason given")))
    if seconds:
        mean = sum(seconds) / len(seconds)
        left = (stage.total - stage.done - stage.failed) * mean
        stage.note = f"{mean:.1f} s each" + (f", about {duration(left)} of work left" if left > 0 else "")
    return stage


def score_stage(plan: Plan, results: Path, method: str) -> StageProgress:
    """Metrics by which one method is scored."""
    stage = StageProgress(f"scores {method}", "metrics", 0, len(plan.metrics))
    for metric in plan.metrics:
        if (results / "scores" / metric / f"{method}.tsv").is_file():
            stage.done += 1
    return stage


def stages(plan: Plan) -> list[StageProgress]:
    """Every stage of a configuration, in the order in which they run."""
    results = Path(plan.config.results)
    table = StageProgress("table", "files", int((results / "table.md").is_file()), 1)
    return [
        mesh_stage(plan, results),
        *(model_stage(plan, results, model) for model in plan.models),
        *(texture_stage(plan, results, method) for method in plan.methods),
        *(score_stage(plan, results, method) for method in plan.methods),
        table,
    ]


def most_common(reasons: dict[str, int], most: int = 5) -> list[tuple[str, int]]:
    """The most common reasons with their counts."""
    return sorted(reasons.items(), key=lambda each: -each[1])[:most]


def report(found: list[StageProgress]) -> str:
    """The stages as an aligned text, each failure's reason below its stage."""
    width = max(len(stage.name) for stage in found)
    lines = []
    for stage in found:
        state = "done" if stage.complete else "missing" if stage.done + stage.failed == 0 else "partly"
        count = f"{stage.done}/{stage.total} {stage.unit}"
        failed = f", {stage.failed} failed" if stage.failed else ""
        note = f"  ({stage.note})" if stage.note else ""
        lines.append(f"{stage.name:<{width}}  {state:<7}  {count}{failed}{note}")
        lines += [f"{'':<{width}}    {count} x {reason}" for reason, count in most_common(stage.reasons)]
    return "\n".join(lines)

"""What the figures of a run have to know beyond its tables: trainings that belong together, a study, stages.

Imports no torch: Snakefiles ask it for the settings files of their jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workflow.provenance import content_hash

if TYPE_CHECKING:
    from workflow.jobs.plan import Plan


def figure_settings(plan: Plan) -> dict[str, Any]:
    """Those of the tables, with `trainings`, `study` and `staged`."""
    return {
        **plan.table_settings(),
        "trainings": trainings(plan),
        "study": plan.config.study,
        "staged": staged_method(plan),
    }


def trainings(plan: Plan) -> dict[str, dict[str, Any]]:
    """Per tuned method its model's seed and what holds it back, with hashes of all else that it says."""
    found = {}
    for name, method in plan.config.methods.items():
        if method.model is None:
            continue
        block = plan.config.models[method.model].model_dump()
        seed, kl_weight = block.pop("seed"), block.pop("kl_weight")
        found[name] = {
            "model": method.model,
            "seed": seed,
            "kl_weight": kl_weight,
            "lora_scale": method.lora_scale,
            "but_seed": content_hash({**block, "kl_weight": kl_weight}),
            "but_kl": content_hash({**block, "seed": seed}),
        }
    return found


def staged_method(plan: Plan) -> str | None:
    """The tuned method whose stages are shown: the first one trained by a gradient of its reward."""
    for name, method in plan.config.methods.items():
        if method.kind == "texgen" and method.model is not None and method.lora_scale > 0:
            if plan.config.models[method.model].algorithm != "d3po":
                return name
    return None

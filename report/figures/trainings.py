"""Which trainings of a run belong together: repetitions, and sweeps of what holds a model back.

Imports nothing, since Snakefiles ask it which figures a run has.
"""

from __future__ import annotations

from typing import Any


def repeat_groups(trainings: dict[str, dict[str, Any]]) -> list[list[str]]:
    """Methods whose models differ in nothing but the seed of training, in groups of two or more.

    trainings: per method what the configuration says of its model (`workflow.jobs.figure_settings`).
    """
    groups: dict[tuple, list[str]] = {}
    for method, facts in trainings.items():
        key = (facts["but_seed"], facts["lora_scale"])
        groups.setdefault(key, []).append(method)
    return [group for group in groups.values() if len({trainings[method]["seed"] for method in group}) > 1]


def sweep_groups(trainings: dict[str, dict[str, Any]]) -> list[tuple[str, list[tuple[float, str]]]]:
    """(what changes, [(its value, method), ...]) of every sweep: the adapter's strength of one model, or the
    divergence's weight of models that are equal otherwise; two or more values each."""
    found = []
    for field, same in (("lora_scale", "model"), ("kl_weight", "but_kl")):
        groups: dict[tuple, dict[float, str]] = {}
        for method, facts in trainings.items():
            key = (facts[same], None if field == "lora_scale" else facts["lora_scale"])
            groups.setdefault(key, {}).setdefault(facts[field], method)
        found += [(field, sorted(group.items())) for group in groups.values() if len(group) > 1]
    return found

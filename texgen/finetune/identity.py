"""What decides the numbers of a training's steps: a checkpoint is continued only by a run of the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from texgen.finetune.algorithms import Item
from texgen.finetune.items import item_name
from texgen.finetune.requirements import Algorithm
from texgen.finetune.settings import TrainSettings
from texgen.painting.pipeline import TexGen

FREE = frozenset({"holdout_every", "checkpoint_every", "keep_best", "patience"})
"""Settings that change no step."""


def run_identity(
    method: TexGen, algorithm: Algorithm, settings: TrainSettings, items: Sequence[Item], extra: str
) -> str:
    """JSON text that is equal for runs whose steps are equal.

    extra: what else must agree, e.g. the version of the reward.
    """
    # A constant rate goes on beyond the last step, one that has decayed does not.
    free = FREE | (set() if settings.decay else {"steps"})
    deciding = {key: value for key, value in asdict(settings).items() if key not in free}
    shown = {
        key: value
        for key, value in vars(algorithm).items()
        if key not in ("reward", "evaluations") and not callable(value)
    }
    reward = algorithm.reward
    entries = deciding | {
        "algorithm": f"{algorithm.name} {shown!r}",
        "preset": repr(method.preset),
        "items": [item_name(item) for item in items],
        "reward": getattr(reward, "__name__", type(reward).__name__),
        "identity": extra,
    }
    return json.dumps(entries, sort_keys=True)

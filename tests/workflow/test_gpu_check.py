"""The check for machines with a GPU runs on tiny models, so that it is ready where there is one."""

import json

import numpy as np

from benchmarks.gpu_check import __main__ as program
from benchmarks.gpu_check import correct


def test_every_item_runs_on_tiny_models(tmp_path, monkeypatch):
    monkeypatch.setattr(correct, "textures", lambda device: {"checks": {}})  # the miniature itself
    assert program.main(["--tiny", "--device", "cpu", "--out", str(tmp_path / "found.json")]) == 0
    items = json.loads((tmp_path / "found.json").read_text())["items"]
    assert {"scoring", "painting_intex", "training", "gradients", "compiled"} < set(items)
    assert not any({"error", "skipped"} & set(found) for found in items.values())


def test_the_stored_texture_is_of_the_shipped_weights():
    stored = str(np.load(correct.REFERENCE)["weights"])
    assert stored == correct.weights_hash(), "run python -m benchmarks.gpu_check --make-reference"

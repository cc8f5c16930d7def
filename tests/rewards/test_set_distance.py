"""CMMD against its plain formula, and the two steps that measure it on a results folder."""

import csv
import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from reference.outcomes import check_sentence, outcome
from reference.tiny_results import FAILED, METHODS, make_results

from report.table.distances import distance_block
from rewards.set_distance import cmmd
from texgen.storage.result_records import checked_scores
from workflow.config.sheets import ConfigError
from workflow.jobs.jobs import ScoreJob
from workflow.jobs.references import pictures_in
from workflow.steps import distances, save_renders


def test_equal_the_plain_formula():
    random = torch.Generator().manual_seed(0)
    x, y = (F.normalize(torch.randn(n, 8, generator=random), dim=-1) for n in (5, 7))

    def mean(a, b):
        pairs = [math.exp(-float((p - q).square().sum()) / 200) for p in a for q in b]
        return sum(pairs) / len(pairs)

    expected = 1000 * (mean(x, x) + mean(y, y) - 2 * mean(x, y))
    assert cmmd(x, y) == pytest.approx(expected, rel=1e-4) and expected > 0
    assert cmmd(x, x) == pytest.approx(0, abs=1e-9)
    assert cmmd(x, -x) > cmmd(x, y)
    with pytest.raises(ValueError, match="at least one picture"):
        cmmd(x[:0], y)


def test_renders_are_saved_and_compared_with_a_folder_of_pictures(tmp_path, clip_folder):
    settings = make_results(tmp_path)
    protocol = {"rig": "front_4view", "size": 32, "supersample": 1, "rasterizer": "warp"}
    settings["evaluation"] |= protocol | {"backgrounds": {"white": [1, 1, 1], "grey": [0.5, 0.5, 0.5]}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    for method in METHODS:
        arguments = ["--settings", str(tmp_path / "settings.json"), "--meshes", str(tmp_path / "meshes")]
        arguments += ["--textures", str(tmp_path / "textures" / method)]
        assert save_renders.main([*arguments, "--out", str(tmp_path / "renders" / method)]) == 0
    with open(tmp_path / "renders" / "other" / "renders.tsv", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert len(rows) == 2 * 4 * 2 and FAILED[1] not in {row["asset"] for row in rows}
    picture = np.asarray(Image.open(tmp_path / "renders" / "other" / rows[0]["file"]))
    assert picture.shape == (32, 32, 3) and picture[0, 0].tolist() == [255, 255, 255]

    job = ScoreJob(metric="c", block={"kind": "clipscore", "clip": {"folder": str(clip_folder)}})
    (tmp_path / "job.json").write_text(json.dumps(job.record()))
    arguments = ["--metric", str(tmp_path / "job.json"), "--renders", str(tmp_path / "renders")]
    arguments += ["--methods", *METHODS, "--references", str(tmp_path / "renders" / "tuned")]
    assert distances.main([*arguments, "--out", str(tmp_path / "distances.tsv")]) == 0
    block = distance_block(tmp_path / "distances.tsv", METHODS)
    assert checked_scores(tmp_path / "distances.tsv")
    values = {row[0].value: row[1].value for row in block.rows}
    assert values["Tuned <ours>"] in ("0.000", "-0.000") and float(values["Untuned"]) > 0
    assert [row[1].best for row in block.rows] == [False, True, False]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no pictures; put"):
        pictures_in(tmp_path / "empty")
    with pytest.raises(ConfigError, match="is no folder; put"):
        pictures_in(tmp_path / "none")
    # Lists and pictures that are cut off are named.
    cut = tmp_path / "renders" / "tuned" / rows[0]["file"]
    whole = cut.read_bytes()
    cut.write_bytes(whole[:60])
    check_sentence(outcome(lambda: distances.main([*arguments, "--out", str(tmp_path / "d.tsv")])), str(cut))
    cut.write_bytes(whole)
    cut = tmp_path / "renders" / "other" / "renders.tsv"
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:9]))
    check_sentence(outcome(lambda: distances.main([*arguments, "--out", str(tmp_path / "d.tsv")])), str(cut))

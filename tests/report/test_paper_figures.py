"""Figures beyond the tables': stages of the method, repetitions and sweeps, a user study, turntables."""

import json
from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from PIL import Image
from reference.known_shapes import torus
from reference.tiny_results import make_results

from report.figures.showcase import draw_mirror_line, starting_row
from report.figures.study_result import study_answers
from report.figures.trainings import repeat_groups, sweep_groups
from report.figures.turntables import Turntables, write_gif, write_mp4
from report.results import Results
from report.study.booklets import key_record, plan_trials
from texgen.geometry.mirror_plane import MirrorPlane
from texgen.geometry.prepared import prepare_geometry
from texgen.storage.result_records import write_score_record
from workflow.jobs.figure_names import figure_names
from workflow.steps import figures

TRAINING = {"model": "a", "seed": 0, "kl_weight": 0.0, "lora_scale": 1.0, "but_seed": "x", "but_kl": "y"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("results")
    settings = make_results(path)
    settings["trainings"] = {
        "tuned": TRAINING,
        "other": {**TRAINING, "model": "b", "seed": 1, "kl_weight": 0.1},
    }
    settings["models"]["other"] = settings["models"]["tuned"]
    settings["trained_on"]["other"] = settings["trained_on"]["tuned"]
    settings["study"], settings["staged"] = str(path / "study"), "tuned"
    write_stages(path / "stages" / "stages.npz")
    write_score_record(path / "stages" / "stages.npz", {})
    results = Results(settings, path)
    pairs = [("ball--red--0", "pretrained", "tuned"), ("ball--red--0", "tuned", "other")]
    key = key_record(results, plan_trials(pairs, 1, 2, 0))
    (path / "study").mkdir()
    (path / "study" / "key.json").write_text(json.dumps(key))
    saved = {"participant": "p1", "answers": {trial: "left" for trial in key["trials"]}}
    (path / "study" / "answers-1.json").write_text(json.dumps(saved))
    (path / "settings.json").write_text(json.dumps(settings))
    return path


def write_stages(path):
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(0)
    arrays = {"views": np.array([0, 1]), "texture": random.random((3, 32, 32), dtype=np.float32)}
    arrays |= {"reward": np.array(0.5), "azimuth": np.zeros(2), "elevation": np.zeros(2)}
    for index in (0, 1):
        arrays |= {f"{name}_{index}": random.random((16, 16)) for name in ("depth", "pinned", "gradient")}
        arrays |= {f"image_{index}": random.random((3, 16, 16))}
        arrays |= {f"known_{index}": random.random((3, 16, 16)) - 0.2}
    words = {"method": "tuned", "label": "Tuned", "mesh": "ball", "prompt": "a ball"}
    np.savez(path, **arrays, **{f"text_{name}": np.array(word) for name, word in words.items()})


def test_figures_of_what_a_run_has_beside_its_table(folder, tmp_path, capsys):
    settings = json.loads((folder / "settings.json").read_text())
    wanted = {"repeats", "regularisation", "user_study", "method_overview"}
    settings["trainings"]["other"]["kl_weight"] = 0.0
    assert wanted - set(figure_names(settings)) == {"regularisation"}
    settings["trainings"]["other"] |= {"seed": 0, "kl_weight": 0.1, "but_seed": "z"}
    assert wanted - set(figure_names(settings)) == {"repeats"}
    arguments = [
        "--settings",
        str(folder / "settings.json"),
        "--results",
        str(folder),
        "--out",
        str(tmp_path),
    ]
    assert figures.main([*arguments, "--figures", *sorted(wanted)]) == 0
    assert "not drawn" not in capsys.readouterr().out
    for name in wanted:
        with Image.open(tmp_path / f"{name}.png") as image:
            assert np.asarray(image.convert("L")).std() > 5, name
    assert [path.name for path in study_answers(folder / "study")] == ["answers-1.json"]


def test_trainings_are_grouped_by_what_differs():
    trainings = {
        "a": TRAINING,
        "b": {**TRAINING, "model": "b", "seed": 1, "but_kl": "q"},
        "c": {**TRAINING, "lora_scale": 0.5},
        "d": {**TRAINING, "model": "d", "kl_weight": 0.2, "but_seed": "w"},
    }
    assert repeat_groups(trainings) == [["a", "b"]]
    assert sweep_groups(trainings) == [
        ("lora_scale", [(0.5, "c"), (1.0, "a")]),
        ("kl_weight", [(0.0, "a"), (0.2, "d")]),
    ]
    assert repeat_groups({}) == [] and sweep_groups({"a": TRAINING}) == []


def test_turntables_are_loops_that_players_read(folder, tmp_path):
    results = Results(json.loads((folder / "settings.json").read_text()), folder)
    turntables = Turntables(results, frames=6, size=33)
    loop = turntables.loop("other")  # which failed on one asset
    assert loop.shape == (6, 32, 3 * 32, 3) and loop.dtype == np.uint8
    assert not np.array_equal(loop[0, :, :32], loop[3, :, :32])  # it turns
    assert np.array_equal(loop[0, :, 32:64], loop[3, :, 32:64])  # the failed one does not
    write_gif(tmp_path / "a.gif", loop)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 6 and image.info["loop"] == 0 and image.size == (96, 32)
        first = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(first - loop[0]).mean() < 12
    write_mp4(tmp_path / "a.mp4", loop, turns=2)
    frames = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    facts = next(frames)
    assert facts["size"] == (96, 32) and len(list(frames)) == 12
    assert not list(tmp_path.glob(".*"))


def test_the_mirror_line_of_a_torus_is_the_middle_of_its_chart():
    """The torus unrolls around its axis, so its plane x = 0 cuts the chart at u = 1/2 and at its ends."""
    geometry = prepare_geometry(torus(), 64, radius=2)
    geometry = replace(geometry, plane=MirrorPlane(torch.tensor([1.0, 0.0, 0.0]).double(), 0.0, 0.0))

    class Axis:
        def contour(self, x, y, values, levels, **style):
            self.values = values

        def set_xlim(self, *limits): ...

        def set_ylim(self, *limits): ...

    axis = Axis()
    draw_mirror_line(axis, geometry)
    row = axis.values[32]
    middle = np.flatnonzero(np.diff(np.sign(row[np.isfinite(row)])))
    assert np.isnan(row[:6]).all() and len(middle) == 1
    assert np.flatnonzero(np.isfinite(row))[middle[0]] == 31  # between the columns 31 and 32


def test_before_cameras_is_the_row_that_training_started_from(folder):
    results = Results(json.loads((folder / "settings.json").read_text()), folder)
    results.tuned = ["tuned"]
    for key, run in results.runs.items():
        shift = {"pretrained": 60.0, "other": 5.0, "tuned": 0.0}[key[0]]
        if run.get("views"):
            run["views"] = [{**view, "azimuth": view["azimuth"] + shift} for view in run["views"]]
    assert starting_row(results, "tuned") == "other"
    for key, run in results.runs.items():
        if key[0] == "other":
            run["kind"] = "intex"
    assert starting_row(results, "tuned") == "pretrained"

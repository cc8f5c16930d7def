"""The steps from mesh to table, one after the other, on tiny random instances of the real models."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from reference.tiny_models import write_miniature
from reference.tiny_scorers import write_clip, write_head

from workflow.cli.main import main as cli
from workflow.code_identity import code_version
from workflow.config.configuration import parse_config
from workflow.jobs.plan import Plan
from workflow.steps import finetune, model_card, prepare_mesh, score, stages, table, texture
from workflow.steps.loading import tensors_hash

SIZES = {
    "rig": "front_3view",
    "image_size": 32,
    "render_size": 32,
    "texture_size": 32,
    "steps": 2,
    "guidance_scale": 2.0,
    "prompt_template": "{prompt}",
    "negative_prompt": "",
}
MESHES = """mesh\tsource\tsha256\trotate\tlicence\tsplit
seen\tfile:seen.obj\t\t\tCC0-1.0\ttraining
unseen\tfile:unseen.obj\t\tx:90\tCC0-1.0\tevaluation
other\tfile:other.obj\t\t\tCC0-1.0\tevaluation
"""
PROMPTS = """prompt_id\tmesh\tprompt\tsplit
red\t*\ta red {plain} "thing"\tevaluation
blue\tseen\ta blue thing\ttraining
green\tseen\ta green thing\ttraining
"""


def write_torus(path: Path, tube: float, around: int = 12, across: int = 8) -> None:
    """A torus without uvs: a surface that has a direction of curvature everywhere."""
    lines, faces = [], []
    for i in range(around):
        for j in range(across):
            a, b = 2 * math.pi * i / around, 2 * math.pi * j / across
            ring = 1 + tube * math.cos(b)
            lines.append(f"v {ring * math.cos(a)} {tube * math.sin(b)} {ring * math.sin(a)}")
            corners = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
            faces.append("f " + " ".join(str((p % around) * across + q % across + 1) for p, q in corners))
    path.write_text("\n".join(lines + faces) + "\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Everything up to the table, in a folder of its own; the folder, the plan and where its files are."""
    folder = tmp_path_factory.mktemp("run")
    patch = pytest.MonkeyPatch()
    patch.chdir(folder)
    threads = torch.get_num_threads()
    base, controlnet = write_miniature(folder / "models")
    (folder / "config").mkdir()
    for name, tube in (("seen", 0.5), ("unseen", 0.4), ("other", 0.6)):
        write_torus(folder / f"{name}.obj", tube)
    (folder / "config" / "meshes.tsv").write_text(MESHES)
    (folder / "config" / "prompts.tsv").write_text(PROMPTS)
    clip = {"folder": str(write_clip(folder / "clip"))}
    config = parse_config(
        {
            "title": "Tiny",
            "backbone": {"folder": str(base), "controlnets": {"depth_inpaint": {"folder": str(controlnet)}}},
            "presets": {"texgen": SIZES, "intex": SIZES},
            "metrics": {
                "aesthetic": {
                    "kind": "aesthetic",
                    "clip": clip,
                    "head": {"path": str(write_head(folder / "head"))},
                },
                "clipscore": {"kind": "clipscore", "clip": clip},
                "alignment": {"kind": "alignment"},
            },
            "models": {
                "tuned": {
                    "rewards": [
                        {"metric": "aesthetic", "rig": "front_3view", "size": 32, "weight": 0.5},
                        {"metric": "alignment"},
                    ],
                    "steps": 2,
                    "learning_rate": 0.1,
                    "validation_samples": 1,
                    "keep_best": False,  # of two steps on random models the untuned one may be the best
                    "checkpoint_every": 1,
                }
            },
            "methods": {
                "pretrained": {"kind": "texgen"},
                "tuned": {"kind": "texgen", "model": "tuned"},
                "intex": {"kind": "intex"},
            },
            "evaluation": {"rig": "front_4view", "size": 32, "supersample": 1},
        }
    )
    plan = Plan(config)
    for mesh in plan.meshes:
        settings = plan.write_settings(f"mesh.{mesh}", plan.mesh_job(mesh))
        assert prepare_mesh.main(["--settings", settings, "--out", f"results/meshes/{mesh}"]) == 0
    assert finetune.main(finetune_arguments(plan)) == 0
    for method in plan.methods:
        assert texture.main(texture_arguments(plan, method)) == 0
        assert score.main(score_arguments(plan, method)) == 0
    settings = plan.write_settings("table", plan.table_settings())
    outputs = ["--markdown", "results/table.md", "--csv", "results/table.csv"]
    assert table.main(["--settings", settings, "--results", "results", *outputs]) == 0
    yield folder, plan
    torch.set_num_threads(threads)
    patch.undo()


def finetune_arguments(plan: Plan) -> list[str]:
    settings = plan.write_settings("model.tuned", plan.train_job("tuned"))
    folders = [
        "--meshes",
        "results/meshes",
        "--work",
        "results/training/tuned",
        "--out",
        "results/models/tuned",
    ]
    return ["--settings", settings, *folders, "--code", "abc", "--threads", "1"]


def score_arguments(plan: Plan, method: str, code: str = "abc") -> list[str]:
    settings = [plan.write_settings(f"score.{metric}", plan.score_job(metric)) for metric in plan.metrics]
    where = ["--meshes", "results/meshes", "--textures", f"results/textures/{method}"]
    codes = [f"{metric}={code if metric == 'clipscore' else 'abc'}" for metric in plan.metrics]
    return ["--settings", *settings, *where, "--out", "results/scores", "--code", *codes]


def texture_arguments(plan: Plan, method: str, code: str = "abc") -> list[str]:
    settings = plan.write_settings(f"texture.{method}.0", plan.texture_job(method, 0))
    folders = [
        "--meshes",
        "results/meshes",
        "--models",
        "results/models",
        "--out",
        f"results/textures/{method}",
    ]
    manifest = ["--manifest", f"results/textures/{method}/shard-0.json"]
    return ["--settings", settings, *folders, *manifest, "--code", code, "--threads", "1"]


def records(folder: Path, method: str) -> dict[str, dict]:
    paths = (folder / "results" / "textures" / method).glob("*/run.json")
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_every_asset_has_its_files_and_a_complete_record(run):
    folder, plan = run
    for method in plan.methods:
        runs = records(folder, method)
        assert set(runs) == {"unseen--red--0", "other--red--0"}
        for asset, record in runs.items():
            assert record["status"] == "ok", record.get("reason")
            for name in ("texture.png", "painted.png", "mesh.glb"):
                assert (folder / "results" / "textures" / method / asset / name).stat().st_size > 0
            assert record["calls"]["unet"] == record["calls"]["controlnet"] > 0
            assert record["seconds"] > 0 and record["device_seconds"] > 0 and record["peak_memory_bytes"] > 0
            assert record["clock"] == "process CPU seconds"
            assert record["versions"]["torch"] and record["device"] and len(record["hash"]) == 64


def test_the_tuned_model_is_another_model_but_the_same_noise(run):
    folder, _ = run
    textures = folder / "results" / "textures"
    picture = "unseen--red--0/texture.png"
    assert (textures / "pretrained" / picture).read_bytes() != (textures / "tuned" / picture).read_bytes()
    assert records(folder, "pretrained")["unseen--red--0"]["seed"] == 0


def test_scores_have_one_row_per_view_and_background(run):
    folder, plan = run
    with open(folder / "results" / "scores" / "aesthetic" / "tuned.tsv", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert len(rows) == 2 * 4 * 2  # assets, views, backgrounds
    assert {row["background"] for row in rows} == {"white", "grey"}
    assert rows[0]["prompt"] == 'a red {plain} "thing"'
    assert all(abs(float(row["score"])) < 100 for row in rows)
    with open(folder / "results" / "scores" / "alignment" / "tuned.tsv", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert [row["view"] for row in rows] == ["texture", "texture"]
    assert all(0 <= float(row["score"]) <= 1 for row in rows)


def test_only_scores_that_are_not_current_are_computed_again(run, capsys):
    folder, plan = run
    scores = folder / "results" / "scores"
    before = (scores / "clipscore" / "intex.tsv").read_text()
    assert score.main(score_arguments(plan, "intex")) == 0
    assert capsys.readouterr().out.count("kept") == 3
    (scores / "alignment" / "intex.tsv").unlink()
    assert score.main(score_arguments(plan, "intex", code="new")) == 0
    said = capsys.readouterr().out
    assert said.count("kept") == 1 and "aesthetic/intex.tsv: kept" in said
    assert (scores / "clipscore" / "intex.tsv").read_text() == before


def test_the_table_names_every_method_and_what_was_trained_on(run):
    folder, _ = run
    text = (folder / "results" / "table.md").read_text()
    for word in (
        "pretrained",
        "tuned",
        "intex",
        "Aesthetic†",
        "CLIPScore ",
        "Alignment†",
        "Own held-out reward",
    ):
        assert word in text, text
    with open(folder / "results" / "table.csv", newline="") as stream:
        assert [row["n"] for row in csv.DictReader(stream)] == ["2", "2", "2"]


def test_the_stages_of_a_texture_are_those_that_made_it(run):
    folder, plan = run
    paths = [
        plan.write_settings("texture.tuned.0", plan.texture_job("tuned", 0)),
        plan.write_settings("model.tuned", plan.train_job("tuned")),
    ]
    arguments = ["--texture", paths[0], "--model", paths[1], "--results", "results", "--threads", "1"]
    assert stages.main([*arguments, "--out", "results/stages.npz"]) == 0
    found = np.load(folder / "results/stages.npz")
    assert float(found["difference"]) < stages.SAME
    views = found["views"].tolist()
    assert views and all(found[f"image_{i}"].shape == (3, 32, 32) for i in views)
    assert any(found[f"gradient_{i}"].max() > 0 for i in views), "the reward reaches no view"


def test_training_left_a_history_with_held_out_rewards(run):
    folder, _ = run
    rows = [
        json.loads(line) for line in (folder / "results/models/tuned/history.jsonl").read_text().splitlines()
    ]
    assert [row["step"] for row in rows] == [0, 1, 2]
    assert rows[0]["heldout_reward"] is not None and rows[-1]["heldout_reward"] is not None
    record = json.loads((folder / "results/models/tuned/config.json").read_text())
    assert record["training"]["steps"] == 2 and record["seconds"] > 0


def test_finished_assets_are_kept_and_lost_ones_made_again_the_same(run, capsys):
    folder, plan = run
    textures = folder / "results" / "textures" / "pretrained"
    texture_bytes = (textures / "other--red--0" / "texture.png").read_bytes()
    kept = (textures / "unseen--red--0" / "run.json").stat().st_mtime_ns
    (textures / "other--red--0" / "run.json").unlink()  # as a kill in the middle of this asset leaves it
    (textures / "shard-0.json").unlink()
    assert texture.main(texture_arguments(plan, "pretrained")) == 0
    said = capsys.readouterr().out
    assert "unseen--red--0: kept" in said and "other--red--0: kept" not in said
    assert "missing" not in said, "an asset that was not finished is no damage"
    assert (textures / "unseen--red--0" / "run.json").stat().st_mtime_ns == kept
    assert (textures / "other--red--0" / "texture.png").read_bytes() == texture_bytes


def test_other_code_makes_every_asset_again(run, capsys):
    folder, plan = run
    shutil.copytree(folder / "results/textures/pretrained", folder / "results/textures/again")
    arguments = [
        each.replace("textures/pretrained", "textures/again")
        for each in texture_arguments(plan, "pretrained", "xyz")
    ]
    assert texture.main(arguments) == 0
    assert "kept" not in capsys.readouterr().out


def test_a_failing_asset_leaves_its_reason_and_the_others_go_on(run, capsys, monkeypatch):
    folder, plan = run
    job = plan.texture_job("intex", 0)
    job = job.model_copy(update={"preset": {**job.preset, "rig": "top_balloon"}, "method": "broken"})
    real = texture.texture_asset

    def fails_on_the_second(method, mesh, asset, out):
        if asset["mesh"] == "other":
            raise RuntimeError("no view shows the mesh")
        return real(method, mesh, asset, out)

    monkeypatch.setattr(texture, "texture_asset", fails_on_the_second)
    path = plan.write_settings("texture.broken.0", job)
    arguments = texture_arguments(plan, "intex")
    arguments = [each.replace("textures/intex", "textures/broken") for each in arguments]
    arguments[1] = path
    assert texture.main(arguments) == 0
    runs = records(folder, "broken")
    assert runs["unseen--red--0"]["status"] == "ok"
    assert runs["other--red--0"]["status"] == "failed"
    assert runs["other--red--0"]["reason"] == "RuntimeError: no view shows the mesh"
    capsys.readouterr()
    texture.main(arguments)
    said = capsys.readouterr().out
    assert "unseen--red--0: kept" in said and "other--red--0: kept" not in said
    assert "missing" not in said, "an asset that was not finished is no damage"


def test_a_finished_training_is_continued_not_repeated(run, capsys):
    folder, plan = run
    before = tensors_hash(folder / "results/models/tuned/pytorch_lora_weights.safetensors")
    shutil.rmtree(folder / "results/models/tuned")
    assert finetune.main(finetune_arguments(plan)) == 0
    assert tensors_hash(folder / "results/models/tuned/pytorch_lora_weights.safetensors") == before
    assert len((folder / "results/models/tuned/history.jsonl").read_text().splitlines()) == 3


def test_previews_are_painted_on_demand_and_a_card_lies_beside_the_model(run, tmp_path):
    _, plan = run
    settings = plan.train_job("tuned").record()
    training = settings["training"] | {"preview_every": 2}
    path, model = tmp_path / "settings.json", tmp_path / "tuned"
    path.write_text(json.dumps(settings | {"training": training}))
    folders = ["--meshes", "results/meshes", "--work", str(tmp_path / "work"), "--out", str(model)]
    assert finetune.main(["--settings", str(path), *folders, "--code", "abc", "--threads", "1"]) == 0
    pictures = sorted(each.name for each in (tmp_path / "work" / "previews").glob("*"))
    assert pictures == ["step-000000.png", "step-000002.png"]
    card = ["--settings", str(path), "--folder", str(model), "--meshes", "results/meshes"]
    assert model_card.main([*card, "--out", str(model / "README.md")]) == 0
    text = (model / "README.md").read_text(encoding="utf-8")
    for said in (
        "# tuned",
        "2 steps",
        "seen: CC0-1.0",
        "“a blue thing”",
        "(measured only)",
        "| reward |",
        "clip",
    ):
        assert said in text, said
    assert "unseen" not in text, "nothing of the evaluation split"


def test_more_steps_continue_a_constant_rate_and_start_a_falling_one_anew(run, tmp_path):
    _, plan = run
    settings = plan.train_job("tuned").record()
    ran = {}
    for decay in (False, True):
        work, out = tmp_path / f"work-{decay}", tmp_path / f"out-{decay}"
        for steps in (1, 2):
            path = tmp_path / f"{decay}-{steps}.json"
            training = settings["training"] | {"steps": steps, "decay": decay}
            path.write_text(json.dumps(settings | {"training": training}))
            folders = ["--meshes", "results/meshes", "--work", str(work), "--out", str(out)]
            assert finetune.main(["--settings", str(path), *folders, "--code", "abc", "--threads", "1"]) == 0
        ran[decay] = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
        assert len(list(work.glob("checkpoint.*.pt"))) == (2 if decay else 1)
    assert [row["step"] for row in ran[True]] == [row["step"] for row in ran[False]]


def test_the_command_line_textures_a_file(run, capsys, tmp_path):
    folder, plan = run
    config = tmp_path / "c.json"
    config.write_text(json.dumps(plan.config.model_dump(mode="json", exclude_none=True, exclude_unset=True)))
    mesh = folder / "seen.obj"
    arguments = [str(mesh), "a red thing", "--out", str(tmp_path / "x.glb"), "--config", str(config)]
    extra = [
        "--method",
        "pretrained",
        "--model",
        "tuned",
        "--texture",
        str(tmp_path / "x.png"),
        "--threads",
        "1",
    ]
    assert cli(["texture", *arguments, *extra]) == 0
    said = capsys.readouterr().err
    assert "view 3/3 painted" in said and "unet calls" in said
    assert (tmp_path / "x.glb").read_bytes()[:4] == b"glTF"
    assert (tmp_path / "x.png").stat().st_size > 0


def test_hashes_name_the_code_of_a_methods_own_modules(run):
    _, plan = run
    versions = {method: code_version(*plan.texture_job(method).modules()) for method in plan.methods}
    assert len(set(versions.values())) == 3  # the tuned one also loads what was learned

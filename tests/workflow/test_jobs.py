"""Jobs: what each carries, what re-runs it, what it reads; and what is refused before any."""

from __future__ import annotations

import copy
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from texgen.errors import DamagedFileError
from workflow.code_identity import reached
from workflow.config.backends import require
from workflow.config.configuration import parse_config
from workflow.config.sheets import ConfigError
from workflow.jobs.jobs import MeshJob, ScoreJob, TextureJob, TrainJob
from workflow.jobs.plan import Plan
from workflow.provenance import place_hashes
from workflow.steps.finetune import training_identity
from workflow.weights.published import needs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def data(monkeypatch) -> dict:
    monkeypatch.chdir(ROOT)
    return yaml.safe_load(Path("config/config.yaml").read_text())


def plan_of(data: dict) -> Plan:
    return Plan(parse_config(data, "x.yaml"))


def records(data: dict) -> dict[str, dict]:
    jobs = dict(plan_of(data).all_jobs())
    return {
        stem: json.loads(json.dumps(job if isinstance(job, dict) else job.record()))
        for stem, job in jobs.items()
    }


def changed_jobs(before: dict, after: dict) -> set[str]:
    old, new = records(before), records(after)
    return {stem for stem in old.keys() | new.keys() if old.get(stem) != new.get(stem)}


def test_every_job_is_read_back_as_it_was(data, tmp_path):
    kinds = {"mesh": MeshJob, "model": TrainJob, "texture": TextureJob, "score": ScoreJob}
    plan = plan_of(data)
    for stem, job in plan.all_jobs():
        if stem in ("table", "figures"):  # plain dicts, which several jobs share
            assert isinstance(job, dict)
            continue
        path = tmp_path / stem
        path.write_text(json.dumps(job.record()))
        again = kinds[stem.partition(".")[0]].read(path)
        assert again.record() == json.loads(path.read_text())
        assert again.identity() == json.loads(json.dumps(job.identity()))
        assert again.files() == job.files() and again.places() == job.places()


def test_a_settings_file_that_is_cut_off_or_old_is_named(data, tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"mesh": "cow"')
    with pytest.raises(DamagedFileError, match="x.json is damaged"):
        MeshJob.read(path)
    path.write_text('{"mesh": "cow", "source": "file:x", "colour": 1}')
    with pytest.raises(DamagedFileError, match="not a settings file of this version .colour"):
        MeshJob.read(path)


def test_what_a_job_does_not_use_does_not_concern_it(data):
    unused = copy.deepcopy(data)
    unused["backbone"]["controlnets"]["normal"] = {"hub": "someone/normal"}
    unused["backbone"]["inpainting"] = {"hub": "someone/inpainting"}
    assert changed_jobs(data, unused) == set()
    other = copy.deepcopy(data)
    other["backbone"]["controlnets"]["uv_position"] = {"hub": "someone/position"}
    assert changed_jobs(data, other) == {"texture.paint3d.0"}
    label = copy.deepcopy(data)
    label["metrics"]["aesthetic"]["label"] = "Beauty"
    assert changed_jobs(data, label) == {"figures", "table"}
    metric = copy.deepcopy(data)
    metric["metrics"]["colourisation"] = {"kind": "colourisation"}
    assert changed_jobs(data, metric) == {"score.colourisation", "figures", "table"}


def test_columns_of_the_mesh_sheet_that_are_left_out_change_no_job(data, tmp_path, monkeypatch):
    before = records(data)
    lines = Path("config/meshes.tsv").read_text(encoding="utf-8").splitlines()
    sheet = tmp_path / "meshes.tsv"
    table = [f"{lines[0]}\tuv\tup\tfront", *(f"{line}\t\t\t" for line in lines[1:])]
    sheet.write_text("\n".join(table) + "\n", encoding="utf-8")
    monkeypatch.setitem(data["meshes"], "table", str(sheet))
    meshes = {stem: job for stem, job in records(data).items() if stem.startswith("mesh.")}
    assert meshes and meshes == {stem: before[stem] for stem in meshes}
    row = next(row for row in lines[1:] if not row.split("\t")[3])
    table[lines.index(row)] = f"{row}\tunwrap\tz\t"
    sheet.write_text("\n".join(table) + "\n", encoding="utf-8")
    mesh = row.partition("\t")[0]
    asked = {"uv": "unwrap", "rotate": "x:-90"}
    assert plan_of(data).mesh_job(mesh).record() == before[f"mesh.{mesh}"] | asked


def test_a_job_carries_the_networks_it_asks_for(data):
    plan = plan_of(data)
    roles = {method: set(plan.texture_job(method).backbone.controlnets) for method in plan.methods}
    assert roles["pretrained"] == {"depth_inpaint"} and roles["syncmvd"] == {"depth"}
    assert roles["texture"] == {"depth", "depth_inpaint"} and roles["paint3d"] == {
        "depth_inpaint",
        "uv_position",
    }
    paper = plan_of(yaml.safe_load(Path("config/paper.yaml").read_text()))
    train = paper.train_job("emphasis")
    assert set(train.backbone.controlnets) == {"depth_inpaint"} and train.backbone.inpainting is None
    assert set(train.metrics) == {"emphasis"}, "nothing that it does not use is loaded"
    assert paper.texture_job("texture").backbone.inpainting is not None
    # What is downloaded before a run is what some job uses, the inpainting model among it.
    users = {user for need in needs(paper.config) for user in need.users}
    assert {"backbone", "depth", "tile", "inpainting"} <= users


@pytest.mark.parametrize("place", ["weights", "head", "tokenizer", "backbone"])
def test_replaced_weights_start_a_training_anew(place, data, tmp_path):
    """Weights of a reward by whatever field: the checkpoint of other ones is not continued."""
    folder = tmp_path / place
    folder.mkdir()
    own, metric = {}, {"kind": "imagereward", "weights": {"folder": str(folder)}}
    file = folder / "model.safetensors"
    if place == "head":
        file = folder / "head.pth"
        metric = {
            "kind": "aesthetic",
            "clip": {"folder": "models/miniature/clip"},
            "head": {"path": str(file)},
        }
    if place == "tokenizer":
        metric = {
            "kind": "imagereward",
            "weights": {"folder": "models/miniature/image_reward"},
            "tokenizer": {"folder": str(folder)},
        }
    if place == "backbone":
        own = {"backbone": {**data["backbone"], "folder": str(folder)}}
        metric = {"kind": "alignment"}
    data = {**data, **own}
    data["metrics"]["own"] = metric
    data["models"] = {"preference": {"rewards": [{"metric": "own"}], "steps": 1}}
    data["methods"] = {
        "pretrained": {"kind": "texgen"},
        "preference": {"kind": "texgen", "model": "preference"},
    }
    job = plan_of(data).train_job("preference")
    job = job.model_copy(update={"assets": [], "validation_assets": []})
    file.write_text("one")
    before = training_identity(job, tmp_path, "code")
    assert file.as_posix() in job.files() or place == "tokenizer"
    assert training_identity(job, tmp_path, "code") == before
    file.write_text("two")
    assert training_identity(job, tmp_path, "code") != before


def test_what_is_only_watched_does_not_start_a_training_anew(data, tmp_path):
    watching = copy.deepcopy(data)
    watching["models"]["symmetry"]["monitor"] = ["clipscore", "aesthetic"]
    jobs = [plan_of(each).train_job("symmetry") for each in (data, watching)]
    assert jobs[0].identity() == jobs[1].identity() and jobs[0].record() != jobs[1].record()
    assert "aesthetic clip" in jobs[1].places() and "aesthetic clip" not in jobs[0].places()
    assert jobs[1].watched == ["clipscore", "aesthetic"] and jobs[0].watched == []


def test_a_place_is_hashed_whether_it_is_a_file_or_a_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("1")
    (tmp_path / "b").write_text("1")
    first = place_hashes({"one": str(tmp_path / "a"), "two": str(tmp_path / "b")})
    (tmp_path / "a" / "x").write_text("2")
    second = place_hashes({"one": str(tmp_path / "a"), "two": str(tmp_path / "b")})
    assert first["one"] != second["one"] and first["two"] == second["two"]
    with pytest.raises(FileNotFoundError):
        place_hashes({"one": str(tmp_path / "none")})


def test_psd_likes_job_runs_the_code_of_its_score(data):
    modules = plan_of(data).texture_job("psd_like").modules()
    assert {"rewards.preference.clip_score", "rewards.preference.clip_model"} <= set(reached(*modules))


def test_the_scorers_say_whether_they_are_the_miniature_ones(data):
    real = {"clipscore": {"kind": "clipscore"}, "alignment": {"kind": "alignment"}}
    own = {"clipscore": data["metrics"]["clipscore"]}
    data["models"], data["methods"] = {}, {"pretrained": {"kind": "texgen"}}
    assert plan_of({**data, "metrics": own}).table_settings()["miniature"]
    assert not plan_of({**data, "metrics": real}).table_settings()["miniature"], "whatever the backbone is"
    backbone = {**data["backbone"], "folder": None, "hub": "someone/large"}
    assert plan_of({**data, "metrics": own, "backbone": backbone}).table_settings()["miniature"]


REFUSED = [
    ("presets.texgen.window", [2, 3], "presets.texgen.window is ignored by the method texgen"),
    ("presets.texgen.also_controls", {"depth": 0.5}, "presets.texgen.also_controls is ignored"),
    ("presets.texgen.blending", "after", "presets.texgen.blending is ignored"),
    ("presets.texgen.refine", "checker", "presets.texgen.refine is ignored"),
    ("presets.texgen.unpainted", "mean", "presets.texgen.unpainted is ignored"),
    ("presets.texgen.show_known", "never", "presets.texgen.show_known is ignored"),
    ("presets.texgen.same_noise", True, "presets.texgen.same_noise is ignored"),
    ("presets.texgen.adam_steps", 3, "presets.texgen.adam_steps is ignored"),
    ("presets.texgen.distance_unit", "radius", "presets.texgen.distance_unit is ignored"),
    ("presets.texgen.projection", "fit_adam", "knows projection gather, scatter_mip, not 'fit_adam'"),
    ("presets.texgen.projection", "overwrite4", "not 'overwrite4'"),
    ("presets.texgen.control_role", "nothing", "needs a ControlNet of the role 'nothing'"),
    ("presets.texgen.control_role", "", "cannot do without a ControlNet"),
    ("presets.texgen.rig", "fornt", "presets.texgen.rig is 'fornt'"),
    ("presets.syncmvd.fill", "mean", "presets.syncmvd.fill is ignored by the method syncmvd"),
    ("presets.texture.window_role", "unet", "needs backbone.inpainting"),
    ("presets.texture.window", [2], "give a first and a last step"),
    ("presets.text2tex.atlas_role", "unet", "needs backbone.inpainting"),
    ("presets.text2tex.candidates", "somewhere", "presets.text2tex.candidates is 'somewhere'"),
    ("presets.paint3d.uv_stage", "full", "needs a ControlNet of the role 'tile'"),
    ("models.symmetry.preset.unpainted", "mean", "models.symmetry.preset.unpainted is ignored"),
    ("models.symmetry.preset.control_role", "nothing", "models.symmetry: .*'nothing'"),
    ("models.symmetry.rewards.1.rig", "side_ways", r"models.symmetry.rewards\[1\].rig is 'side_ways'"),
    ("evaluation.rig", "evalution", "evaluation.rig is 'evalution'"),
    ("evaluation.rasterizer", "opengl", "evaluation.rasterizer is 'opengl'"),
]


@pytest.mark.parametrize(
    ("path", "value", "message"), REFUSED, ids=[f"{path}={value}" for path, value, _ in REFUSED]
)
def test_what_no_job_would_honour_is_refused_at_the_field(path, value, message, data):
    *parents, last = path.split(".")
    data = copy.deepcopy(data)  # anchors share their blocks
    data = json.loads(json.dumps(data))
    here = data
    for key in parents:
        here = here[int(key)] if isinstance(here, list) else here.setdefault(key, {})
    here[last] = value
    with pytest.raises(ConfigError, match=message):
        parse_config(data, "x.yaml")


def test_the_weights_of_an_upscaler_are_an_input(data, tmp_path):
    before = plan_of(data).texture_job("pretrained")
    assert "upscaler" not in before.places()
    file = tmp_path / "enlarges.onnx"  # whatever its ending
    data["presets"]["texgen"]["upscaler"] = str(file)
    plan = plan_of(data)
    job = plan.texture_job("pretrained")
    assert job.places()["upscaler"] == str(file) and str(file) in job.files()
    assert set(job.files()) - {str(file)} == set(before.files())
    file.write_text("one")
    first = place_hashes(job.places())
    file.write_text("two")
    assert place_hashes(job.places())["upscaler"] != first["upscaler"]
    if find_spec("spandrel") is None:
        with pytest.raises(ConfigError, match="presets.texgen.upscaler needs the package spandrel"):
            require(plan.config)


def test_nvdiffrast_can_be_chosen(data):
    data["presets"]["texgen"]["rasterizer"] = "nvdiffrast"
    data["evaluation"]["rasterizer"] = "nvdiffrast"
    plan = plan_of(data)
    assert plan.texture_job("pretrained").preset["rasterizer"] == "nvdiffrast"
    assert plan.score_job("aesthetic").protocol.rasterizer == "nvdiffrast"
    if find_spec("nvdiffrast") is None:
        with pytest.raises(ConfigError, match="evaluation.rasterizer is nvdiffrast, which is not installed"):
            require(plan.config)
    data["presets"]["texgen"]["rasterizer"] = data["evaluation"]["rasterizer"] = "warp"
    require(plan_of(data).config)

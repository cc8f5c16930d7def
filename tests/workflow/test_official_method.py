"""Rows of kind `official`: their configuration, what a job knows, the texturing step with a fake program."""

import json
import sys
from typing import get_args

import pytest
import yaml
from reference.fake_checkouts import make_checkout
from reference.tiny_meshes import sphere_mesh

from baselines.official.adapter import PROGRAMS
from texgen.mesh.mesh import save_mesh
from texgen.storage.records import FILES, stamps, write_record
from texgen.storage.result_records import MESH_FILES
from workflow.cli.main import main as command
from workflow.config.configuration import parse_config
from workflow.config.official_methods import OfficialProgram
from workflow.config.sheets import ConfigError
from workflow.jobs.plan import Plan
from workflow.steps.texture import run_shard

RUN = {"program": "texture", "checkout": "there", "python": "envs/texture/bin/python"}


def data(methods):
    with open("config/config.yaml") as file:
        data = yaml.safe_load(file)
    data["methods"] = {"pretrained": {"kind": "texgen"}, **methods}
    return data


def official(**changes):
    return {"kind": "official", "official": {**RUN, **changes}, "preset": {"texture_size": 256}}


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"kind": "official"}, "official names the program of a method of kind official"),
        ({"kind": "intex", "official": RUN}, "official names the program of a method of kind official"),
        (official(program="textur"), "methods.mine.official.program is 'textur'"),
        (official(timeout=0), "timeout is 0"),
        (official(python=""), "python is ''"),
        (official(seed=1), "methods.mine.official.seed is not a known field"),
        ({**official(), "preset": {"steps": 3}}, "preset.steps does nothing"),
        ({**official(), "model": "tuned"}, "model is 'tuned'"),
    ],
)
def test_mistakes_are_named(method, message):
    with pytest.raises(ConfigError, match=message):
        parse_config(data({"mine": method}), "x.yaml")


def test_the_configuration_knows_every_adapter():
    assert get_args(OfficialProgram.model_fields["program"].annotation) == PROGRAMS


def test_a_job_knows_its_program_and_no_backbone():
    plan = Plan(parse_config(data({"mine": official(arguments=["--a"])}), "x.yaml"))
    job = plan.texture_job("mine", 0)
    assert job.official.model_dump() == {**RUN, "timeout": 3600.0, "arguments": ["--a"]}
    assert job.backbone is None and job.preset == {"texture_size": 256}
    assert job.files() == []
    assert "baselines.official.texture" in job.modules()
    assert plan.texture_job("pretrained", 0).official is None


def step(tmp_path, name, checkout):
    """The texturing step on one mesh with two prompts."""
    block = official(program="syncmvd", checkout=str(checkout), python=sys.executable)
    job = Plan(parse_config(data({name: block}), "x.yaml")).texture_job(name, 0)
    assets = [
        {"asset": f"sphere--{p}--0", "mesh": "sphere", "prompt_id": p, "prompt": f"{p} ball", "seed": 0}
        for p in ("red", "blue")
    ]
    if not (tmp_path / "meshes").exists():
        folder = tmp_path / "meshes" / "sphere"
        save_mesh(sphere_mesh(6), folder / "mesh.npz")
        save_mesh(sphere_mesh(6), folder / "geometry.npz")
        write_record(folder / "mesh.json", {"mesh": "sphere", FILES: stamps(folder, MESH_FILES)})
    out = tmp_path / "textures" / name
    job = job.model_copy(update={"preset": {"texture_size": 32}, "assets": assets})
    return run_shard(job, tmp_path / "meshes", tmp_path / "models", out, "code", 1)


def test_the_step_textures_keeps_and_records_failures(tmp_path, capsys):
    checkout = make_checkout("syncmvd", tmp_path / "there")
    runs = step(tmp_path, "mine", checkout)
    assert [run["status"] for run in runs] == ["ok", "ok"] and runs[0]["kind"] == "official"
    record = json.loads((tmp_path / "textures/mine/sphere--red--0/run.json").read_text())
    assert record["calls"] == {} and record["views"][0]["program"] == "SyncMVD" and record["seconds"] > 0
    assert record["device_seconds"] is None and record["clock"] is None
    assert (tmp_path / "textures/mine/sphere--red--0/mesh.glb").stat().st_size > 1000
    assert len(list((tmp_path / "official" / "mine").glob("*/log.txt"))) == 2

    # One asset is lost: only it is collected again, from what the program left, without running it.
    (checkout / "fault").write_text("crash")
    (tmp_path / "textures/mine/sphere--red--0/run.json").unlink()
    runs = step(tmp_path, "mine", checkout)
    assert [run["status"] for run in runs] == ["ok", "ok"] and runs[0]["views"][0]["kept"]

    runs = step(tmp_path, "other", checkout)
    assert [run["status"] for run in runs] == ["failed", "failed"]
    assert "SyncMVD: ended with status 1: RuntimeError: CUDA error" in runs[0]["reason"]
    capsys.readouterr()


def test_the_command_line_runs_it(tmp_path, capsys):
    checkout = make_checkout("texture", tmp_path / "there")
    block = official(checkout=str(checkout), python=sys.executable)
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(data({"mine": block})))
    mesh = tmp_path / "prism.obj"
    corners = [(0, 0, 0), (1, 0, 0), (0, 2, 0), (0, 0, 3)]
    mesh.write_text(
        "".join(f"v {x} {y} {z}\n" for x, y, z in corners) + "f 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    )
    given = ["texture", str(mesh), "a red prism", "--method", "mine", "--config", str(config)]
    assert command([*given, "--out", str(tmp_path / "prism.glb")]) == 0
    assert "textured by mine" in capsys.readouterr().err and (tmp_path / "prism.glb").is_file()
    assert len(list((tmp_path / "prism.official").glob("*/log.txt"))) == 1
    assert command([*given, "--out", str(tmp_path / "prism.glb"), "--steps", "3"]) == 2
    (checkout / "kaolin.py").unlink()
    assert command([*given, "--out", str(tmp_path / "prism.glb")]) == 2
    assert "lacks the package kaolin" in capsys.readouterr().err

"""config/as_published.yaml and the experiments that are laid over it: the published protocol, loudly."""

from pathlib import Path

import pytest
import yaml
from reference.tiny_results import tiny_settings
from snakemake.utils import update_config

from workflow.cli.main import main
from workflow.config.configuration import parse_config
from workflow.config.sheets import SPLITS, MeshRow, PromptRow, read_prompts
from workflow.jobs.assets import pair
from workflow.jobs.plan import Plan
from workflow.steps.table import table_spec

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
EXPERIMENTS = sorted((CONFIG / "as_published").glob("*.yaml"))


def plan_of(monkeypatch, *files):
    """The plan that snakemake makes of some --configfile arguments."""
    monkeypatch.chdir(ROOT)
    data = {}
    for path in files:
        update_config(data, yaml.safe_load(path.read_text()))
    return Plan(parse_config(data))


@pytest.mark.parametrize("experiment", [None, *EXPERIMENTS], ids=lambda path: path.stem if path else "base")
def test_each_experiment_trains_and_evaluates_one_mesh_with_its_prompts(monkeypatch, experiment):
    base = CONFIG / "as_published.yaml"
    plan = plan_of(monkeypatch, base, *([experiment] if experiment else []))
    assert len(plan.meshes_of(plan.assets)) == 1 and plan.model_meshes("tuned") == plan.meshes_of(plan.assets)
    trained = {(asset.mesh, asset.prompt_id) for asset in plan.trained_assets("tuned")}
    assert trained == {(asset.mesh, asset.prompt_id) for asset in plan.assets}
    assert not plan.validation_assets("tuned")
    model = plan.config.models["tuned"]
    assert model.learning_rate == 5e-5 and model.max_grad_norm is None and model.gradient.strategy == "exact"
    (term,) = model.rewards
    metric = plan.config.metrics[term.metric]
    if metric.kind == "aesthetic":
        assert (term.rig, term.size, term.crop, term.judged_size) == ("tilted_short", 1024, True, 224)
        assert (model.learn_cameras.azimuth_lr, model.learn_cameras.elevation_lr) == (0.0, 5.0)
    else:
        assert metric.form == "released" and model.learn_cameras is None
    starting = plan.config.methods["intex_starting_cameras"].preset.rig
    assert starting == plan.config.presets["texgen"].rig
    assert all("NOT HELD OUT" in line for line in [table_spec(plan.table_settings()).caption["protocol"]])
    assert "as released" in plan.config.methods["ours"].label


def test_results_of_two_experiments_do_not_mix(monkeypatch):
    base = CONFIG / "as_published.yaml"
    folders = [plan_of(monkeypatch, base, *over).config.results for over in ((), *([e] for e in EXPERIMENTS))]
    assert len(set(folders)) == len(folders) == 6


def test_held_out_protocols_say_so():
    settings = tiny_settings()
    assert "no model was trained on" in table_spec(settings).caption["protocol"]
    settings["training_pairs"] = [("ball", "dots")]
    spec = table_spec(settings)
    assert "NOT HELD OUT: 1 of 3 evaluated" in spec.caption["protocol"]
    assert not any(spec.seen_pairs.values())


def test_prompts_of_a_text_file_become_a_sheet(tmp_path, capsys):
    text, sheet = tmp_path / "prompts.txt", tmp_path / "prompts.tsv"
    text.write_text("A red ball \n\nA blue  ball\nA red ball\n")
    assert main(["prompts", str(text), "--mesh", "ball", "--out", str(sheet)]) == 0
    assert "2 prompts, 2 blank or repeated lines left out" in capsys.readouterr().out
    assert sheet.read_text().splitlines()[1:] == [
        "ball_1\tball\tA red ball\tboth",
        "ball_2\tball\tA blue ball\tboth",
    ]
    assert main(["prompts", str(tmp_path / "none.txt"), "--mesh", "ball", "--out", str(sheet)]) == 2
    text.write_text("\n")
    assert main(["prompts", str(text), "--mesh", "ball", "--out", str(sheet)]) == 2
    text.write_text("A ball\n")
    assert main(["prompts", str(text), "--mesh", "*", "--split", "training", "--out", str(sheet)]) == 0
    assert read_prompts(sheet, [])[0].prompt_id == "prompt_1"


def test_rows_of_both_splits_meet_each_other_only():
    meshes = [MeshRow(name, "procedural:x", "", "", "free", name) for name in SPLITS]
    prompts = [PromptRow(f"p_{name}", "*", "red", name) for name in SPLITS]
    for split in ("evaluation", "training"):
        pairs = [(asset.mesh, asset.prompt_id) for asset in pair(meshes, prompts, split, [0])]
        assert sorted(pairs) == sorted([(split, f"p_{split}"), ("both", "p_both")])

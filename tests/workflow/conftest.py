"""A copy of the project in a temporary folder, for tests that run snakemake or change files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from workflow.runtime import warm
from workflow.runtime.locking import work_alone

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("texgen", "rewards", "baselines", "report", "workflow", "texreward")
WEIGHTS = (
    "backbone/unet/model.safetensors",
    "backbone/controlnet_depth/model.safetensors",
    "backbone/controlnet_depth_inpaint/model.safetensors",
    "backbone/controlnet_uv_position/model.safetensors",
    "clip/model.safetensors",
    "aesthetic/head.safetensors",
    "pickscore/model.safetensors",
    "hpsv2/model.safetensors",
    "image_reward/model.safetensors",
)
STEPS = (
    "prepare_mesh",
    "finetune",
    "model_card",
    "texture",
    "score",
    "quality",
    "table",
    "overview",
    "figures",
    "gallery",
    "stages",
    "turntables",
)
# Put before the code of each step: write what the rule declares, from what the job was given.
WRITE_OUTPUTS = """
if __name__ == "__main__":
    import pathlib, sys

    from texgen.storage.records import FILES, stamps, write_record
    from texgen.storage.result_records import MESH_FILES, write_score_record

    def write_records(step, out, options, given):
        if step == "prepare_mesh":
            write_record(
                out / "mesh.json", {"mesh": out.name, "given": given, FILES: stamps(out, MESH_FILES)}
            )
        elif step == "finetune":
            names = ("pytorch_lora_weights.safetensors", "history.jsonl")
            write_record(
                out / "config.json", {"model": out.name, "given": given, FILES: stamps(out, names)}
            )
        elif step == "texture":
            manifest = pathlib.Path(options["--manifest"])
            write_record(manifest, {"method": manifest.parent.name, "given": given, "runs": []})
        elif step == "score":
            method = pathlib.Path(options["--textures"]).name
            code = dict(word.split("=", 1) for word in sys.argv if "=" in word)
            for metric in ("clipscore", "alignment"):
                record = {"metric": metric, "method": method, "code": code[metric]}
                write_score_record(out / metric / (method + ".tsv"), record)
        elif step in ("quality", "stages"):
            write_score_record(out, {})

    words = list(enumerate(sys.argv))
    options = {word: sys.argv[at + 1] for at, word in words if word.startswith("--")}
    settings = [options[each] for each in ("--settings", "--texture", "--model") if each in options]
    given = "".join(pathlib.Path(each).read_text() for each in settings) + options.get("--code", "")
    out = pathlib.Path(options["--out"]) if "--out" in options else None
    files = {
        "prepare_mesh": lambda: [
            out / name for name in ("mesh.npz", "geometry.npz", "mesh.json", "preview.png")
        ],
        "finetune": lambda: [
            out / name for name in ("pytorch_lora_weights.safetensors", "history.jsonl", "config.json")
        ],
        "model_card": lambda: [out],
        "texture": lambda: [pathlib.Path(options["--manifest"])],
        "score": lambda: [
            out / metric / (pathlib.Path(options["--textures"]).name + ".tsv")
            for metric in ("clipscore", "alignment")
        ],
        "overview": lambda: [out],
        "quality": lambda: [out],
        "table": lambda: [
            pathlib.Path(options[f"--{each}"]) for each in ("markdown", "csv", "text", "latex", "html")
        ],
        "figures": lambda: [
            out / (name + suffix)
            for name in sys.argv[sys.argv.index("--figures") + 1 :]
            for suffix in (".pdf", ".png")
        ],
        "gallery": lambda: [out],
        "stages": lambda: [out],
        "turntables": lambda: [
            out / (name + suffix)
            for name in ("pretrained", "tuned", "intex")
            for suffix in (".gif", ".mp4")
        ],
    }
    for path in files[pathlib.Path(__file__).stem]():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(given)
    write_records(pathlib.Path(__file__).stem, out, options, given)
    sys.exit()

"""
CONFIG = """
title: A small run
backbone:
  folder: models/miniature/backbone
  controlnets: {depth_inpaint: {folder: models/miniature/backbone/controlnet_depth_inpaint}}
metrics:
  clipscore: {kind: clipscore, clip: {folder: models/miniature/clip}}
  alignment: {kind: alignment}
models:
  tuned: {rewards: [{metric: alignment}], steps: 2}
methods:
  pretrained: {kind: texgen}
  tuned: {kind: texgen, model: tuned}
  intex: {kind: intex}
"""
MESHES = [
    "mesh\tsource\tsha256\trotate\tlicence\tsplit",
    "seen\tpymeshlab:cube\t\t\tfree\ttraining",
    "unseen\tpymeshlab:bone\t\t\tfree\tevaluation",
]
PROMPTS = [
    "prompt_id\tmesh\tprompt\tsplit",
    'a\t*\ta {red} one\'s "colour"\tevaluation',
    "b\tseen\ta blue one\ttraining",
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Sources, rules, profile and configurations of the project, with empty files where weights lie."""
    root = tmp_path / "project"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("config", "profiles"):
        shutil.copytree(ROOT / name, root / name)
    shutil.copy(ROOT / "Snakefile", root / "Snakefile")
    for name in WEIGHTS:
        path = root / "models" / "miniature" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.fixture
def snakemake(project: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs snakemake in the copied project; `ok=False` lets it fail."""

    def run(*arguments: str, ok: bool = True) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(project)}
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
            cwd=project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0 or not ok, done.stdout[-4000:]
        return done

    return run


@pytest.fixture
def small(project: Path, monkeypatch) -> Path:
    """The copied project with a small configuration and steps that only write their outputs."""
    monkeypatch.setenv(warm.ADDRESS, "0")  # they need none of the libraries that a server would load
    (project / "config" / "config.yaml").write_text(CONFIG)
    (project / "config" / "meshes.tsv").write_text("\n".join(MESHES) + "\n")
    (project / "config" / "prompts.tsv").write_text("\n".join(PROMPTS) + "\n")
    for step in STEPS:
        path = project / "workflow" / "steps" / f"{step}.py"
        future = "from __future__ import annotations\n"
        before, after = path.read_text().split(future, 1)
        path.write_text(before + future + WRITE_OUTPUTS + after)
    return project


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> Path:
    """Where tiny models and one finished run of them are kept: once for all processes that run tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:  # the workers' folders lie in one folder of the session
        return tmp_path_factory.getbasetemp().parent / "store"
    return tmp_path_factory.mktemp("store")


@pytest.fixture
def tiny(project: Path, store: Path) -> Path:
    """The copied project with a tiny configuration and tiny real models."""
    from reference.tiny_project import make_tiny, write_tiny_models  # loads diffusers

    models = store / "models"
    with work_alone(models):
        if not models.exists():
            write_tiny_models(models)
    make_tiny(project, models)
    return project


@pytest.fixture
def complete(tiny: Path, store: Path, snakemake) -> Path:
    """The same after a run up to the table, which is made once."""
    kept, there = ("results", ".snakemake"), store / "complete"
    with work_alone(there):
        if not there.exists():
            snakemake("results/table.md")
            for name in kept:
                shutil.copytree(tiny / name, store / "whole" / name)
            (store / "whole").rename(there)
            return tiny
    for name in kept:
        shutil.copytree(there / name, tiny / name)
    return tiny

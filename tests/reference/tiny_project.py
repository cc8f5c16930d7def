"""A whole comparison on tiny random instances of the real models: what a copied project needs to run it."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import yaml
from reference.tiny_models import write_miniature
from reference.tiny_scorers import write_clip, write_head

from workflow.provenance import read_record

SIZES = {
    "rig": "front_3view", "image_size": 32, "render_size": 32, "texture_size": 32, "steps": 2,
    "guidance_scale": 2.0, "prompt_template": "{prompt}", "negative_prompt": "",
}  # fmt: skip
MESHES = [
    "mesh\tsource\tsha256\trotate\tlicence\tsplit",
    "seen\tpymeshlab:cube\t\tz:30,x:20\tfree\ttraining",
    "unseen\tpymeshlab:cube\t\t\tfree\tevaluation",
]
PROMPTS = [
    "prompt_id\tmesh\tprompt\tsplit",
    "red\tunseen\ta red one\tevaluation",
    "blue\tunseen\ta blue one\tevaluation",
    "green\tseen\ta green one\ttraining",
]
TRAINING_STEPS = 4


def tiny_config() -> dict:
    """Two rows, one of them tuned, two metrics, two assets."""
    clip = {"folder": "models/tiny/clip"}
    return {
        "title": "Tiny",
        "backbone": {
            "folder": "models/tiny/backbone",
            "controlnets": {"depth_inpaint": {"folder": "models/tiny/backbone/controlnet_depth_inpaint"}},
        },
        "presets": {"texgen": SIZES},
        "metrics": {
            "aesthetic": {"kind": "aesthetic", "clip": clip, "head": {"path": "models/tiny/head"}},
            "clipscore": {"kind": "clipscore", "clip": clip},
        },
        "models": {
            "tuned": {
                "rewards": [{"metric": "aesthetic", "rig": "front_3view", "size": 32}],
                "steps": TRAINING_STEPS,
                "learning_rate": 0.01,
                "validation_samples": 0,
                "checkpoint_every": 1,
            }
        },
        "methods": {"pretrained": {"kind": "texgen"}, "tuned": {"kind": "texgen", "model": "tuned"}},
        "evaluation": {
            "rig": "front_4view",
            "size": 32,
            "supersample": 1,
            "backgrounds": {"white": [1.0] * 3},
        },
    }


def write_tiny_models(folder: Path) -> None:
    """The models of `tiny_config`."""
    base, _ = write_miniature(folder.with_name("written"))
    folder.mkdir()
    shutil.move(base, folder / "backbone")
    write_clip(folder / "clip")
    write_head(folder / "head")


def make_tiny(project: Path, models: Path) -> None:
    """Give a copied project the tiny configuration; models: what `write_tiny_models` has written."""
    shutil.copytree(models, project / "models" / "tiny")  # with its times, so that nothing seems newer
    (project / "config" / "config.yaml").write_text(yaml.safe_dump(tiny_config()))
    (project / "config" / "meshes.tsv").write_text("\n".join(MESHES) + "\n")
    (project / "config" / "prompts.tsv").write_text("\n".join(PROMPTS) + "\n")


# Put behind modules of a copied project that no result depends on.
SLOW = """

_fast = {name}


def _slow(*arguments):
    time.sleep({seconds})
    return _fast(*arguments)


{name} = _slow
"""


def slow_down(project: Path, seconds: float = 1.0) -> None:
    """Let every training step and every asset of a copied project take that much longer, after its record is
    written, so that there is time to interrupt a job in the middle."""
    for module, name in (
        ("texgen/finetune/history.py", "TrainingProgress.__call__"),
        ("workflow/runtime/progress.py", "Pace.finish"),
    ):
        with open(project / module, "a") as file:
            file.write(SLOW.format(name=name, seconds=seconds))


def scores(project: Path, results: str = "results") -> dict[str, str]:
    """Every score file, as text."""
    folder = project / results / "scores"
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.tsv"))}


def score_cells(project: Path, results: str = "results") -> list[dict[str, str]]:
    """The rows of table.csv without what no two runs share: seconds, memory and where."""
    with open(project / results / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    changing = ("device_seconds", "seconds", "peak_memory_bytes", "device")
    return [{key: value for key, value in row.items() if key not in changing} for row in rows]


def finished(project: Path) -> dict[str, int]:
    """Path of the record of each finished asset -> when it was written."""
    runs = (project / "results" / "textures").glob("*/*/run.json")
    return {
        str(path): path.stat().st_mtime_ns for path in runs if (read_record(path) or {}).get("status") == "ok"
    }


def trained_steps(project: Path) -> list[int]:
    """The steps that the history of the tuned model holds, in its order."""
    text = (project / "results" / "models" / "tuned" / "history.jsonl").read_text()
    return [json.loads(line)["step"] for line in text.splitlines()]

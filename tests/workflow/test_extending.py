"""How many files a contributor touches: a reward, a score and a baseline are one file and one line each.

Each is really added to a copy of the project, and really used there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
REWARD = '''
"""Redness: how much redder than green the painted surface is."""

from typing import Annotated

from pydantic import Field

from rewards.geometric.per_mesh import GeometricReward


class Redness(GeometricReward):
    """Mean of red minus green."""

    name, higher_is_better, typical_range, version = "redness", False, (-1.0, 1.0), "1"

    def __init__(self, weight: Annotated[float, Field(gt=0, description="Factor.")] = 1.0) -> None:
        self.weight = weight

    def __call__(self, textured):
        return self.weight * (textured.texture[0] - textured.texture[1]).mean()
'''
SCORE = '''
"""Brightness of renders, with a bias that it reads from a folder."""

from pathlib import Path


class Brightness:
    """Mean of the image plus a bias."""

    name, higher_is_better, typical_range, version = "brightness", True, (0.0, 1.0), "1"

    def __init__(self, bias):
        self.bias = bias

    @classmethod
    def load(cls, source, factor: float = 1.0, **options):
        return cls(factor * float((Path(source) / "bias.txt").read_text()))

    def __call__(self, images, prompts):
        return images.mean(dim=(1, 2, 3)) + self.bias
'''
BASELINE = '''
"""Two sides, painted once."""

from texgen.painting.pipeline import TexGen
from texgen.painting.presets import PRESETS


def twoview(backbone, steps: int = 4, texture_size: int = 1024):
    """The left and right sides only."""
    preset = PRESETS["texgen"].replace(rig="tilted_2view", steps=steps, texture_size=texture_size)
    return TexGen(backbone, preset)
'''
METRICS, METHODS = "METRICS = {\n", "METHODS = {\n"
ADDED = {
    "reward": (
        "rewards/geometric/redness.py",
        REWARD,
        METRICS,
        '"redness": MetricKind("rewards.geometric.redness", "Redness"),',
    ),
    "score": (
        "rewards/preference/brightness.py",
        SCORE,
        METRICS,
        '"brightness": MetricKind("rewards.preference.brightness", "Brightness"),',
    ),
    "baseline": ("baselines/twoview.py", BASELINE, METHODS, '"twoview": MethodKind("baselines.twoview"),'),
}
USED = {
    "reward": {"metrics": {"new": {"kind": "redness", "weight": 2.0}}},
    "score": {
        "metrics": {"new": {"kind": "brightness", "weights": {"folder": "models/mine"}, "factor": 2.0}}
    },
    "baseline": {"methods": {"new": {"kind": "twoview", "arguments": {"steps": 3, "texture_size": 256}}}},
}
TRIED = {
    "reward": """
metric = load_metric(plan.score_job("new").block, "cpu")
print(float(metric(Textured(sphere_mesh(4), texture, torch.ones(1, 4, 4), "a ball"))))
print(metric_kind(plan.score_job("new").block).higher_is_better, plan.score_job("new").protocol)
""",
    "score": """
metric = load_metric(plan.score_job("new").block, "cpu")
print(metric(texture[None], ["a ball"]).tolist())
print(plan.score_job("new").files())
""",
    "baseline": """
job = plan.texture_job("new")
print(build_method(job.kind, backbone(), job.preset).preset.steps, "baselines.twoview" in job.modules())
""",
}
SAID = {
    "reward": ["1.0", "False None"],
    "score": ["[0.6666", "['models/mine/model.safetensors']"],
    "baseline": ["3 True"],
}
BEFORE = """
import sys, yaml, torch
sys.path.insert(0, {tests!r})
from pathlib import Path
from reference.tiny_meshes import sphere_mesh
from reference.tiny_models import load_miniature
from rewards.base import Textured
from workflow.config.configuration import load_config
from workflow.config.metrics import metric_kind
from workflow.jobs.plan import Plan
from workflow.steps.loading import build_method
from workflow.steps.scorers import load_metric
def backbone():
    return load_miniature(Path("tiny"))
texture = torch.zeros(3, 4, 4); texture[0] = 0.5
plan = Plan(load_config("config/config.yaml"))
"""


def run(project: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(project)}
    done = subprocess.run(
        [sys.executable, *words], cwd=project, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def touched(project: Path) -> set[str]:
    """Files of the packages in a copy that are not as they are here. With a test and a page they are four."""
    return {
        path.relative_to(project).as_posix()
        for package in ("texgen", "rewards", "baselines", "report", "workflow", "texreward")
        for path in (project / package).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and differs(path, ROOT / path.relative_to(project))
    }


def differs(path: Path, original: Path) -> bool:
    return not original.is_file() or path.read_bytes() != original.read_bytes()


@pytest.mark.parametrize("what", ADDED)
def test_one_file_and_one_line_are_enough(what, project):
    path, text, table, line = ADDED[what]
    (project / path).write_text(text)
    kinds = project / "workflow" / "config" / "kinds.py"
    kinds.write_text(kinds.read_text().replace(table, f"{table}    {line}\n", 1))
    config = yaml.safe_load((project / "config" / "config.yaml").read_text())
    for block, entries in USED[what].items():
        config[block] |= entries
    (project / "config" / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (project / "models" / "mine").mkdir()
    (project / "models" / "mine" / "bias.txt").write_text("0.25")
    said = run(project, "-m", "workflow.config", "check", "config/config.yaml")
    assert "valid" in said
    run(project, "-m", "workflow.config", "schema")  # written by this command, by nobody's hand
    assert touched(project) - {"workflow/schemas/config.schema.json"} == {path, "workflow/config/kinds.py"}
    tests = str(Path(__file__).resolve().parents[1])
    said = run(project, "-c", BEFORE.format(tests=tests) + TRIED[what])
    for part in SAID[what]:
        assert part in said, said

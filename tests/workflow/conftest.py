"""A copy of the project in a temporary folder, for tests that run snakemake or change files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("texgen", "rewards", "baselines", "report", "workflow")
WEIGHTS = (
    "backbone/unet/model.safetensors",
    "backbone/controlnet_depth_inpaint/model.safetensors",
    "clip/model.safetensors",
    "aesthetic/head.safetensors",
)


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
        environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1"}
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

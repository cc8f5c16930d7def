"""The wheel, installed where there is no checkout, in a folder that has packages of the same names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

# Half a minute of one core; a machine that is busy with other things takes longer.
pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = [each.removesuffix("*") for each in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]]
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "config", "profiles")
# What the package index takes as one file.
LARGEST_WHEEL = 100_000_000
OTHERS = ("workflow", "baselines", "report")
JUNK = "raise SystemExit('a package of the folder was imported in place of an installed one')\n"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of the sources, without a network and without another environment."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in (*SOURCES, *PACKAGES, "models/miniature"):
        path = ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, source / name, ignore=ignored)
        else:
            shutil.copy(path, source / name)
    run(sys.executable, "-m", "pip", "wheel", "--no-index", *PIP, "--no-build-isolation", "-w", out, source)
    shutil.rmtree(source)
    return next(out.glob("*.whl"))


PIP = ("--quiet", "--disable-pip-version-check", "--no-deps")


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment with the wheel, which borrows everything else from this one."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    interpreter = folder / "bin" / "python"
    site = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    Path(site, "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run(sys.executable, "-m", "pip", "--python", interpreter, "install", "--no-index", *PIP, wheel)
    return interpreter


@pytest.fixture
def elsewhere(tmp_path) -> Path:
    """A folder without a checkout, in which other packages have the names of ours."""
    for name in OTHERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(JUNK)
    return tmp_path


def run(*command: object, cwd: Path | None = None, ok: bool = True) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0 or not ok, (done.stdout + done.stderr)[-4000:]
    return done


def test_the_wheel_carries_what_a_run_reads(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = [
        path for name in ("config", "profiles", "models/miniature") for path in (ROOT / name).rglob("*")
    ]
    for path in shipped:
        if path.is_file():
            assert f"texreward/shipped/{path.relative_to(ROOT).as_posix()}" in names
    for folder, pattern in (
        ("workflow", "**/*.smk"),
        ("workflow", "Snakefile"),
        ("workflow", "schemas/*.json"),
        ("workflow", "report/*.rst"),
        ("report", "templates/*"),
        ("report", "vendor/*"),
        ("rewards", "official/requirements.txt"),
        ("baselines", "official/environments/*"),
    ):
        found = [path.relative_to(ROOT).as_posix() for path in (ROOT / folder).glob(pattern)]
        assert found and names >= set(found), (folder, pattern)
    assert not any(name.startswith(("tests/", "benchmarks/")) or "__pycache__" in name for name in names)
    assert wheel.stat().st_size < LARGEST_WHEEL


def test_it_paints_and_scores_in_an_empty_folder(python, elsewhere):
    painted = run(
        python.parent / "texreward", "texture", "procedural:trefoil", "a red brick knot",
        "--out", "knot.glb", "--picture", "knot.png", "--steps", "1", "--texture-size", "64",
        cwd=elsewhere,
    )  # fmt: skip
    assert "knot.glb: textured by pretrained" in painted.stderr + painted.stdout
    assert "Loading weights" not in painted.stderr  # bars of libraries
    # By -m Python looks into the working directory first.
    scored = run(
        python, "-m", "texreward", "score", "knot.png", "--prompt", "a red brick knot",
        "--metric", "clipscore", "--metric", "aesthetic",
        cwd=elsewhere,
    )  # fmt: skip
    assert scored.stdout.splitlines()[0].split() == ["image", "clipscore", "aesthetic"]
    assert {path.name for path in elsewhere.iterdir()} == {"knot.glb", "knot.png", *OTHERS}


def test_a_new_project_runs(python, elsewhere):
    said = run(python, "-m", "texreward", "init", "mine", "--config", "smoke", cwd=elsewhere).stdout
    assert "snakemake --cores all" in said
    project = elsewhere / "mine"
    for name in OTHERS:
        shutil.copytree(elsewhere / name, project / name)
    snakemake = (python, "-m", "snakemake", "--cores", "1")
    assert "texture " in run(*snakemake, "--dry-run", cwd=project).stdout
    run(*snakemake, "results/smoke/meshes/bone/mesh.npz", cwd=project)
    assert (project / "results/smoke/meshes/bone/geometry.npz").stat().st_size
    again = run(python, "-m", "texreward", "init", "mine", cwd=elsewhere, ok=False)
    assert again.returncode == 2 and "mine/Snakefile is there already" in again.stderr


def test_an_import_of_another_package_before_is_named(python, elsewhere):
    (elsewhere / "workflow" / "__init__.py").write_text("")
    wrong = run(python, "-c", "import workflow, texreward", cwd=elsewhere, ok=False)
    assert "import texreward first, or rename that file or folder" in wrong.stderr
    right = "import texreward, workflow.config.kinds as k; print(k.__file__)"
    assert Path(run(python, "-c", right, cwd=elsewhere).stdout).is_relative_to(python.parents[1])

"""The container and the Kubernetes job fit the repository and each other. Neither is started here."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CONTAINER = (ROOT / "deploy" / "Containerfile").read_text()
CLAIM, JOB = yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text())
POD = JOB["spec"]["template"]["spec"]


def instructions(name: str) -> list[str]:
    """What stands behind one instruction of the container file, continued lines joined."""
    lines = re.sub(r"\\\n\s*", " ", CONTAINER).splitlines()
    return [line.removeprefix(name).strip() for line in lines if line.startswith(name + " ")]


def test_the_container_builds_the_environment_of_the_lock():
    assert any(line.endswith("-r requirements.lock") for line in instructions("RUN"))
    for line in instructions("COPY"):
        *sources, _ = shlex.split(line)
        assert all((ROOT / source).exists() for source in sources), line
    base = re.fullmatch(r"docker.io/library/python:(3\.\d+)-slim", instructions("FROM")[0])
    assert base and base[1] in (ROOT / "requirements.lock").read_text().splitlines()[0]


def test_what_the_container_leaves_out_is_not_needed():
    left_out = (ROOT / "deploy" / "Containerfile.dockerignore").read_text().split()
    assert {".venv", "results", ".snakemake"} <= set(left_out)
    needed = ("config", "models", "profiles", "Snakefile", "requirements.lock", "pyproject.toml")
    needed += ("workflow", "report", "baselines", "rewards", "texgen")
    assert not set(needed) & set(left_out)
    # Git is installed so that records hold the revision.
    if any(" git " in f" {line} " for line in instructions("RUN")):
        assert ".git" not in left_out


def test_the_pod_runs_a_configuration_in_the_folders_of_the_container():
    (container,) = POD["containers"]
    workdir = instructions("WORKDIR")[0]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert container["image"] == f"texreward:{version}"
    assert container["command"][0] == "snakemake"
    config = container["command"][container["command"].index("--configfile") + 1]
    assert (ROOT / config).is_file()  # `make lint` dry-runs it
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    mounts = {mount["mountPath"]: volumes[mount["name"]] for mount in container["volumeMounts"]}
    kept = mounts[f"{workdir}/{yaml.safe_load((ROOT / config).read_text()).get('results', 'results')}"]
    assert kept["persistentVolumeClaim"]["claimName"] == CLAIM["metadata"]["name"]
    assert len(mounts) == len(volumes)


@pytest.mark.parametrize("document", [CLAIM, JOB], ids=lambda document: document["kind"])
def test_every_document_names_itself(document):
    assert document["apiVersion"] in ("v1", "batch/v1") and document["metadata"]["name"].startswith(
        "texreward"
    )
    assert POD["restartPolicy"] in ("OnFailure", "Never")  # all that a job's pods may say


def test_every_environment_is_that_of_the_lock():
    locked = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if "==" in line]
    made = yaml.safe_load((ROOT / "workflow" / "envs" / "texreward.yaml").read_text())
    assert made["dependencies"] == ["pip", {"pip": locked}], "run python deploy/conda_environment.py"
    image = (ROOT / "deploy" / "texreward.def").read_text()
    assert "-r /opt/requirements.lock" in image and "requirements.lock /opt/requirements.lock" in image
    assert f"From: {instructions('FROM')[0]}" in image
    snakefile = (ROOT / "workflow" / "Snakefile").read_text()
    assert 'conda: "envs/texreward.yaml"' in snakefile and '"texreward.sif"' in snakefile
    catalogue = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())
    assert catalogue["usage"]["software-stack-deployment"]["conda"] is True


def test_the_picture_of_the_rules_shows_rules_that_exist():
    """docs/images/rules.svg, which docs/installing.md says how to draw."""
    drawn = set(re.findall(r"<text [^>]*>([a-z_]+)</text>", (ROOT / "docs/images/rules.svg").read_text()))
    files = [ROOT / "workflow/Snakefile", ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    text = "\n".join(path.read_text() for path in files)
    named = set(re.findall(r"^ *rule (\w+):", text, re.MULTILINE))
    others = {name for name in drawn - named if not name.startswith("draw_")}  # these are named by parts
    assert not others
    assert drawn >= {
        "prepare_mesh",
        "finetune",
        "texture",
        "score",
        "quality",
        "table",
        "gallery",
        "model_card",
    }

"""Write workflow/envs/texreward.yaml, the environment of `--sdm conda`, from requirements.lock.

python deploy/conda_environment.py
"""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "workflow" / "envs" / "texreward.yaml"
HEAD = """\
# The environment of `snakemake --sdm conda`: every package of requirements.lock, from which
# `python deploy/conda_environment.py` writes this file. Python is that of snakemake itself.
channels:
  - conda-forge
dependencies:
  - pip
  - pip:
"""


def environment() -> str:
    """The text of the file."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return HEAD + "".join(f"      - {line}\n" for line in lines if line and not line.startswith("#"))


if __name__ == "__main__":
    TARGET.write_text(environment(), encoding="utf-8")

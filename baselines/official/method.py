"""An authors' program as a method: (mesh, prompt, seed, progress=None) -> TextureResult.

Its textured mesh is carried to the evaluation atlas like that of any other system (`baselines.precomputed`).
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from baselines.official.adapter import OfficialError, ProgramAdapter, Setup
from baselines.official.run import run_official
from baselines.precomputed import transfer
from texgen.mesh.mesh import Mesh
from texgen.painting.pipeline import TextureResult
from texgen.painting.views import Progress
from texgen.timing import TimeSpent


class Official:
    """The wall time is that of the whole processes, loading of models included; what of it their device
    worked, and their network evaluations, cannot be known from outside. `views` is one record: program,
    commits, whether it was kept."""

    def __init__(self, adapter: ProgramAdapter, work: Path, timeout: float, texture_size: int) -> None:
        self.adapter, self.work, self.timeout, self.size = adapter, work, timeout, texture_size

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        outcome = run_official(
            self.adapter, mesh, prompt, seed, self.work / folder_name(mesh.name, prompt, seed), self.timeout
        )
        texture, painted = transfer(outcome.parts, mesh.to("cpu"), self.size)
        record = {
            "program": self.adapter.program.name,
            "commit": outcome.revision,
            "written_for": self.adapter.program.commit,
            "whole_process": True,
            "kept": outcome.kept,
        }
        took = TimeSpent(None, outcome.seconds, None)
        return TextureResult(texture, painted, took, outcome.peak_memory_bytes, {}, [record])


def folder_name(mesh: str, prompt: str, seed: int) -> str:
    """A name for the folder of one run: mesh, the prompt's first words, its hash, the seed."""
    words = re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")[:30]
    return f"{mesh}--{words}-{sha256(prompt.encode()).hexdigest()[:8]}--{seed}"


def official(
    backbone: None,
    program: str,
    work: str,
    timeout: float = 3600.0,
    texture_size: int = 1024,
    **setup: Any,
) -> Official:
    """An authors' program as a method; backbone: unused, it brings its own. work: folder that gets one folder
    per asset. setup: checkout, python and arguments, as the configuration has them. Raises OfficialError with
    one sentence for each thing that is missing."""
    adapter = ProgramAdapter(program, Setup.of(**setup))
    problems = adapter.health()
    if problems:
        raise OfficialError("\n".join(problems))
    return Official(adapter, Path(work), timeout, texture_size)

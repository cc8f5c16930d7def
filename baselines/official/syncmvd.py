"""SyncMVD (LIU-Yuxin/SyncMVD, MIT): `python run_experiment.py --config FILE`.

Traps: results go into a folder named after the clock, and when it exists the program ends without an error
and without a result; background colours are drawn from `random`, which it never seeds (`launch` does); the
file's parser does not read YAML, so the prompt is given on the command line; IPython is imported to display
an image.
"""

from __future__ import annotations

from pathlib import Path

from baselines.official.adapter import Program, ProgramTask


def write(job: ProgramTask) -> list[list[str]]:
    path = job.inputs / "syncmvd.yaml"
    path.write_text("steps: 30\ncond_type: depth\n")
    given = [f"--mesh={job.mesh}", f"--prompt={job.prompt}", f"--seed={job.seed}"]
    # Without a time in it the folder's name is known.
    given += [f"--output={job.output}", "--prefix=result", "--timeformat="]
    return [["run_experiment.py", "--config", str(path), *given]]


def result(job: ProgramTask) -> tuple[Path, Path | None]:
    return job.output / "result" / "results" / "textured.obj", None


PROGRAM = Program(
    name="SyncMVD",
    repository="https://github.com/LIU-Yuxin/SyncMVD",
    commit="04d7c4e7b1739d9bc2ed52f5bbd9639356a91d88",
    files=("run_experiment.py", "src"),
    modules=("torch", "torchvision", "pytorch3d", "diffusers", "xatlas", "cupy", "configargparse"),
    stubs=("IPython.display",),
    write=write,
    result=result,
)

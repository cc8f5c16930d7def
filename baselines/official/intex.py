"""InTeX (ashawkey/InTeX, no licence: for your own use of your own checkout): `python main.py --config YAML`.

Traps: the seed of the command line is ignored (`launch` seeds before it starts); uvs are cached beside the
mesh; a mesh with uvs keeps them unless `retex`; values of the command line are read as YAML, so the prompt
goes into a configuration of our own, made from the checkout's; dearpygui is imported without a window;
several values of `front_dir` mirror the mesh, so it stays "+z".
"""

from __future__ import annotations

from pathlib import Path

import yaml

from baselines.official.adapter import Program, ProgramTask
from baselines.official.templates import not_looked_up, read_template
from texgen.diffusion.hub_aliases import HUB_ALIASES

TEMPLATE = "configs/revani.yaml"


def write(job: ProgramTask) -> list[list[str]]:
    config = read_template(job.checkout / TEMPLATE)
    if config.get("model_key") in HUB_ALIASES:
        config["model_key"] = HUB_ALIASES[config["model_key"]]
    config |= {
        "mesh": str(job.mesh),
        "prompt": not_looked_up(job.prompt),
        "save_path": "result.obj",
        "outdir": str(job.output),
        "front_dir": "+z",
        "retex": True,
        "seed": job.seed,
        "gui": False,
    }
    path = job.inputs / "intex.yaml"
    path.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    return [["main.py", "--config", str(path)]]


def result(job: ProgramTask) -> tuple[Path, Path | None]:
    return job.output / "result.obj", job.output / "result_albedo.png"


PROGRAM = Program(
    name="InTeX",
    repository="https://github.com/ashawkey/InTeX",
    commit="6669e4c",
    files=("main.py", "guidance", TEMPLATE),
    modules=("torch", "diffusers", "transformers", "kiui", "kornia", "nvdiffrast", "omegaconf", "xatlas"),
    stubs=("dearpygui.dearpygui",),
    caches=("logs",),
    write=write,
    result=result,
)

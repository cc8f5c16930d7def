"""Paint3D (OpenTexture/Paint3D, Apache-2.0): stage 1 on views, then stage 2 on the atlas, two programs.

Traps: `--prompt` of stage 2 does not reach its last pass, whose prompt is that of the authors' example; seeds
of stage 2 are the clock's and of stage 1 one fixed number; Stable Diffusion's id is dead. So both stages get
configurations of our own, made from the checkout's templates, and no `--prompt`. Uvs are cached by the file's
stem below the working folder, where stage 2 has to find those of stage 1. Stage 2 writes no mesh: its picture
belongs to the mesh of stage 1.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from baselines.official.adapter import Program, ProgramTask
from baselines.official.templates import not_looked_up, read_template
from texgen.diffusion.hub_aliases import HUB_ALIASES

STAGES = {
    "stage1": ("controlnet/config/depth_based_inpaint_template.yaml", ("txt2img", "inpaint")),
    "stage2": ("controlnet/config/UV_based_inpaint_template.yaml", ("inpaint", "img2img")),
}
RENDERING = "paint3d/config/train_config_paint3d.py"
PROMPTS = {
    ("stage1", "txt2img"): "{prompt}",
    ("stage1", "inpaint"): "{prompt}",
    ("stage2", "inpaint"): "UV map, {prompt}, high quality",
    ("stage2", "img2img"): "UV map, {prompt}, high quality, best quality",
}


def write(job: ProgramTask) -> list[list[str]]:
    calls = []
    for stage, (template, sections) in STAGES.items():
        config = live(read_template(job.checkout / template, *sections))
        for section in sections:
            config[section]["prompt"] = PROMPTS[stage, section].replace("{prompt}", not_looked_up(job.prompt))
            config[section]["seed"] = job.seed
        path = job.inputs / f"{stage}.yaml"
        path.write_text(yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
        (job.output / stage).mkdir(exist_ok=True)
        call = [f"pipeline_paint3d_{stage}.py", "--sd_config", str(path), "--render_config", RENDERING]
        calls.append([*call, "--mesh_path", str(job.mesh), "--outdir", str(job.output / stage)])
    calls[1] += ["--texture_path", str(job.output / "stage1" / "res-0" / "albedo.png")]
    return calls


def live(value: Any) -> Any:
    """A configuration with every dead hub id replaced."""
    if isinstance(value, dict):
        return {key: live(part) for key, part in value.items()}
    if isinstance(value, list):
        return [live(part) for part in value]
    return HUB_ALIASES.get(value, value) if isinstance(value, str) else value


def result(job: ProgramTask) -> tuple[Path, Path | None]:
    picture = job.output / "stage2" / "tile_res_0" / "UV_tile_res_0.png"
    return job.output / "stage1" / "res-0" / "mesh.obj", picture


PROGRAM = Program(
    name="Paint3D",
    repository="https://github.com/OpenTexture/Paint3D",
    commit="d5545d38db6aaf78efc563269f70177688a4218e",
    files=(
        "pipeline_paint3d_stage1.py",
        "pipeline_paint3d_stage2.py",
        "paint3d",
        *(template for template, _ in STAGES.values()),
        RENDERING,
    ),
    modules=("torch", "torchvision", "kaolin", "diffusers", "transformers", "omegaconf", "cv2", "xatlas"),
    caches=("paint3d_cache", "outputs"),
    write=write,
    result=result,
)

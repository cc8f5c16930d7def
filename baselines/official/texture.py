"""TEXTure (TEXTurePaper/TEXTurePaper, MIT): `python -m scripts.run_texture --config_path=YAML`.

Traps: it caches uvs in cache/<stem> below its working folder; a prompt is a format string, in which braces of
its own would fail; options are read as YAML, so a prompt such as "yes" or "a: b" must not be given bare; the
inpainting model's id stands in the source; without a file TOKEN it insists on a login; it writes the video
before the mesh, so without imageio's ffmpeg everything is lost at the very end.
"""

from __future__ import annotations

import json
from pathlib import Path

from baselines.official.adapter import Program, ProgramTask


def write(job: ProgramTask) -> list[list[str]]:
    prompt = job.prompt.replace("{", "{{").replace("}", "}}")
    config = {
        "log": {"exp_name": "result", "exp_root": str(job.output)},
        "guide": {
            "text": f"A photo of {prompt}, {{}} view",
            "append_direction": True,
            "shape_path": str(job.mesh),
        },
        "optim": {"seed": job.seed},
    }
    path = job.inputs / "texture.yaml"
    path.write_text(json.dumps(config, indent=1, ensure_ascii=False))  # JSON is YAML
    return [["-m", "scripts.run_texture", f"--config_path={path}"]]


def result(job: ProgramTask) -> tuple[Path, Path | None]:
    folder = job.output / "result" / "mesh"
    return folder / "mesh.obj", folder / "albedo.png"


PROGRAM = Program(
    name="TEXTure",
    repository="https://github.com/TEXTurePaper/TEXTurePaper",
    commit="81e539f1ffcb7cf3b967ef480cd76d4f8084f20b",
    files=("scripts/run_texture.py", "src", "shapes/env_sphere.obj", "textures/brick_wall.png"),
    modules=("torch", "kaolin", "diffusers", "transformers", "pyrallis", "xatlas", "cv2", "imageio_ffmpeg"),
    caches=("cache", "experiments"),
    write=write,
    result=result,
)

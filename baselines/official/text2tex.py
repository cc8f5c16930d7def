"""Text2Tex (daveredrum/Text2Tex, CC BY-NC-SA 3.0): `python scripts/generate_texture.py`, options of run.sh.

Traps: the defaults of its options are not its recommended settings, so all are given; the ControlNet is one
file that must be downloaded; the inpainting model's id stands in the source; results are numbered by round
(19 is the last of 20), and the post-processed one exists beside the plain one; gradio is imported unused.
"""

from __future__ import annotations

from pathlib import Path

from baselines.official.adapter import Program, ProgramTask
from baselines.official.outputs import newest


def write(job: ProgramTask) -> list[list[str]]:
    options = {
        "input_dir": job.inputs,
        "output_dir": job.output,
        "obj_name": job.mesh.stem,
        "obj_file": job.mesh.name,
        "prompt": job.prompt,
        "ddim_steps": 50,
        "new_strength": 1,
        "update_strength": 0.3,
        "view_threshold": 0.1,
        "blend": 0,
        "dist": 1,
        "num_viewpoints": 36,
        "viewpoint_mode": "predefined",
        "update_steps": 20,
        "update_mode": "heuristic",
        "seed": job.seed,
        "device": "2080",
    }
    switches = ["--add_view_to_prompt", "--use_principle", "--post_process", "--use_objaverse"]
    # One word per option, so that a prompt that begins with a dash is still a prompt.
    given = [f"--{name}={value}" for name, value in options.items()]
    return [["scripts/generate_texture.py", *given, *switches]]


def result(job: ProgramTask) -> tuple[Path, Path | None]:
    return newest(job.output, "*/update/mesh/19_post.obj", "*/update/mesh/19.obj"), None


PROGRAM = Program(
    name="Text2Tex",
    repository="https://github.com/daveredrum/Text2Tex",
    commit="8524249",
    files=("scripts/generate_texture.py", "lib", "models/ControlNet", "samples/textures/dummy.png"),
    downloads={
        "models/ControlNet/models/control_sd15_depth.pth": "https://huggingface.co/lllyasviel/ControlNet"
    },
    modules=("torch", "pytorch3d", "diffusers", "pytorch_lightning", "open_clip", "xatlas", "trimesh"),
    stubs=("gradio",),
    caches=("outputs",),
    material=True,  # meshes without one were a reported crash
    write=write,
    result=result,
)

"""MV-Adapter (huanngzh/MV-Adapter, Apache-2.0): `python -m scripts.texture_t2tex`.

Traps: its seed is -1 (the clock's) unless given; it writes the unwrapped mesh beside the input, under a name
in which every occurrence of the ending in the whole path is replaced; it needs a GLB with a material; it
scales the mesh but does not centre it (ours is centred); two networks, for upscaling and filling, must be
downloaded.
`--variant sd21` among the arguments takes less memory than SDXL.
"""

from __future__ import annotations

from pathlib import Path

from baselines.official.adapter import Program, ProgramTask


def write(job: ProgramTask) -> list[list[str]]:
    if str(job.mesh).count(".glb") > 1:
        raise ValueError(
            f"the path {job.mesh} holds .glb more than once, and the program would replace each; "
            "choose another results folder or mesh name."
        )
    given = [f"--mesh={job.mesh}", f"--text={job.prompt}", f"--seed={job.seed}"]
    given += [f"--save_dir={job.output}", "--save_name=result"]
    return [["-m", "scripts.texture_t2tex", *given]]


def result(job: ProgramTask) -> tuple[Path, Path | None]:
    return job.output / "result_shaded.glb", None


PROGRAM = Program(
    name="MV-Adapter",
    repository="https://github.com/huanngzh/MV-Adapter",
    commit="4277e0018232bac82bb2c103caf0893cedb711be",
    files=("scripts/texture_t2tex.py", "mvadapter"),
    downloads={
        "checkpoints/RealESRGAN_x2plus.pth": (
            "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.1/RealESRGAN_x2plus.pth"
        ),
        "checkpoints/big-lama.pt": (
            "https://github.com/Sanster/models/releases/download/add_big_lama/big-lama.pt"
        ),
    },
    modules=("torch", "diffusers", "transformers", "nvdiffrast", "cvcuda", "open3d", "pymeshlab", "spandrel"),
    caches=("output",),
    mesh=".glb",
    write=write,
    result=result,
)

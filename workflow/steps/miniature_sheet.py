"""Texture unseen meshes with every plain colour and with patterned materials, for the eye: one contact sheet.

    python -m workflow.steps.miniature_sheet --config config/config.yaml --meshes results/meshes \\
        --names bunny cow airplane --out docs/images/miniature.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from workflow.runtime.step_errors import run_step

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")
MATERIALS = (
    "a red and white striped {}",
    "a blue and yellow checkered {}",
    "a white and red polka dotted {}",
    "a zebra {}",
    "a leopard {}",
    "a giraffe {}",
    "a brick {}",
    "a wooden {}",
    "a marble {}",
    "a golden {}",
    "a white crackled {}",
    "a camouflage {}",
)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--meshes", type=Path, default=Path("results/meshes"), help="prepared meshes")
    parser.add_argument("--names", nargs="+", default=["bunny", "cow", "airplane"], help="meshes to texture")
    parser.add_argument(
        "--prompts", nargs="*", help="prompts with {} for the mesh's name, instead of the usual"
    )
    parser.add_argument(
        "--method", default="pretrained", help="a method of the configuration without a model"
    )
    parser.add_argument("--views", nargs="+", default=["30,20"], help="azimuth,elevation of each picture")
    parser.add_argument("--size", type=int, default=128, help="pixels per picture")
    parser.add_argument("--out", type=Path, required=True, help="picture to write")
    options = parser.parse_args(arguments)

    from report.figures.contact_sheet import contact_sheet
    from report.pictures import MeshPictures
    from texgen.mesh.mesh import load_mesh
    from workflow.config.configuration import load_config
    from workflow.jobs.method_job import method_job
    from workflow.runtime.devices import pick_device
    from workflow.steps.loading import Adapters, load_method

    config = load_config(options.config)
    method = load_method(method_job(config, options.method), pick_device(), Adapters())()
    meshes = [load_mesh(options.meshes / name / "mesh.npz") for name in options.names]
    views = [tuple(float(angle) for angle in view.split(",")) for view in options.views]
    looks = [[MeshPictures(mesh, *view, options.size) for view in views] for mesh in meshes]
    article = {"orange": "an"}
    prompts = options.prompts or [f"{article.get(c, 'a')} {c} {{}}" for c in COLOURS] + list(MATERIALS)
    rows = []
    for prompt in prompts:
        row = []
        for mesh, sides in zip(meshes, looks, strict=True):
            texture = method(mesh, prompt.format(mesh.name), seed=0).texture.cpu()
            row += [look(texture)[0] for look in sides]
        rows.append(row)
        print(f"{len(rows)}/{len(prompts)} {prompt}", flush=True)
    columns = [name for name in options.names for _ in views]
    contact_sheet(rows, [prompt.format("…") for prompt in prompts], columns, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(run_step(main))

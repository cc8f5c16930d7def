"""The command `texreward`: texture, score, weights, status and more, without starting the workflow."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from texgen.diffusion.prompts import require_words
from texgen.storage.plain_text import terminal, without_passwords
from workflow.cli import history as cli_history
from workflow.cli import miniature as cli_miniature
from workflow.cli import plan as cli_plan
from workflow.cli import prompts as cli_prompts
from workflow.cli import score as cli_score
from workflow.cli import study as cli_study
from workflow.cli import weights as cli_weights
from workflow.cli.checks import (
    MOST_TEXELS,
    PICTURES,
    UsageError,
    below_root,
    check_mesh_output,
    check_number,
    check_output,
    check_threads,
    find_mesh,
    orientation_line,
    turns,
)
from workflow.cli.terminal import Progress, quieten_libraries, say
from workflow.config.configuration import Config, load_config
from workflow.config.kinds import ADAPTER_FILE, METHODS
from workflow.config.methods import used_of
from workflow.jobs.jobs import TextureJob
from workflow.provenance import ROOT, git_revision
from workflow.runtime.step_errors import plain_sentence


def find_adapter(config: Config, model: str) -> Path:
    """Folder of a tuned model: a path, or the name of a model that the workflow has trained."""
    for folder in (Path(model), below_root(config.results) / "models" / model):
        if (folder / ADAPTER_FILE).is_file():
            return folder
    if model in config.models:
        raise UsageError(
            f"The model {model!r} is not trained yet; run `snakemake --cores all "
            f"{config.results}/models/{model}/{ADAPTER_FILE}`."
        )
    raise UsageError(
        f"There is no model {model!r}; give a folder with {ADAPTER_FILE}"
        + (f" or one of {', '.join(config.models)}." if config.models else ".")
    )


def located(block: Any) -> Any:
    """A block of the configuration with folders and paths that can be opened from the working directory."""
    found = {}
    for name, value in block:
        if isinstance(value, BaseModel):
            found[name] = located(value)
        elif isinstance(value, dict) and any(isinstance(part, BaseModel) for part in value.values()):
            found[name] = {key: located(part) for key, part in value.items()}
        elif name in ("folder", "path", "checkout", "python", "file") and value is not None:
            found[name] = str(below_root(value))
    return block.model_copy(update=found)


def texture(options: argparse.Namespace) -> int:
    """Texture one mesh and write it."""
    read = (Path(options.mesh),)
    out = check_mesh_output(options.out, read)
    if options.texture is not None:
        picture = check_output("--texture", options.texture, PICTURES, (*read, out))
        if picture.absolute() == out.absolute():
            raise UsageError("--texture and --out name the same file; give each its own.")
    check_number("--steps", options.steps, 1, 1000)
    check_number("--seed", options.seed, 0, 2**63 - 1)
    check_number("--texture-size", options.texture_size, 16, MOST_TEXELS)
    check_threads(options.threads)
    require_words(options.prompt)
    rotate = turns(options.up, options.front, options.rotate)
    config = load_config(options.config)
    if options.method not in config.methods:
        raise UsageError(
            f"There is no method {options.method!r} in {options.config}; "
            f"allowed are {', '.join(config.methods)}."
        )
    method = config.methods[options.method]
    if method.kind == "precomputed":
        raise UsageError(
            f"The method {options.method!r} reads files that exist already; it paints nothing new."
        )
    model = options.model or method.model
    if not METHODS[method.kind].needs_backbone and (model is not None or options.steps is not None):
        raise UsageError(
            f"The method {options.method!r} is a program of its own; leave --model and --steps out."
        )
    adapter = None if model is None else find_adapter(config, model).resolve()
    mesh_file = find_mesh(options.mesh, ROOT / "resources", options.sha256)
    changes = config.changes(method.kind, method.preset) | method.arguments
    if options.steps is not None:
        changes["steps"] = options.steps
    if options.texture_size is not None:
        changes["texture_size"] = options.texture_size
    if options.rasterizer is not None:
        changes["rasterizer"] = options.rasterizer

    say(f"{without_passwords(options.mesh)}: reading; {orientation_line(rotate)}")
    import torch

    from texgen.mesh.export import save_texture_png
    from texgen.mesh.export_files import write_textured
    from texgen.mesh.mesh import MeshError
    from texgen.reading.prepare import prepare_mesh
    from workflow.runtime.devices import pick_device
    from workflow.steps.loading import build_method, load_backbone, method_parts, put_on_adapter

    try:
        mesh, problems = prepare_mesh(
            mesh_file,
            mesh_file.stem,
            uv_policy=options.uv or config.meshes.uv,
            longest_side=config.meshes.longest_side,
            rotate=rotate,
        )
    except MeshError as error:
        raise UsageError(str(error)) from None
    for problem in problems:
        say(f"warning: {problem}")
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    job = TextureJob.of(
        method=options.method,
        kind=method.kind,
        score=None if method.metric is None else located(config.metrics[method.metric]),
        official=None if method.official is None else located(method.official),
        preset=changes,
    )
    backbone = None
    if not METHODS[method.kind].needs_backbone:
        say(f"running the authors' program; its log and files are in {out.with_suffix('.official')}")
    else:
        say(f"loading {without_passwords(config.backbone.source)}")
        wanted = used_of(config.backbone, method.kind, changes)
        try:
            backbone = load_backbone(located(wanted), pick_device())
        except FileNotFoundError as error:
            raise UsageError(str(error)) from None
    if adapter is not None:
        put_on_adapter(backbone, adapter, method.lora_scale)
    device = "" if backbone is None else str(backbone.device)
    changes |= method_parts(job, device, out.with_suffix(".official"))
    paint = build_method(method.kind, backbone, changes, adapter, method.file)
    progress = Progress()
    try:
        result = paint(mesh, options.prompt, options.seed, progress)
    finally:
        progress.close()
    painted = result.texture.cpu()
    for lost in write_textured(out, mesh.to("cpu"), painted):
        say(f"warning: {lost}")
    if options.texture is not None:
        save_texture_png(Path(options.texture), painted)
    counted = [f"{count} {name} calls" for name, count in result.calls.items()]
    calls = ", ".join(counted or ["model calls not counted"])
    tuned = f" with {model}" if model else ""
    say(f"{out}: textured by {options.method}{tuned} in {result.spent.wall:.1f} s, {calls}")
    return 0


def status(options: argparse.Namespace) -> int:
    """Print what a configuration's results folder holds."""
    from workflow.jobs.plan import Plan
    from workflow.jobs.status import report, stages

    config = Path(options.config)
    if not config.is_file() and (ROOT / config).is_file():
        os.chdir(ROOT)  # called from elsewhere: the sheets and the results are the project's
    found = stages(Plan(load_config(options.config)))
    if options.json:
        print(json.dumps([asdict(stage) for stage in found], indent=2))
    else:
        print(terminal(report(found)))
    return 0


def installed_version() -> str:
    """Version of the installed package, with the commit of a checkout."""
    try:
        number = version("texreward")
    except PackageNotFoundError:
        number = "(not installed)"
    revision = git_revision()
    return number if revision is None else f"{number}, commit {revision}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="texreward", description=__doc__.splitlines()[0])
    parser.add_argument("--version", action="version", version=f"texreward {installed_version()}")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("texture", help="texture one mesh by a prompt and write a GLB")
    one.add_argument(
        "mesh",
        help="mesh file (OBJ, PLY, OFF, STL, GLB, glTF), folder with one, or a source, e.g. pymeshlab:bunny",
    )
    one.add_argument("prompt", help='what the texture shows, e.g. "a red brick bunny"')
    one.add_argument("--out", required=True, help="file to write: GLB, OBJ with MTL and PNG, PLY, USDZ")
    one.add_argument("--texture", help="also write the texture as a picture (PNG, JPEG, WebP)")
    one.add_argument(
        "--texture-size",
        type=int,
        help="texels along a side, instead of the method's",
    )
    one.add_argument(
        "--uv",
        choices=("auto", "keep", "pack", "unwrap"),
        help="uvs of the file: keep them, pack those of several parts, make new ones, or keep what can be "
        "kept (auto); default: the configuration's",
    )
    one.add_argument("--up", help="axis of the file that points up: x, y, z, -x, -y, -z (default: y)")
    one.add_argument(
        "--front", help="axis of the file that its front faces (default: z, or -y where z is up)"
    )
    one.add_argument("--rotate", help="turns instead of --up and --front, such as x:-90,y:180")
    one.add_argument("--sha256", default="", help="checksum of the mesh file; required for https addresses")
    one.add_argument(
        "--method", default="pretrained", help="a method of the configuration (default: %(default)s)"
    )
    one.add_argument("--model", help="tuned model: a folder, or a name of the configuration")
    one.add_argument("--seed", type=int, default=0, help="seed of all random draws (default: %(default)s)")
    one.add_argument("--steps", type=int, help="denoising steps per view, instead of the method's")
    one.add_argument(
        "--rasterizer",
        choices=("warp", "nvdiffrast"),
        help="what finds visible faces, instead of the method's",
    )
    one.add_argument(
        "--config",
        default=str(ROOT / "config" / "config.yaml"),
        help="configuration with the models and methods",
    )
    one.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    one.set_defaults(run=texture)
    tell = commands.add_parser("status", help="what is done, missing and failed in a results folder")
    tell.add_argument("--config", default="config/config.yaml", help="configuration (default: %(default)s)")
    tell.add_argument("--json", action="store_true", help="print it as JSON")
    tell.set_defaults(run=status)
    cli_history.add_parser(commands)
    cli_score.add_parser(commands)
    cli_weights.add_parser(commands)
    cli_plan.add_parser(commands)
    cli_study.add_parser(commands)
    cli_miniature.add_parser(commands)
    cli_prompts.add_parser(commands)
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Entry point; a mistake of the user ends in one sentence and status 2."""
    options = build_parser().parse_args(arguments)
    quieten_libraries()
    try:
        return options.run(options)
    except KeyboardInterrupt:
        say("stopped.")
        return 130
    except UsageError as error:
        say(terminal(error))
        return 2
    except Exception as error:
        sentence = plain_sentence(error)
        if sentence is None:
            raise
        say(terminal(sentence))
        return 2


if __name__ == "__main__":
    sys.exit(main())

"""The command `texreward`: texture, score, weights, status and more, without starting the workflow."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel

from texgen.plain_text import terminal
from workflow import cli_miniature, cli_plan, cli_prompts, cli_score, cli_study, cli_weights
from workflow.config import Config, load_config
from workflow.config_methods import used_of
from workflow.jobs import TextureJob
from workflow.kinds import ADAPTER_FILE, METHODS
from workflow.provenance import ROOT, git_revision
from workflow.step_errors import plain_sentence


class UsageError(ValueError):
    """A request that cannot be met, told in one sentence."""


class Progress:
    """Shows how far a method is: one line that is redrawn on a terminal, else one plain line per view."""

    def __init__(self, stream: TextIO | None = None, width: int = 30) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.width = width
        self.live = self.stream.isatty()
        self.started = time.monotonic()
        self.drawn = 0

    def __call__(self, view: int, views: int, step: int, steps: int) -> None:
        """After step `step` of `steps` in view `view` of `views`, all counted from 1."""
        if self.live:
            share = ((view - 1) + step / steps) / views
            filled = round(share * self.width)
            elapsed = time.monotonic() - self.started
            left = elapsed / share - elapsed if share > 0 else 0.0
            bar = "#" * filled + "-" * (self.width - filled)
            self._redraw(f"[{bar}] view {view}/{views}, step {step}/{steps}, about {left:.0f} s left")
        elif step == steps:
            print(f"view {view}/{views} painted", file=self.stream, flush=True)

    def close(self) -> None:
        """Leave the terminal's cursor on a fresh line."""
        if self.live and self.drawn:
            self._redraw("")
            self.stream.write("\r")
            self.stream.flush()

    def _redraw(self, text: str) -> None:
        self.stream.write("\r" + text.ljust(self.drawn))
        self.stream.flush()
        self.drawn = len(text)


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


def below_root(path: str) -> Path:
    """A path of a configuration: from the working directory, else from the root of the project."""
    return Path(path) if Path(path).exists() else ROOT / path


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


def find_mesh(name: str, cache: Path) -> Path:
    """File of a mesh given as a path or as a source such as pymeshlab:bunny."""
    if Path(name).is_file():
        return Path(name)
    if name.partition(":")[0] not in ("pymeshlab", "procedural", "file"):
        raise UsageError(f"There is no mesh file {name!r}.")
    from texgen.mesh_sources import fetch_source

    return fetch_source(name, "", cache)


def texture(options: argparse.Namespace) -> int:
    """Texture one mesh and write it."""
    out = Path(options.out)
    if out.suffix.lower() != ".glb":
        raise UsageError(f"--out is {options.out!r}; the result is a .glb file.")
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
    mesh_file = find_mesh(options.mesh, ROOT / "resources")
    changes = config.changes(method.kind, method.preset) | method.arguments
    if options.steps is not None:
        changes["steps"] = options.steps
    if options.rasterizer is not None:
        changes["rasterizer"] = options.rasterizer

    say(f"{options.mesh}: reading")
    import torch

    from texgen.export import save_texture_png, write_glb
    from texgen.mesh import MeshError
    from texgen.mesh_io import prepare_mesh
    from workflow.devices import pick_device
    from workflow.steps.loading import build_method, load_backbone, method_parts, put_on_adapter

    try:
        mesh, problems = prepare_mesh(
            mesh_file, mesh_file.stem, uv_policy=config.meshes.uv, longest_side=config.meshes.longest_side
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
        say(f"loading {config.backbone.source}")
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
    write_glb(out, mesh, painted)
    if options.texture is not None:
        save_texture_png(Path(options.texture), painted)
    counted = [f"{count} {name} calls" for name, count in result.calls.items()]
    calls = ", ".join(counted or ["model calls not counted"])
    tuned = f" with {model}" if model else ""
    say(f"{out}: textured by {options.method}{tuned} in {result.spent.wall:.1f} s, {calls}")
    return 0


def status(options: argparse.Namespace) -> int:
    """Print what a configuration's results folder holds."""
    from workflow.plan import Plan
    from workflow.status import report, stages

    found = stages(Plan(load_config(options.config)))
    if options.json:
        print(json.dumps([asdict(stage) for stage in found], indent=2))
    else:
        print(terminal(report(found)))
    return 0


def say(text: str) -> None:
    """A line for the person who waits; results go to files, so that stdout stays free."""
    print(text, file=sys.stderr, flush=True)


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
        "mesh", help="mesh file (OBJ, PLY, OFF, STL, GLB, glTF) or a source, e.g. pymeshlab:bunny"
    )
    one.add_argument("prompt", help='what the texture shows, e.g. "a red brick bunny"')
    one.add_argument("--out", required=True, help="GLB file to write")
    one.add_argument("--texture", help="also write the texture as a PNG file")
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
    warnings.filterwarnings("ignore", category=FutureWarning)
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries; ours is not tqdm
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

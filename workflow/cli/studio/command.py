"""`texreward studio`: a page on this machine to texture a mesh on."""

from __future__ import annotations

import argparse
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

from texgen import shipped
from workflow.cli.checks import (
    UsageError,
    check_number,
    check_threads,
    find_mesh,
    orientation_line,
    turns,
)
from workflow.cli.keeping import refuse_other_uvs, require_own_uvs, texture_pixels
from workflow.cli.terminal import say
from workflow.cli.texture_options import add_mesh_options
from workflow.config.configuration import load_config

PORT = 8760
BARE_GREY, BARE_SIDE = 0.72, 16


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    one = commands.add_parser("studio", help="a page on this machine to texture a mesh on")
    one.add_argument("mesh", help="mesh file, folder with one, or a source, e.g. pymeshlab:bunny")
    one.add_argument(
        "--config",
        default=shipped.project_configuration(),
        help="configuration with the models and methods",
    )
    add_mesh_options(one)
    one.add_argument(
        "--texture-in",
        metavar="PNG",
        help="a texture of the mesh to start from, of which regions can be painted again",
    )
    one.add_argument("--port", type=int, default=PORT, help="0 = any free one (default: %(default)s)")
    one.add_argument("--open", action="store_true", help="open the page in a browser")
    one.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")
    one.set_defaults(run=studio)


def studio(options: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    check_number("--port", options.port, 0, 65535)
    check_threads(options.threads)
    rotate = turns(options.up, options.front, options.rotate)
    given = None if options.texture_in is None else texture_pixels(options.texture_in)
    if given is not None:
        refuse_other_uvs(options.uv)
    config = load_config(options.config)
    path = find_mesh(options.mesh, shipped.downloads(), options.sha256)
    say(f"{path}: reading; {orientation_line(rotate)}")
    import torch

    from texgen.mesh.export import write_glb
    from texgen.mesh.mesh import MeshError
    from texgen.reading.prepare import prepare
    from workflow.cli.studio.server import Server
    from workflow.cli.studio.session import Session

    try:
        prepared = prepare(
            path,
            path.stem,
            uv_policy="keep" if given is not None else options.uv or config.meshes.uv,
            longest_side=config.meshes.longest_side,
            rotate=rotate,
            progress=say,
        )
    except MeshError as error:
        raise UsageError(str(error)) from None
    for problem in prepared.warnings:
        say(f"warning: {problem}")
    mesh = prepared.mesh
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory(prefix="texreward-studio-") as name:
        bare = Path(name) / "mesh.glb"
        write_glb(bare, mesh, torch.full((3, BARE_SIDE, BARE_SIDE), BARE_GREY))
        session = Session(mesh, config, Path(name), lambda: require_own_uvs(path, mesh, prepared.kept_uvs))
        if given is not None and options.texture_in is not None:
            session.add_texture(Path(options.texture_in).name, given)
        try:
            server = Server(session, bare, options.port)
        except OSError as error:
            raise UsageError(
                f"--port {options.port} cannot be listened on ({error.strerror}); give another, or 0 for any."
            ) from None
        say(f"open {server.address} in a browser of this machine; Ctrl-C ends it")
        if options.open:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("the studio is closed; what was not downloaded is gone.")
        finally:
            server.session.stop()
            server.server_close()
    return 0

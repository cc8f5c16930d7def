"""The options of `texreward texture`."""

from __future__ import annotations

import argparse
from typing import Any

from texgen import shipped
from texgen.reading.policies import POLICIES
from workflow.cli.texture import texture


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    one = commands.add_parser(
        "texture",
        help="texture meshes by prompts and write them",
        usage="texreward texture MESH PROMPT --out FILE [options]\n"
        "       texreward texture MESH [MESH ...] --prompt PROMPT [--prompt ...] --out FOLDER [options]",
    )
    one.add_argument(
        "inputs",
        nargs="+",
        metavar="MESH",
        help="mesh file (OBJ, PLY, OFF, STL, GLB, glTF), folder of them, or a source, e.g. pymeshlab:bunny; "
        "the last word is the prompt where neither --prompt nor --prompts is given",
    )
    one.add_argument(
        "--out",
        required=True,
        help="file to write: GLB, OBJ with MTL and PNG, PLY, USDZ; of several textures a folder, which gets "
        "a folder for each and one picture of all",
    )
    _add_inputs(one.add_argument_group("what is painted"))
    _add_region(one.add_argument_group("a texture of which a region is painted again"))
    _add_method(one.add_argument_group("how it is painted"))
    _add_outputs(one.add_argument_group("what is written besides"))
    one.set_defaults(run=texture)


def _add_inputs(group: Any) -> None:
    group.add_argument("--prompt", action="append", help="what the texture shows; again for more")
    group.add_argument(
        "--prompts", metavar="FILE", help="prompts of a file: one a line, or a sheet of prompts (.tsv)"
    )
    group.add_argument("--negative-prompt", help="what it must not show, instead of the method's words")
    group.add_argument(
        "--seed",
        type=seeds,
        action="append",
        help="seed of all random draws, or several: 0,1,2 (default: 0)",
    )
    add_mesh_options(group)


def add_mesh_options(group: Any) -> None:
    """Adds what says how a mesh file is read."""
    group.add_argument(
        "--uv",
        choices=POLICIES,
        help="uvs of the file: keep them, pack those of several parts, make new ones, or keep what can be "
        "kept (auto); default: the configuration's",
    )
    group.add_argument("--up", help="axis of the file that points up: x, y, z, -x, -y, -z (default: y)")
    group.add_argument(
        "--front", help="axis of the file that its front faces (default: z, or -y where z is up)"
    )
    group.add_argument("--rotate", help="turns instead of --up and --front, such as x:-90,y:180")
    group.add_argument("--sha256", default="", help="checksum of the mesh file; required for https addresses")


def _add_region(group: Any) -> None:
    group.add_argument(
        "--texture-in", metavar="PNG", help="the mesh's texture; what lies outside of the region is kept"
    )
    group.add_argument("--mask", metavar="PNG", help="the region: a picture of the texture's size, white")
    group.add_argument(
        "--repaint-box",
        metavar="BOX",
        help="the region: a box x0,y0,z0,x1,y1,z1 in the coordinates of the mesh's file "
        "(--repaint-box=-1,... where it begins with a minus)",
    )
    group.add_argument(
        "--repaint-part",
        metavar="NAME",
        action="append",
        help="the region: the parts with this name of a node, mesh or material; again for more",
    )


def _add_method(group: Any) -> None:
    group.add_argument(
        "--method", default="pretrained", help="a method of the configuration (default: %(default)s)"
    )
    group.add_argument(
        "--model",
        help="tuned model: a folder, a name of the configuration, or owner/name@revision of the hub",
    )
    group.add_argument(
        "--lora-scale", type=float, help="strength of the tuned model: 0 = untuned, 1 = as trained"
    )
    group.add_argument(
        "--adapter",
        help="a further adapter of the UNet, beside the tuned model: a .safetensors file, a folder, or "
        "owner/name@revision[:FILE] of the hub",
    )
    group.add_argument("--adapter-scale", type=float, help="its strength (default: 1)")
    group.add_argument("--steps", type=int, help="denoising steps per view, instead of the method's")
    group.add_argument("--texture-size", type=int, help="texels along a side, instead of the method's")
    group.add_argument(
        "--rasterizer",
        choices=("warp", "nvdiffrast"),
        help="what finds visible faces, instead of the method's",
    )
    group.add_argument(
        "--config",
        default=shipped.project_configuration(),
        help="configuration with the models and methods",
    )
    group.add_argument("--threads", type=int, help="CPU threads (default: torch's choice)")


def _add_outputs(group: Any) -> None:
    group.add_argument("--texture", help="the texture as a picture (PNG, JPEG, WebP)")
    group.add_argument(
        "--picture", metavar="FILE", help="a picture of the textured mesh, lit (PNG, JPEG, WebP)"
    )
    group.add_argument(
        "--turntable", metavar="FILM", help="a film of one turn (GIF, MP4); of several results in each folder"
    )


def seeds(text: str) -> list[int]:
    """Whole numbers separated by commas."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number or several: 0,1,2") from None

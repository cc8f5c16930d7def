"""Meshes as painters take them: from a file, a sample or a formula."""

from __future__ import annotations

import warnings
from os import PathLike, fspath

from texgen import shipped
from texgen.mesh.mesh import Mesh
from texgen.reading.prepare import prepare_mesh
from workflow.cli.checks import find_mesh, turns
from workflow.config.inputs import MeshPreparation


def read_mesh(
    source: str | PathLike[str],
    up: str | None = None,
    front: str | None = None,
    rotate: str | None = None,
    uv: str = "auto",
    sha256: str = "",
) -> Mesh:
    """A mesh, its box centred and its longest side 1.6 units, +y up and its front towards +z.

    source: a file (OBJ, PLY, OFF, STL, GLB, glTF), a folder with one, or `pymeshlab:SAMPLE`,
    `procedural:SHAPE`, `https://ADDRESS` (sha256 is then its checksum). up, front: axes of the file, x, y, z
    with an optional minus; rotate: turns such as "x:-90,y:180" (degrees) in their place. uv: keep, pack,
    unwrap or auto, see docs/texgen.md. A warning says what had to be repaired.
    Raises ValueError in one sentence for what cannot be read.

    Examples:
        >>> mesh = read_mesh("procedural:trefoil")
        >>> span = mesh.vertices.amax(0) - mesh.vertices.amin(0)
        >>> mesh.vertices.shape[1], round(float(span.max()), 3)
        (3, 1.6)
    """
    turned = turns(up, front, rotate)
    path = find_mesh(fspath(source), shipped.downloads(), sha256)
    longest_side = MeshPreparation().longest_side
    mesh, problems = prepare_mesh(path, path.stem, uv_policy=uv, longest_side=longest_side, rotate=turned)
    for problem in problems:
        warnings.warn(f"{path}: {problem}", stacklevel=2)
    return mesh

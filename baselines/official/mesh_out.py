"""The mesh file that an authors' program gets: triangles, one material at most, in a frame that is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh

from texgen.mesh.mesh import Mesh


def write_input_mesh(path: Path, mesh: Mesh, material: bool = False) -> None:
    """Write the working mesh as OBJ (positions and triangles, no uvs) or as GLB.

    Without uvs each program unwraps the mesh itself, as it does for a mesh that has none: kept uvs are where
    programs silently differ (cached, flipped, overlapping). material: give an OBJ one plain material, and one
    uv for all corners; a GLB always has them.
    """
    vertices, faces = mesh.vertices.double().cpu().numpy(), mesh.faces.cpu().numpy()
    if path.suffix == ".glb":
        plain = trimesh.Trimesh(vertices, faces, process=False)
        material = trimesh.visual.material.PBRMaterial(metallicFactor=0.0, roughnessFactor=1.0)
        plain.visual = trimesh.visual.TextureVisuals(np.zeros((len(vertices), 2)), material=material)
        path.write_bytes(plain.export(file_type="glb"))
        return
    lines = [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in vertices]
    if material:
        path.with_suffix(".mtl").write_text("newmtl plain\nKd 0.8 0.8 0.8\n")
        lines = [f"mtllib {path.stem}.mtl", *lines, "vt 0 0", "usemtl plain"]
    uv = "/1" if material else ""
    lines += [f"f {a}{uv} {b}{uv} {c}{uv}" for a, b, c in faces + 1]
    path.write_text("\n".join(lines) + "\n")

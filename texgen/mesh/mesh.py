"""The working mesh: the one object that every stage of the core shares, and its file.

A working mesh is a normalised copy of the input: `working = (rotation @ input - centre) * scale`. The
transform is kept, so exports go back to the input's coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from texgen.errors import PlainError
from texgen.mesh.parts import Structure
from texgen.storage.files import atomic_path


class MeshError(PlainError):
    """A mesh that cannot be used; the message is one sentence that names the file and how to fix it."""


def _identity() -> Tensor:
    return torch.eye(3, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Mesh:
    """A triangle mesh with texture coordinates, ready for work.

    name: how results are filed, and nothing else. vertices: [V, 3] float32, bounding box centred at the
    origin. faces: [F, 3] int64 corners in `vertices`. uvs: [T, 2] float32 (u, v) in [0, 1], v up.
    uv_faces: [F, 3] int64 corners in `uvs`; seams exist here only, `faces` is welded.
    vertex_normals: [V, 3] float32 unit, area weighted. centre: [3] float64 and scale: the normalisation.
    rotation: [3, 3] float64, applied to the input before it (identity unless the mesh table rotates it).

    For the export only, in the input's coordinates, None where nothing is known of the file: normals: [N, 3]
    float32 of face corners, and normal_faces: [F, 3]. second_uvs: [S, 2] float32, v up, and second_faces:
    [F, 3] with -1 = none, a further uv set of the file. part: [F] int64, index of `structure.parts`.
    """

    name: str
    vertices: Tensor
    faces: Tensor
    uvs: Tensor
    uv_faces: Tensor
    vertex_normals: Tensor
    centre: Tensor
    scale: float
    rotation: Tensor = field(default_factory=_identity)
    normals: Tensor | None = None
    normal_faces: Tensor | None = None
    second_uvs: Tensor | None = None
    second_faces: Tensor | None = None
    part: Tensor | None = None
    structure: Structure = Structure()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Mesh:
        """A copy on another device; `dtype` changes vertices, uvs and normals only (centre and rotation are
        in the input's coordinates, where float32 would lose the millimetres of a map)."""
        moved = {}
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, Tensor):
                working = entry.name in ("vertices", "uvs", "vertex_normals")
                moved[entry.name] = value.to(device=device, dtype=dtype if working else None)
        return replace(self, **moved)

    def face_normals(self) -> Tensor:
        """[F, 3] unit normals of the faces (0 for a face without area)."""
        return torch.nn.functional.normalize(face_cross(self.vertices, self.faces), dim=-1, eps=1e-30)

    def shape_key(self) -> tuple[int, ...]:
        """What the seeds of random draws know of the mesh: its shape, whatever it is called.

        Numbers of vertices and faces, area, and moments of the area up to the third, rounded to about a
        thousandth, so that the last digits of another file format do not matter. Texture coordinates do not
        enter: images are drawn before they are projected.
        """
        corners = self.vertices.detach().cpu().double()[self.faces.cpu()]
        a, b, c = corners.unbind(dim=1)
        area = torch.linalg.cross(b - a, c - a).norm(dim=-1, keepdim=True) / 2
        x = corners.mean(dim=1)
        powers = torch.cat((torch.ones_like(x[:, :1]), x, x * x, x * x.roll(1, dims=1), x**3), dim=1)
        # Moments of simple shapes are round numbers; divided by a root they are not on the edge of a step.
        steps = ((area * powers).sum(dim=0) * (1000 / 2**0.5)).round().long().tolist()
        return (len(self.vertices), len(self.faces), *steps)

    def input_vertices(self) -> Tensor:
        """[V, 3] float64: the vertices in the coordinates of the file that they came from."""
        rotated = self.vertices.double() / self.scale + self.centre.double()
        return rotated @ self.rotation.double()  # rows times R equal R^T times columns: the inverse rotation


def face_cross(vertices: Tensor, faces: Tensor) -> Tensor:
    """[F, 3] cross product of two edges: the face's normal times twice its area."""
    a, b, c = vertices[faces].unbind(dim=1)
    return torch.linalg.cross(b - a, c - a)


def area_weighted_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """[V, 3] unit vertex normals: the sum of the incident faces' cross products, normalised.

    Where the sum vanishes (two sheets back to back) the normal of one incident face is used, so that every
    vertex of a face has a unit normal. Vertices of no face get +y.
    """
    cross = face_cross(vertices, faces)
    total = torch.zeros_like(vertices)
    some = torch.zeros_like(vertices)
    some[:, 1] = 1.0
    for corner in range(3):
        total.index_add_(0, faces[:, corner], cross)
        some[faces[:, corner]] = cross
    length = torch.zeros(len(vertices), dtype=vertices.dtype, device=vertices.device)
    for corner in range(3):
        length.index_add_(0, faces[:, corner], cross.norm(dim=-1))
    cancelled = total.norm(dim=-1) <= 1e-6 * length
    total = torch.where(cancelled[:, None], some, total)
    return torch.nn.functional.normalize(total, dim=-1, eps=1e-30)


def save_mesh(mesh: Mesh, path: Path | str) -> None:
    """Write a mesh as .npz, to a temporary name first."""
    arrays = {"name": np.array(mesh.name), "scale": np.array(mesh.scale, dtype=np.float64)}
    arrays["structure"] = np.array(mesh.structure.to_json())
    for entry in fields(mesh):
        value = getattr(mesh, entry.name)
        if isinstance(value, Tensor):
            arrays[entry.name] = value.detach().cpu().numpy()
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **arrays)


def load_mesh(path: Path | str) -> Mesh:
    """Read a mesh that `save_mesh` wrote. Never unpickles. Raises MeshError when it is no such file."""
    if not Path(path).is_file():
        raise MeshError(
            f"There is no prepared mesh at {path}; run the step workflow.steps.prepare_mesh first."
        )
    try:
        with np.load(path, allow_pickle=False) as stored:
            values = {
                entry.name: torch.from_numpy(stored[entry.name])
                for entry in fields(Mesh)
                if entry.name not in ("name", "scale", "structure")
                and (entry.name in stored or entry.default is not None)
            }
            structure = Structure.from_json(str(stored["structure"]))
            name, scale = str(stored["name"]), float(stored["scale"])
            return Mesh(name=name, scale=scale, structure=structure, **values)
    except Exception as error:  # a truncated zip, a missing array and a pickle all raise their own kinds
        raise MeshError(
            f"{path} is not a prepared mesh ({error}); delete it and prepare the mesh again."
        ) from error

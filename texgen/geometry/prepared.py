"""What geometric rewards need of one mesh, computed once by the step that prepares it, and its file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from texgen.geometry.curvature import RADIUS, principal_curvatures
from texgen.geometry.mirror_plane import ClosestPoints, MirrorPatches, MirrorPlane, find_plane, mirror_patches
from texgen.geometry.uv_frames import bake, uv_line_field
from texgen.mesh.mesh import Mesh, MeshError
from texgen.render.atlas import Atlas, build_atlas, texel_barycentrics
from texgen.storage.files import atomic_path

# Raised whenever fields are added or mean something else; files of other formats are refused.
FORMAT = 2
# Curvature of a sphere 25 times the object's size: below it, which of two curvatures is larger is noise.
FLAT = 0.05


@dataclass(frozen=True, eq=False)
class PreparedGeometry:
    """Fields of one mesh at one texture size T; texel fields are 0 outside the charts.

    min_direction_tensor: [3, T, T], d d^T of the minimum curvature's direction in uv (xx, xy, yy), trace 1.
    anisotropy: [1, T, T] in [0, 1], |k1 - k2| / (|k1| + |k2| + FLAT). mean_curvature: [1, T, T],
    (k1 + k2) / 2 in 1 / working length, positive where convex. vertex_curvature: [V, 2], minimum and maximum.
    vertex_direction: [V, 3], unit direction of minimum curvature, 0 where there is none. plane: the best
    mirror plane, with its residual. patches: surface points of its one side and their mirror images.
    """

    min_direction_tensor: Tensor
    anisotropy: Tensor
    mean_curvature: Tensor
    vertex_curvature: Tensor
    vertex_direction: Tensor
    plane: MirrorPlane
    patches: MirrorPatches
    atlas: Atlas

    def to(self, device: torch.device | str) -> PreparedGeometry:
        """A copy on another device; the plane stays on the CPU."""
        patches = MirrorPatches(*(getattr(self.patches, each.name).to(device) for each in _PATCHES))
        texels = [getattr(self, name).to(device) for name in _FIELDS]
        return PreparedGeometry(*texels, self.plane, patches, self.atlas.to(device))

    def save(self, path: Path | str) -> None:
        """Write all fields as .npz, to a temporary name first."""
        arrays = {name: getattr(self, name) for name in _FIELDS}
        arrays |= {f"atlas_{name}": getattr(self.atlas, name) for name in _ATLAS}
        arrays |= {f"patches_{each.name}": getattr(self.patches, each.name) for each in _PATCHES}
        plane = [*self.plane.normal.tolist(), self.plane.offset, self.plane.residual]
        arrays["plane"] = torch.tensor(plane, dtype=torch.float64)
        stored = {name: value.cpu().numpy() for name, value in arrays.items()}
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, format=np.array(FORMAT), **stored)

    @staticmethod
    def load(path: Path | str) -> PreparedGeometry:
        """Read what `save` wrote. Never unpickles. Raises MeshError for other files and older formats."""
        if not Path(path).is_file():
            raise MeshError(
                f"There is no prepared geometry at {path}; run the step workflow.steps.prepare_mesh."
            )
        try:
            with np.load(path, allow_pickle=False) as stored:
                found = int(stored["format"]) if "format" in stored else 1
                arrays = {name: torch.from_numpy(stored[name]) for name in stored if name != "format"}
            if found == FORMAT:
                plane = arrays["plane"]
                return PreparedGeometry(
                    *(arrays[name] for name in _FIELDS),
                    MirrorPlane(plane[:3].clone(), float(plane[3]), float(plane[4])),
                    MirrorPatches(*(arrays[f"patches_{each.name}"] for each in _PATCHES)),
                    Atlas(*(arrays[f"atlas_{name}"] for name in _ATLAS)),
                )
        except Exception as error:  # a truncated zip, a missing array and a pickle all raise their own kinds
            raise MeshError(
                f"{path} is not a prepared geometry ({error}); delete it and prepare the mesh again."
            ) from error
        raise MeshError(
            f"{path} has format {found} of prepared geometry and this version reads format {FORMAT}; "
            "prepare the mesh again."
        )


_FIELDS = (
    "min_direction_tensor",
    "anisotropy",
    "mean_curvature",
    "vertex_curvature",
    "vertex_direction",
)
_ATLAS = ("face", "position", "normal", "mask")
_PATCHES = fields(MirrorPatches)


def prepare_geometry(mesh: Mesh, texture_size: int, radius: int = RADIUS) -> PreparedGeometry:
    """Compute all fields of a mesh for textures of `texture_size`; `radius` as in `principal_curvatures`."""
    atlas = build_atlas(mesh, texture_size)
    d_min, _, k_min, k_max = principal_curvatures(mesh, radius)
    bary = texel_barycentrics(mesh, atlas)
    anisotropy = (k_max - k_min) / (k_max.abs() + k_min.abs() + FLAT)
    surface = ClosestPoints(mesh)
    plane = find_plane(mesh, surface)
    return PreparedGeometry(
        min_direction_tensor=uv_line_field(mesh, atlas, d_min, bary),
        anisotropy=bake(mesh, atlas, anisotropy[:, None], bary),
        mean_curvature=bake(mesh, atlas, (k_min + k_max)[:, None] / 2, bary),
        vertex_curvature=torch.stack((k_min, k_max), dim=-1),
        vertex_direction=d_min,
        plane=plane,
        patches=mirror_patches(mesh, plane, surface),
        atlas=atlas,
    )

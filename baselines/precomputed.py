"""Bring your own: textured GLBs that some other system made, scored like any method.

Each GLB must show the evaluation mesh. Its colours are carried over to the evaluation atlas by nearest
surface point, so its own uvs, its number of faces and the coordinates of a program that normalises do not
matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import igl
import numpy as np
import torch
import trimesh
from torch import Tensor

from texgen.backprojection.fill import fill_uncovered
from texgen.diffusion.backbone import Backbone
from texgen.mesh.mesh import Mesh
from texgen.painting.measured import Painted, TextureResult, measured
from texgen.painting.views import Progress
from texgen.render.atlas import build_atlas
from texgen.render.texture_lookup import sample

TOLERANCE = 0.02
"""Largest distance between the surfaces, as a share of the longest side, at which they count as the same."""


@dataclass(frozen=True, eq=False)
class TexturedPart:
    """One textured part of a GLB. vertices: [V, 3] in the file's coordinates. faces: [F, 3]. uvs: [V, 2] with
    v up. texture: [3, H, W] in [0, 1], row 0 at v = 0."""

    vertices: np.ndarray
    faces: np.ndarray
    uvs: np.ndarray
    texture: Tensor


def read_parts(path: Path) -> list[TexturedPart]:
    """The parts of a GLB with their base colours (textures times factors; no lighting, no vertex colours).

    Raises ValueError for a file without triangles, and for a texture without uvs.
    """
    scene = trimesh.load(path, process=False)
    dumped = scene.dump() if isinstance(scene, trimesh.Scene) else [scene]
    parts = []
    for geometry in dumped:
        if not isinstance(geometry, trimesh.Trimesh) or not len(geometry.faces):
            continue
        material = getattr(geometry.visual, "material", None)
        image = getattr(material, "baseColorTexture", None)
        factor = getattr(material, "baseColorFactor", None)
        # glTF's default is white; trimesh stores factors as bytes.
        colour = torch.ones(3) if factor is None else torch.tensor([float(c) / 255 for c in factor[:3]])
        uvs = getattr(geometry.visual, "uv", None)
        if image is None:
            texture, uvs = torch.ones(3, 1, 1), np.zeros((len(geometry.vertices), 2))
        elif uvs is None:
            raise ValueError(f"{path}: a part has a texture but no uvs; export it with TEXCOORD_0.")
        else:
            pixels = torch.from_numpy(np.array(image.convert("RGB")))
            texture = pixels.permute(2, 0, 1).flip(1).float() / 255
        vertices, faces = np.asarray(geometry.vertices, np.float64), np.asarray(geometry.faces, np.int64)
        parts.append(TexturedPart(vertices, faces, np.asarray(uvs), texture * colour.view(3, 1, 1)))
    if not parts:
        raise ValueError(f"{path}: holds no triangles.")
    return parts


def aligned(vertices: np.ndarray, faces: np.ndarray, mesh: Mesh) -> np.ndarray:
    """The vertices of a GLB moved onto a working mesh, [V, 3].

    Tried in turn: the coordinates of the mesh's own file; the same, normalised by whatever program wrote the
    GLB; normalised, and already turned. Raises ValueError when none of them brings the surfaces together.
    """
    rotation = mesh.rotation.double().cpu().numpy()
    turned = vertices @ rotation.T
    target = mesh.vertices.double().cpu().numpy()
    own = (turned - mesh.centre.double().cpu().numpy()) * mesh.scale
    distances = []
    for candidate in (own, boxed(turned, target), boxed(vertices, target)):
        distances.append(surface_gap(candidate, faces, target, mesh.faces.cpu().numpy()))
        if distances[-1] <= TOLERANCE:
            return candidate
    raise ValueError(
        f"Its surface is not that of the mesh {mesh.name!r}: even normalised they are {min(distances):.1%} "
        "of the longest side apart; export the same mesh with +y up, facing +z, or as in the mesh's file."
    )


def surface_gap(
    vertices: np.ndarray, faces: np.ndarray, target: np.ndarray, target_faces: np.ndarray
) -> float:
    """How far two surfaces are apart, as a share of the target's longest side: the distance that 99 % of the
    vertices of each keep to the other."""
    there, _, _ = _nearest(target, vertices, faces)
    back, _, _ = _nearest(vertices, target, target_faces)
    # The greatest distance is that of some vertex; a few of the target may lie in parts that it lacks.
    return float(max(np.quantile(there, 0.99), np.quantile(back, 0.99)) / np.ptp(target, axis=0).max())


def boxed(vertices: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Vertices with the target's bounding box centre and longest side."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    scale = np.ptp(target, axis=0).max() / max((high - low).max(), 1e-12)
    return (vertices - (low + high) / 2) * scale + (target.min(axis=0) + target.max(axis=0)) / 2


def _nearest(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distance, face and nearest point of a surface for each point."""
    squared, face, point = igl.point_mesh_squared_distance(
        np.ascontiguousarray(points), np.ascontiguousarray(vertices), np.ascontiguousarray(faces)
    )[:3]
    return np.sqrt(np.maximum(squared, 0)), face, point


def transfer(parts: list[TexturedPart], mesh: Mesh, size: int) -> tuple[Tensor, Tensor]:
    """Texture [3, size, size] of the evaluation atlas, padded, and the charts' mask [1, size, size]."""
    vertices = np.concatenate([part.vertices for part in parts])
    counts = [len(part.vertices) for part in parts]
    offsets = np.cumsum([0, *counts[:-1]])
    faces = np.concatenate([part.faces + o for part, o in zip(parts, offsets, strict=True)])
    owner = np.repeat(np.arange(len(parts)), [len(part.faces) for part in parts])
    uvs = np.concatenate([part.uvs for part in parts])
    vertices = aligned(vertices, faces, mesh)

    atlas = build_atlas(mesh, size)
    inside = atlas.mask[0] > 0
    points = atlas.position[inside].double().cpu().numpy()
    _, face, nearest = _nearest(points, vertices, faces)
    corners = vertices[faces[face]]
    weights = _barycentrics(nearest, corners)
    uv = torch.from_numpy((uvs[faces[face]] * weights[..., None]).sum(axis=1)).float()
    colours = torch.empty(len(uv), 3)
    for index, part in enumerate(parts):
        chosen = torch.from_numpy(owner[face] == index)
        # glTF repeats textures by default; exact ones, as uvs of an atlas are, stay as they are.
        wrapped = torch.where((uv[chosen] < 0) | (uv[chosen] > 1), uv[chosen] % 1, uv[chosen])
        colours[chosen] = sample(part.texture, wrapped)
    texture = torch.zeros(3, size, size)
    texture[:, inside.cpu()] = colours.T
    return fill_uncovered(texture, atlas.mask.cpu(), atlas.to("cpu")), atlas.mask.cpu()


def _barycentrics(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """[P, 3] weights of points [P, 3] in triangles [P, 3, 3] that hold them."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    square = np.maximum((normal * normal).sum(axis=1), 1e-300)
    second = (np.cross(points - a, c - a) * normal).sum(axis=1) / square
    third = (np.cross(b - a, points - a) * normal).sum(axis=1) / square
    weights = np.clip(np.stack([1 - second - third, second, third], axis=1), 0, None)
    return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)


class Precomputed:
    """The method: (mesh, prompt, seed, progress=None) -> TextureResult, from files. It costs no model calls;
    its seconds are those of the transfer, not of whatever made the files."""

    def __init__(
        self, backbone: Backbone, folder: Path, names: Mapping[tuple, str], texture_size: int
    ) -> None:
        self.backbone, self.folder, self.names, self.size = backbone, folder, names, texture_size

    def file_of(self, mesh: str, prompt: str, seed: int) -> Path:
        """FOLDER/ASSET.glb or FOLDER/ASSET/mesh.glb, with ASSET = mesh--prompt_id--seed.

        Raises FileNotFoundError when there is neither.
        """
        name = self.names[(mesh, prompt, seed)]
        for path in (self.folder / f"{name}.glb", self.folder / name / "mesh.glb"):
            if path.is_file():
                return path
        raise FileNotFoundError(
            f"{self.folder} holds neither {name}.glb nor {name}/mesh.glb; add one of them."
        )

    def __call__(self, mesh: Mesh, prompt: str, seed: int, progress: Progress | None = None) -> TextureResult:
        path = self.file_of(mesh.name, prompt, seed)

        def work() -> Painted:
            try:
                texture, painted = transfer(read_parts(path), mesh.to("cpu"), self.size)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from error
            return Painted(texture, painted)

        return measured(self.backbone, work)


def precomputed(
    backbone: Backbone,
    folder: str,
    assets: list[dict[str, Any]],
    texture_size: int = 1024,
    steps: int | None = None,
) -> Precomputed:
    """Files as a method. assets: records with asset, mesh, prompt and seed. steps: accepted and unused, since
    jobs try every method with one step first."""
    names = {(a["mesh"], a["prompt"], a["seed"]): a["asset"] for a in assets}
    return Precomputed(backbone, Path(folder), names, texture_size)

"""The mirror plane of a mesh, how well the mesh obeys it, and which surface points mirror each other.

Candidates are the principal axes of the surface (moments of area, not of vertices) and the three world axes,
through the area centroid. Each is refined, scored by how far mirrored surface points lie from the surface,
and the best is kept. The released code of arXiv 2506.18331 takes the smallest covariance eigenvector of the
vertices without asking whether the mesh is symmetric about it (`rewards.geometric.symmetry`).

For surface points p and their images' closest points q the plane n . x = d that minimises
    sum |mirror(p) - q|^2 = sum |p - q|^2 + 4 (n . p - d)(n . q - d)
is known in closed form: d = n . mean((p + q) / 2), and n the smallest eigenvector of the symmetric part of
sum (p - c)(q - c)^T with c that mean. Refinement repeats it with new closest points.
"""

from __future__ import annotations

from dataclasses import dataclass

import igl
import numpy as np
import torch
from torch import Tensor

from texgen.mesh.mesh import Mesh, face_cross
from texgen.seeds import generator

SEARCH_POINTS, FINAL_POINTS = 512, 4096
REFINEMENTS, REFINED_CANDIDATES = 20, 3
TRIM = 0.8  # share of the closest points that a refinement step believes
TIE = 1.25, 5e-4  # residuals within this factor or this much of the best are as good as the best


@dataclass(frozen=True, eq=False)
class MirrorPlane:
    """The plane normal . x = offset, normal [3] float64 of unit length, in working coordinates.

    residual: mean distance of mirrored surface points (sampled by area) from the surface, divided by the
    diagonal of the bounding box; 0 for a mesh that is exactly symmetric.
    """

    normal: Tensor
    offset: float
    residual: float

    def mirror(self, points: Tensor) -> Tensor:
        """Mirror images of points [..., 3]."""
        normal = self.normal.to(points)
        return points - 2 * ((points @ normal)[..., None] - self.offset) * normal


@dataclass(frozen=True, eq=False)
class MirrorPatches:
    """P small patches of the plane's positive side, sampled by area, with K points each, and their images.

    uv, mirror_uv: [P, K, 2] float32. valid: [P, K] bool; False where a point fell off its patch, or where its
    image is far from the surface or on a side of it that faces elsewhere. Values there mean nothing.
    """

    uv: Tensor
    mirror_uv: Tensor
    valid: Tensor


class ClosestPoints:
    """Closest points of one mesh, in float64; the search tree is built once."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.vertices = np.ascontiguousarray(mesh.vertices.detach().double().cpu().numpy())
        self.faces = np.ascontiguousarray(mesh.faces.cpu().numpy())
        self._tree = igl.AABB()
        self._tree.init(self.vertices, self.faces)
        cross = np.cross(
            self.vertices[self.faces[:, 1]] - self.vertices[self.faces[:, 0]],
            self.vertices[self.faces[:, 2]] - self.vertices[self.faces[:, 0]],
        )
        self.normals = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-300)

    def closest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """points [N, 3] -> (distance [N], face [N], closest point [N, 3])."""
        square, face, point = self._tree.squared_distance(
            self.vertices, self.faces, np.ascontiguousarray(points, dtype=np.float64)
        )
        return np.sqrt(np.maximum(square, 0)), face.astype(np.int64), point

    def uv(self, face: np.ndarray, points: np.ndarray) -> Tensor:
        """Texture coordinates [N, 2] float32 of points [N, 3] on faces [N]."""
        corners = self.vertices[self.faces[face]]
        bary = torch.from_numpy(barycentrics(points, corners))
        uvs = self.mesh.uvs.double().cpu()[self.mesh.uv_faces.cpu()[torch.from_numpy(face)]]
        return (uvs * bary[..., None]).sum(dim=1).float()


def barycentrics(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """[N, 3] barycentrics of points [N, 3] in triangles [N, 3, 3], clamped to the triangle."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normal = np.cross(b - a, c - a)
    square = np.maximum((normal * normal).sum(-1), 1e-300)
    first = (np.cross(c - b, points - b) * normal).sum(-1) / square
    second = (np.cross(a - c, points - c) * normal).sum(-1) / square
    weights = np.clip(np.stack((first, second, 1 - first - second), -1), 0, 1)
    return weights / weights.sum(-1, keepdims=True)


def sample_surface(mesh: Mesh, count: int, seed: str = "surface") -> tuple[np.ndarray, np.ndarray]:
    """`count` points spread evenly by area: (points [count, 3] float64, face [count] int64).

    Systematic along the running sum of face areas, at random inside the faces; the same every time.
    """
    area = face_cross(mesh.vertices.detach().double().cpu(), mesh.faces.cpu()).norm(dim=-1)
    random = generator(seed, count)
    share = (torch.arange(count, dtype=torch.float64) + torch.rand(count, generator=random)) / count
    running = area.cumsum(0)
    face = torch.searchsorted(running, share * running[-1]).clamp(max=len(area) - 1)
    r, s = torch.rand(2, count, generator=random, dtype=torch.float64)
    r = r.sqrt()
    bary = torch.stack((1 - r, r * (1 - s), r * s), dim=-1)
    corners = mesh.vertices.detach().double().cpu()[mesh.faces.cpu()[face]]
    return (corners * bary[..., None]).sum(dim=1).numpy(), face.numpy()


def surface_axes(mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Area centroid [3] and principal axes [3, 3] (rows, by rising moment) of the surface, exactly.

    Over a triangle with corners a, b, c and centroid g the second moment is
    area / 12 (a a^T + b b^T + c c^T + 9 g g^T).
    """
    corners = mesh.vertices.detach().double().cpu().numpy()[mesh.faces.cpu().numpy()]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    middle = corners.mean(axis=1)
    centre = (area[:, None] * middle).sum(0) / area.sum()
    corners, middle = corners - centre, middle - centre
    moment = np.einsum("f,fki,fkj->ij", area, corners, corners)
    moment = (moment + 9 * np.einsum("f,fi,fj->ij", area, middle, middle)) / (12 * area.sum())
    return centre, np.linalg.eigh(moment)[1].T


def find_plane(mesh: Mesh, surface: ClosestPoints | None = None) -> MirrorPlane:
    """The best mirror plane of a mesh; look at its residual before believing it.

    Where several planes are as good as each other (a box, a ball), the one that separates left from right is
    taken, i.e. the normal nearest to the x axis. Deterministic.
    """
    surface = ClosestPoints(mesh) if surface is None else surface
    diagonal = float(np.linalg.norm(np.ptp(surface.vertices, axis=0)))
    centre, axes = surface_axes(mesh)
    points, _ = sample_surface(mesh, SEARCH_POINTS)

    def residual(normal: np.ndarray, offset: float, points: np.ndarray) -> float:
        return float(surface.closest(_mirror(points, normal, offset))[0].mean()) / diagonal

    starts = [(axis, float(axis @ centre)) for axis in (*np.eye(3), *axes)]
    starts = sorted(starts, key=lambda plane: residual(*plane, points))
    found = []
    for normal, offset in starts[:REFINED_CANDIDATES]:
        refined = _refine(surface, points, normal, offset)
        found += [(residual(*plane, points), *plane) for plane in ((normal, offset), refined)]
    best = min(each[0] for each in found)
    equal = [each for each in found if each[0] <= max(best * TIE[0], best + TIE[1])]
    _, normal, offset = max(equal, key=lambda each: round(abs(float(each[1][0])), 3))
    if normal[np.abs(normal).argmax()] < 0:
        normal, offset = -normal, -offset
    many, _ = sample_surface(mesh, FINAL_POINTS)
    return MirrorPlane(torch.from_numpy(normal.copy()), float(offset), residual(normal, offset, many))


def mirror_patches(
    mesh: Mesh,
    plane: MirrorPlane,
    surface: ClosestPoints | None = None,
    patches: int = 768,
    points: int = 16,
    radius: float = 0.05,
    tolerance: float = 0.04,
) -> MirrorPatches:
    """Patches by area with their images; radius and tolerance in working units (the longest side is 1.6).

    A patch is a disc in the tangent plane of its centre, moved to the closest surface. tolerance: largest
    distance of an image from the surface. Images must land on faces that face as the mirrored face does,
    within 60 degrees: the other side of an ear is not a partner.
    """
    surface = ClosestPoints(mesh) if surface is None else surface
    normal = plane.normal.numpy()
    centres, face = sample_surface(mesh, 2 * patches, "patches")
    side = centres @ normal > plane.offset
    if not side.any():  # a flat sheet in its own mirror plane
        nothing = torch.zeros(0, points, 2)
        return MirrorPatches(nothing, nothing, nothing[..., 0] > 0)
    centres, face = centres[side], face[side]
    count = len(centres)

    angle = 2 * np.pi * torch.rand(count, 1, generator=generator("patches", count), dtype=torch.float64)
    order = np.arange(points)
    spiral = angle.numpy() + order * np.pi * (3 - np.sqrt(5))  # sunflower: evenly spread over the disc
    length = radius * np.sqrt((order + 0.5) / points)
    along, across = _tangents(surface.normals[face])
    offset = (length * np.cos(spiral))[..., None] * along[:, None]
    offset = offset + (length * np.sin(spiral))[..., None] * across[:, None]
    wanted = (centres[:, None] + offset).reshape(-1, 3)

    distance, at, found = surface.closest(wanted)
    facing = (surface.normals[at] * np.repeat(surface.normals[face], points, axis=0)).sum(-1)
    valid = (distance <= radius) & (facing > 0.5)
    image_distance, image_at, image = surface.closest(_mirror(found, normal, plane.offset))
    mirrored = surface.normals[at] - 2 * (surface.normals[at] @ normal)[:, None] * normal
    valid &= (image_distance <= tolerance) & ((surface.normals[image_at] * mirrored).sum(-1) > 0.5)
    return MirrorPatches(
        surface.uv(at, found).reshape(count, points, 2),
        surface.uv(image_at, image).reshape(count, points, 2),
        torch.from_numpy(valid.reshape(count, points)),
    )


def _mirror(points: np.ndarray, normal: np.ndarray, offset: float) -> np.ndarray:
    return points - 2 * ((points @ normal) - offset)[:, None] * normal


def _refine(
    surface: ClosestPoints, points: np.ndarray, normal: np.ndarray, offset: float
) -> tuple[np.ndarray, float]:
    for _ in range(REFINEMENTS):
        distance, _, image = surface.closest(_mirror(points, normal, offset))
        trusted = distance <= np.quantile(distance, TRIM)
        p, q = points[trusted], image[trusted]
        centre = (p.mean(0) + q.mean(0)) / 2
        moment = (p - centre).T @ (q - centre)
        axes = np.linalg.eigh(moment + moment.T)[1].T
        new = axes[0]
        change = 1 - abs(float(new @ normal))
        normal, offset = new, float(new @ centre)
        if change < 1e-10:
            break
    return normal, offset


def _tangents(normals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors [N, 3] each that span the plane of each normal [N, 3]."""
    helper = np.eye(3)[np.abs(normals).argmin(axis=1)]
    along = np.cross(normals, helper)
    along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
    return along, np.cross(normals, along)

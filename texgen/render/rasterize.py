"""Which face does a ray, or a pixel, see: Warp ray queries by default, nvdiffrast where it is installed.

The answers are not differentiable; `interpolate.barycentrics` makes a differentiable function of them.

Warp intersects faces by Woop's watertight test (float32 with a float64 retry when an edge function is exactly
0), so a ray through a shared edge or vertex of a closed mesh hits one of the faces around it.
"""

import math
import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import cache

import torch
import warp as wp
from torch import Tensor

from texgen.errors import PlainError, package_trouble
from texgen.render.cameras import (
    Cameras,
    Size,
    clip_from_world,
    image_size,
    pixel_rays,
    transform,
    view_from_world,
)
from texgen.render.interpolate import hit_corners, mix_corners, pixel_barycentrics, spread

# Set before the first call, which otherwise prints a list of devices and the kernels it loads.
wp.config.log_level = wp.LOG_ERROR


@cache
def start_warp() -> None:
    """Initialise Warp once. Its native part tells the terminal itself where there is no GPU; that is no news
    here, so both streams are away meanwhile."""
    streams = (1, 2)
    kept = [os.dup(stream) for stream in streams]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for stream in streams:
            os.dup2(nowhere, stream)
        wp.init()
    finally:
        for stream, copy in zip(streams, kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        os.close(nowhere)


@dataclass(frozen=True, eq=False)
class Fragments:
    """What N cameras see.

    face: [N, H, W] int64, -1 = nothing. bary: [N, H, W, 3] perspective-correct, 0 where nothing.
    depth: [N, H, W] distance along the view axis (positive, world units), 0 where nothing.
    """

    face: Tensor
    bary: Tensor
    depth: Tensor


@wp.kernel(enable_backward=False)
def _first_hit_kernel(
    mesh: wp.uint64,
    origins: wp.array(dtype=wp.vec3),
    directions: wp.array(dtype=wp.vec3),
    max_distance: float,
    face: wp.array(dtype=wp.int32),
    distance: wp.array(dtype=float),
    weights: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    query = wp.mesh_query_ray(mesh, origins[i], directions[i], max_distance)
    if query.result:
        face[i] = query.face
        distance[i] = query.t
        weights[i] = wp.vec3(query.u, query.v, 1.0 - query.u - query.v)


def _padded_mesh(corners: Tensor) -> wp.Mesh:
    """A Warp mesh of the faces [F, 3, 3] whose tree has slightly larger boxes than the faces need.

    Warp's box test rounds, and alone would lose rays that touch a box at its border: those through a vertex
    that is extreme in every box around it. The tree is therefore built from stand-ins that span the padded
    boxes, and the true corners are written in their place afterwards, without refitting.
    """
    low, high = corners.amin(dim=1), corners.amax(dim=1)
    # Far above the rounding for eyes up to tens of mesh sizes away, far below anything that costs time.
    pad = 1e-5 * float(corners.abs().max())
    points = torch.stack([low - pad, high + pad, low - pad], dim=1).reshape(-1, 3).contiguous()
    indices = torch.arange(points.shape[0], dtype=torch.int32, device=points.device)
    mesh = wp.Mesh(points=wp.from_torch(points, dtype=wp.vec3), indices=wp.from_torch(indices))
    points.copy_(corners.reshape(-1, 3))
    return mesh


# Not a `texgen.kept.Kept`, which finds by key: here the content decides, since vertices that were moved or
# converted come as new tensors each time. A key would be a hash of it, for which a GPU's go to the host.
_MESHES_KEPT = 8
_meshes: OrderedDict[int, tuple[Tensor, Tensor, wp.Mesh]] = OrderedDict()


def _warp_mesh(vertices: Tensor, faces: Tensor) -> wp.Mesh:
    """A Warp mesh with its tree, from the few last used when one has the same content.

    The kept copies are compared by value, so changing a tensor in place cannot bring back a stale mesh.
    """
    vertices = vertices.detach().to(torch.float32)
    for key, (known_vertices, known_faces, mesh) in _meshes.items():
        if known_vertices.shape != vertices.shape or known_faces.shape != faces.shape:
            continue
        if known_vertices.device != vertices.device:
            continue
        if torch.equal(known_vertices, vertices) and torch.equal(known_faces, faces):
            _meshes.move_to_end(key)
            return mesh
    if int(faces.min()) < 0 or int(faces.max()) >= vertices.shape[0]:
        raise ValueError(
            f"The faces name vertices {int(faces.min())} to {int(faces.max())}, "
            f"but there are {vertices.shape[0]} vertices."
        )
    if not bool(torch.isfinite(vertices).all()):
        raise ValueError("The mesh has vertices that are not finite.")
    vertices, faces = vertices.clone(), faces.detach().clone()
    mesh = _padded_mesh(vertices[faces])
    _meshes[id(mesh)] = (vertices, faces, mesh)
    if len(_meshes) > _MESHES_KEPT:
        _meshes.popitem(last=False)
    return mesh


def warp_stream(device: torch.device) -> wp.Stream | None:
    """torch's stream of a device for Warp, which has CUDA streams of its own: running on torch's keeps the
    order without a synchronisation. None on a CPU."""
    return wp.stream_from_torch(torch.cuda.current_stream(device)) if device.type == "cuda" else None


@torch.no_grad()
def first_hits(
    vertices: Tensor, faces: Tensor, origins: Tensor, directions: Tensor, max_distance: float = math.inf
) -> tuple[Tensor, Tensor, Tensor]:
    """The first face that each ray hits, from either side. Not differentiable; computed in float32.

    vertices [V, 3], faces [F, 3]; origins, directions [R, 3]; directions need not be of unit length.
    Returns face [R] int64 (-1 = nothing), distance [R] in units of the direction's length (0 where nothing)
    and barycentrics [R, 3] of the hit in the order of the face's corners (0 where nothing).
    Raises ValueError when a face names a vertex that does not exist or a vertex is not finite.
    """
    rays, device = origins.shape[0], vertices.device
    face = torch.full((rays,), -1, dtype=torch.int32, device=device)
    distance = torch.zeros(rays, dtype=torch.float32, device=device)
    weights = torch.zeros(rays, 3, dtype=torch.float32, device=device)
    if rays and faces.shape[0]:
        start_warp()
        origins, directions = origins.detach(), directions.detach()
        arguments = [
            wp.from_torch(origins.to(device, torch.float32).contiguous(), dtype=wp.vec3),
            wp.from_torch(directions.to(device, torch.float32).contiguous(), dtype=wp.vec3),
            float(max_distance),
            wp.from_torch(face),
            wp.from_torch(distance),
            wp.from_torch(weights, dtype=wp.vec3),
        ]
        with wp.ScopedStream(warp_stream(device)):
            mesh = _warp_mesh(vertices, faces)
            wp.launch(_first_hit_kernel, dim=rays, inputs=[mesh.id, *arguments], device=mesh.device)
    return face.to(torch.int64), distance.to(vertices.dtype), weights.to(vertices.dtype)


def _faces_by_warp(vertices: Tensor, faces: Tensor, cameras: Cameras, size: tuple[int, int]) -> Tensor:
    views = []
    for i in range(len(cameras)):  # one view at a time bounds the memory that the rays take
        camera = cameras[i]
        origin, direction = pixel_rays(camera, size)
        direction = direction.reshape(-1, 3)
        # Scaled so that one unit is one unit along the view axis: near and far are then plain distances.
        direction = direction / -(direction @ view_from_world(camera)[0, 2, :3])[:, None]
        start = origin + camera.near * direction
        face, _, _ = first_hits(vertices, faces, start, direction, camera.far - camera.near)
        views.append(face.reshape(size))
    return torch.stack(views)


_nvdiffrast_contexts: dict[torch.device, object] = {}


def _faces_by_nvdiffrast(vertices: Tensor, faces: Tensor, cameras: Cameras, size: tuple[int, int]) -> Tensor:
    try:
        import nvdiffrast.torch as dr
    except ImportError as error:
        raise PlainError(
            f'backend "nvdiffrast" cannot be used: {package_trouble("nvdiffrast", error)}; '
            'install it on a machine with CUDA, or use backend "warp".'
        ) from error
    if vertices.device.type != "cuda":
        raise PlainError(
            f'backend "nvdiffrast" needs the mesh on a CUDA device, not on {vertices.device}; '
            'use backend "warp".'
        )
    if vertices.device not in _nvdiffrast_contexts:
        _nvdiffrast_contexts[vertices.device] = dr.RasterizeCudaContext(device=vertices.device)
    clip = transform(vertices, clip_from_world(cameras, size[1] / size[0])).float()
    clip = clip * clip.new_tensor([1.0, -1.0, 1.0, 1.0])  # its row 0 is at the bottom, ours at the top
    context = _nvdiffrast_contexts[vertices.device]
    raster, _ = dr.rasterize(context, clip.contiguous(), faces.to(torch.int32).contiguous(), size)
    return raster[..., 3].to(torch.int64) - 1


# The names are those of `texgen.render.setting_types.Rasterizer`.
_BACKENDS = {"warp": _faces_by_warp, "nvdiffrast": _faces_by_nvdiffrast}


@torch.no_grad()
def visible_faces(
    vertices: Tensor, faces: Tensor, cameras: Cameras, size: Size, backend: str = "warp"
) -> Tensor:
    """The face index [N, H, W] of `rasterize` alone, for callers that compute barycentrics with gradients."""
    if backend not in _BACKENDS:
        raise ValueError(f"There is no rasterizer backend {backend!r}; choose one of {', '.join(_BACKENDS)}.")
    cameras = cameras.to(vertices.device, vertices.dtype)
    return _BACKENDS[backend](vertices, faces, cameras, image_size(size))


@torch.no_grad()
def rasterize(
    vertices: Tensor, faces: Tensor, cameras: Cameras, size: Size, backend: str = "warp"
) -> Fragments:
    """The nearest face at each pixel centre, from either side, between the near and far distances.

    vertices [V, 3], faces [F, 3]; size: image side, or (height, width). Not differentiable. Barycentrics and
    depth are recomputed from the face by `interpolate.barycentrics`, so they are equal for both backends.
    Raises ValueError for an unknown backend, PlainError when the backend cannot run here.
    """
    face = visible_faces(vertices, faces, cameras, size, backend)
    cameras = cameras.to(vertices.device, vertices.dtype)
    hits = hit_corners(vertices, faces, cameras, face, size)
    bary = pixel_barycentrics(hits)
    depth = mix_corners(hits.corners[..., 2:], bary)
    views = len(cameras)
    return Fragments(face, spread(bary, hits, views), spread(depth, hits, views)[..., 0])

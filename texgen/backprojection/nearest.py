"""Nearest neighbours by brute force, exact, on the device that the tensors are on.

For GPUs, where copying a texture to the host, searching with scipy and copying back would take most of the
time of a painting. `texgen.backprojection.fill` searches with scipy on a CPU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import warp as wp
from torch import Tensor

from texgen.render.rasterize import start_warp, warp_stream

CHUNK = 2**25
"""Distances in the texture plane that are held at a time; 4 bytes each."""


@torch.no_grad()
def nearest_texel(inside: Tensor) -> tuple[Tensor, Tensor]:
    """For every texel of a plane the nearest one that is inside, in the plane.

    inside: [H, W] bool, true somewhere. Returns its flat index [H, W] int64 (a texel's own inside) and the
    squared distance [H, W] int64, in texels. Of several nearest ones any may be given.
    """
    height, width = inside.shape
    rows = torch.arange(height, device=inside.device)[:, None].expand(height, width)
    far = 4 * (height + width)  # beyond any distance in the plane
    above = torch.where(inside, rows, -far).cummax(0).values
    below = torch.where(inside, rows, height + far).flip(0).cummin(0).values.flip(0)
    row = torch.where(rows - above <= below - rows, above, below)  # nearest in the own column
    squared = (row - rows).to(torch.int32).square()
    columns = torch.arange(width, device=inside.device, dtype=torch.int32)
    across = (columns[:, None] - columns).square()
    step = max(1, CHUNK // (width * width))
    found = [(squared[start : start + step, None] + across).min(-1) for start in range(0, height, step)]
    column = torch.cat([each.indices for each in found])
    distance = torch.cat([each.values for each in found]).to(torch.int64)
    return row.gather(1, column) * width + column, distance


@wp.kernel(enable_backward=False)
def _nearest_point_kernel(
    points: wp.array(dtype=wp.vec3), targets: wp.array(dtype=wp.vec3), nearest: wp.array(dtype=wp.int32)
):
    i = wp.tid()
    target = targets[i]
    best = wp.int32(0)
    least = wp.length_sq(points[0] - target)
    for j in range(1, points.shape[0]):
        squared = wp.length_sq(points[j] - target)
        if squared < least:
            least = squared
            best = j
    nearest[i] = best


@torch.no_grad()
def nearest_point(points: Tensor, targets: Tensor) -> Tensor:
    """For every target [M, 3] the index [M] int64 of the nearest of some points [N, 3], in float32."""
    device = points.device
    nearest = torch.zeros(targets.shape[0], dtype=torch.int32, device=device)
    if targets.shape[0]:
        start_warp()
        points, targets = (x.detach().to(device, torch.float32).contiguous() for x in (points, targets))
        arguments = [wp.from_torch(points, dtype=wp.vec3), wp.from_torch(targets, dtype=wp.vec3)]
        with wp.ScopedStream(warp_stream(device)):
            wp.launch(
                _nearest_point_kernel,
                dim=targets.shape[0],
                inputs=[*arguments, wp.from_torch(nearest)],
                device=arguments[0].device,
            )
    return nearest.to(torch.int64)


def inside_of(known: Tensor) -> Tensor:
    """[H, W] bool: texels all of whose eight neighbours are known; the plane's edge has none beyond it."""
    padded = F.pad((~known)[None, None].to(torch.float32), (1, 1, 1, 1), value=1.0)
    return F.max_pool2d(padded, 3, stride=1)[0, 0] == 0

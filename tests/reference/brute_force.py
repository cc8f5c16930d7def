"""Plain twins of rasterizer, ray query, cameras and texture lookup: loops and textbook formulas."""

import math

import numpy as np
import torch


def look_at(azimuth: float, elevation: float, distance: float) -> np.ndarray:
    """world-to-view matrix by the textbook look-at, target at the origin, up +y."""
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = distance * np.array([math.cos(e) * math.sin(a), math.sin(e), math.cos(e) * math.cos(a)])
    backward = eye / np.linalg.norm(eye)
    right = np.cross([0.0, 1.0, 0.0], backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, up, backward])
    matrix[:3, 3] = -matrix[:3, :3] @ eye
    return matrix


def project(vertices, azimuth, elevation, distance, fov_y, height, width):
    """pixel x, pixel y and view-axis depth of vertices [V, 3], each [V], in float64."""
    matrix = torch.from_numpy(look_at(azimuth, elevation, distance))
    view = vertices.double() @ matrix[:3, :3].T + matrix[:3, 3]
    depth = -view[:, 2]
    half_height = math.tan(math.radians(fov_y) / 2)
    x = view[:, 0] / depth / half_height * (height / width)
    y = view[:, 1] / depth / half_height
    return (x + 1) / 2 * width, (1 - y) / 2 * height, depth


def rasterize_by_triangles(vertices, faces, azimuth, elevation, distance, fov_y, height, width):
    """A z-buffer filled triangle by triangle with edge functions, for one camera, float64.

    Returns face [H, W], barycentrics [H, W, 3], depth [H, W], and margin [H, W]: how far, as a share, the
    pixel is from seeing another face (small at edges and where surfaces cross), for leaving ties out.
    """
    x, y, w = project(vertices, azimuth, elevation, distance, fov_y, height, width)
    rows, columns = torch.meshgrid(
        torch.arange(height, dtype=torch.float64) + 0.5,
        torch.arange(width, dtype=torch.float64) + 0.5,
        indexing="ij",
    )
    face = torch.full((height, width), -1)
    bary = torch.zeros(height, width, 3, dtype=torch.float64)
    nearest = torch.full((height, width), math.inf, dtype=torch.float64)
    second = nearest.clone()
    edge = nearest.clone()  # smallest |barycentric| to any edge line crossed near the pixel
    for index, (a, b, c) in enumerate(faces.tolist()):
        area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
        if area == 0:
            continue
        la = ((x[b] - columns) * (y[c] - rows) - (x[c] - columns) * (y[b] - rows)) / area
        lb = ((x[c] - columns) * (y[a] - rows) - (x[a] - columns) * (y[c] - rows)) / area
        screen = torch.stack([la, lb, 1 - la - lb], dim=-1)
        least = screen.amin(dim=-1)
        edge = torch.minimum(edge, least.abs())
        over_w = screen / torch.stack([w[a], w[b], w[c]])
        depth = 1 / over_w.sum(dim=-1)
        inside = least >= 0
        closer = inside & (depth < nearest)
        second = torch.where(closer, nearest, torch.where(inside & (depth < second), depth, second))
        nearest = torch.where(closer, depth, nearest)
        face = torch.where(closer, torch.full_like(face, index), face)
        bary = torch.where(closer[..., None], over_w * depth[..., None], bary)
    gap = (second - nearest) / nearest
    gap = torch.where(torch.isfinite(second), gap, torch.full_like(gap, math.inf))
    depth = torch.where(face >= 0, nearest, torch.zeros_like(nearest))
    return face, bary, depth, torch.minimum(edge, gap)


def first_hit_by_solving(vertices, faces, origin, direction):
    """(face, distance, barycentrics) of one ray, a 3 x 3 system per triangle, float64; face -1 = none."""
    best = (-1, math.inf, np.zeros(3))
    vertices = vertices.double().numpy()
    origin, direction = np.asarray(origin, dtype=float), np.asarray(direction, dtype=float)
    for index, (a, b, c) in enumerate(faces.tolist()):
        matrix = np.stack([vertices[b] - vertices[a], vertices[c] - vertices[a], -direction], axis=1)
        if abs(np.linalg.det(matrix)) < 1e-14:
            continue
        beta, gamma, t = np.linalg.solve(matrix, origin - vertices[a])
        if beta >= 0 and gamma >= 0 and beta + gamma <= 1 and 0 <= t < best[1]:
            best = (index, t, np.array([1 - beta - gamma, beta, gamma]))
    return best


def bilinear_by_loops(texture, u, v):
    """One bilinear lookup, clamped to the edge, texture [C, H, W] numpy, row 0 at v = 0."""
    _, height, width = texture.shape
    x, y = u * width - 0.5, v * height - 0.5
    x0, y0 = math.floor(x), math.floor(y)
    total = np.zeros(texture.shape[0])
    for row, row_weight in ((y0, 1 - (y - y0)), (y0 + 1, y - y0)):
        for column, column_weight in ((x0, 1 - (x - x0)), (x0 + 1, x - x0)):
            texel = texture[:, min(max(row, 0), height - 1), min(max(column, 0), width - 1)]
            total += row_weight * column_weight * texel
    return total


def trilinear_by_loops(texture, u, v, uv_dx, uv_dy):
    """One mip-mapped lookup for a texture whose sides are powers of two."""
    mips = [texture]
    while max(mips[-1].shape[1:]) > 1:
        previous = mips[-1]
        channels, height, width = previous.shape
        smaller = np.zeros((channels, max(height // 2, 1), max(width // 2, 1)))
        for i in range(smaller.shape[1]):
            for j in range(smaller.shape[2]):
                smaller[:, i, j] = previous[:, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean(axis=(1, 2))
        mips.append(smaller)
    _, height, width = texture.shape
    length = max(math.hypot(d[0] * width, d[1] * height) for d in (uv_dx, uv_dy))
    level = min(max(math.log2(length) if length > 0 else 0.0, 0.0), len(mips) - 1)
    lower = min(int(level), len(mips) - 2) if len(mips) > 1 else 0
    upper = min(lower + 1, len(mips) - 1)
    blend = level - lower
    return (1 - blend) * bilinear_by_loops(mips[lower], u, v) + blend * bilinear_by_loops(mips[upper], u, v)

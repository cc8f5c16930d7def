"""Shapes whose curvature and mirror planes are known from a formula, with charts that are known too."""

import math

import torch
from reference.tiny_meshes import make_mesh

BIG, SMALL = 0.55, 0.25


def grid_faces(rows, columns):
    """Two triangles per cell of a (rows + 1) x (columns + 1) grid; (row, column) grow to the left of up."""
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    p = (i * (columns + 1) + j).reshape(-1)
    q = p + columns + 1
    return torch.cat((torch.stack((p, p + 1, q + 1), -1), torch.stack((p, q + 1, q), -1)))


def weld(points, faces, digits=5):
    """Points that are the same merged; returns (vertices, faces into them)."""
    _, index = (points * 10**digits).round().unique(dim=0, return_inverse=True)
    vertices = points.new_zeros(int(index.max()) + 1, 3)
    vertices[index] = points
    return vertices, index[faces]


def torus(columns=36, rows=18, margin=0.1):
    """A torus around the y axis: u around the axis from the back, v around the tube from its inner side.

    Around the tube the curvature is 1 / SMALL everywhere; along it cos(t) / (BIG + SMALL cos(t)).
    """
    v, u = torch.meshgrid(torch.linspace(0, 1, rows + 1), torch.linspace(0, 1, columns + 1), indexing="ij")
    around, tube = (2 * u - 1) * math.pi, (2 * v - 1) * math.pi
    distance = BIG + SMALL * tube.cos()
    points = torch.stack((distance * around.sin(), SMALL * tube.sin(), distance * around.cos()), -1)
    uv_faces = grid_faces(rows, columns)
    vertices, faces = weld(points.reshape(-1, 3), uv_faces)
    uvs = margin + (1 - 2 * margin) * torch.stack((u, v), -1).reshape(-1, 2)
    return make_mesh(vertices, faces, uvs, uv_faces, "torus")


def outwardness(position):
    """1 on the outer side of the torus, -1 on its inner side; [..., 3] -> [...]."""
    return (position[..., (0, 2)].norm(dim=-1) - BIG) / SMALL


def box(sides=(0.8, 0.6, 1.0), cells=6, texels=64, places=(0, 1, 2, 3, 4, 5)):
    """A box in six charts of 3 x 2 places; `places` says which chart lies where.

    Charts start on whole texels of a texture of `texels` and are 18/64 of it wide.
    """
    axis = torch.linspace(-1, 1, cells + 1)
    b, a = torch.meshgrid(axis, axis, indexing="ij")
    one = torch.ones_like(a)
    sheets = [(one, a, b), (-one, b, a), (b, one, a), (a, -one, b), (a, b, one), (b, a, -one)]
    local, unit = grid_faces(cells, cells), texels // 64
    points, uvs, uv_faces = [], [], []
    for number, sheet in enumerate(sheets):
        place = places[number]
        corner = torch.tensor([2.0 + 20 * (place % 3), 2.0 + 24 * (place // 3)]) * unit / texels
        points.append(torch.stack(sheet, -1).reshape(-1, 3) * torch.tensor(sides) / 2)
        uvs.append(corner + torch.stack(((a + 1) / 2, (b + 1) / 2), -1).reshape(-1, 2) * 18 / 64)
        uv_faces.append(local + number * (cells + 1) ** 2)
    vertices, faces = weld(torch.cat(points), torch.cat(uv_faces))
    return make_mesh(vertices, faces, torch.cat(uvs), torch.cat(uv_faces), "box")


def rotation(x, y):
    """A rotation by `x` degrees about x, then `y` degrees about y, [3, 3]."""
    a, b = math.radians(x), math.radians(y)
    about_x = torch.tensor([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
    about_y = torch.tensor([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
    return about_y @ about_x

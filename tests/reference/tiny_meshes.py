"""Small meshes with known shapes and uvs."""

import torch
import torch.nn.functional as F

from texgen.mesh.mesh import Mesh


def make_mesh(vertices, faces, uvs, uv_faces=None, name="tiny") -> Mesh:
    """A Mesh from tensors or lists; the uv faces default to the faces."""
    vertices = torch.as_tensor(vertices, dtype=torch.float32)
    faces = torch.as_tensor(faces, dtype=torch.int64)
    uvs = torch.as_tensor(uvs, dtype=torch.float32)
    corners = vertices[faces]
    area_normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = torch.zeros_like(vertices)
    for k in range(3):
        normals.index_add_(0, faces[:, k], area_normal)
    return Mesh(
        name=name,
        vertices=vertices,
        faces=faces,
        uvs=uvs,
        uv_faces=faces if uv_faces is None else torch.as_tensor(uv_faces, dtype=torch.int64),
        vertex_normals=F.normalize(normals, dim=-1),
        centre=torch.zeros(3),
        scale=1.0,
    )


def sphere_mesh(rows: int = 12, radius: float = 0.8) -> Mesh:
    """A closed latitude-longitude sphere with 2 * rows columns, v from bottom to top, one uv chart."""
    columns = 2 * rows
    v, u = torch.meshgrid(torch.linspace(0, 1, rows + 1), torch.linspace(0, 1, columns + 1), indexing="ij")
    theta, phi = v * torch.pi, u * 2 * torch.pi
    grid = torch.stack([theta.sin() * phi.sin(), -theta.cos(), theta.sin() * phi.cos()], dim=-1)
    faces, uv_faces, index = [], [], {}
    vertices = []

    def vertex(i, j):  # poles and the seam are welded
        key = (i, 0 if i in (0, rows) else j % columns)
        if key not in index:
            index[key] = len(vertices)
            vertices.append(grid[i, key[1]] * radius)
        return index[key]

    for i in range(rows):
        for j in range(columns):
            quad = [(i, j), (i, j + 1), (i + 1, j + 1), (i + 1, j)]
            for triple in ((0, 1, 2), (0, 2, 3)):
                face = [vertex(*quad[k]) for k in triple]
                if len(set(face)) == 3:
                    faces.append(face)
                    uv_faces.append([quad[k][0] * (columns + 1) + quad[k][1] for k in triple])
    uvs = torch.stack([u, v], dim=-1).reshape(-1, 2)
    return make_mesh(torch.stack(vertices), faces, uvs, uv_faces, name="sphere")


def square_mesh(half: float = 0.8, z: float = 0.0) -> Mesh:
    """A square facing +z; uv (0, 0) at its lower left as seen from the front, (1, 1) at its upper right."""
    vertices = [[-half, -half, z], [half, -half, z], [half, half, z], [-half, half, z]]
    return make_mesh(vertices, [[0, 1, 2], [0, 2, 3]], [[0, 0], [1, 0], [1, 1], [0, 1]], name="square")


def random_soup(count: int, seed: int, spread: float = 0.4, size: float = 0.6):
    """vertices [3 * count, 3], faces [count, 3]: loose, intersecting triangles within 1.8 of the origin."""
    generator = torch.Generator().manual_seed(seed)
    centres = (torch.rand(count, 1, 3, generator=generator) * 2 - 1) * spread
    corners = centres + (torch.rand(count, 3, 3, generator=generator) * 2 - 1) * size
    return corners.reshape(-1, 3), torch.arange(3 * count).reshape(count, 3)


def random_closed(seed: int, rows: int = 10):
    """vertices, faces of a closed star-shaped surface with random radii."""
    mesh = sphere_mesh(rows, 1.0)
    generator = torch.Generator().manual_seed(seed)
    radius = 0.4 + 0.4 * torch.rand(mesh.vertices.shape[0], 1, generator=generator)
    return mesh.vertices * radius, mesh.faces

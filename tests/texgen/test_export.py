"""Written files read back as what they were, with the texture the right way up."""

import struct

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from PIL import Image

from texgen.mesh.export import load_texture_png, save_image, save_texture_png, split_corners, write_glb
from texgen.mesh.mesh import Mesh, area_weighted_normals
from texgen.reading.orientation import rotation_matrix
from texgen.reading.prepare import prepare_mesh, read_mesh


def two_charts(rotate=""):
    """A square folded from two triangles that share an edge in 3D but not in uv."""
    vertices = torch.tensor([[-0.8, -0.8, 0.0], [0.8, -0.8, 0.0], [0.8, 0.8, 0.1], [-0.8, 0.8, 0.0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uvs = torch.tensor([[0.1, 0.1], [0.4, 0.1], [0.4, 0.4], [0.6, 0.6], [0.9, 0.9], [0.6, 0.95]])
    return Mesh(
        name="fold",
        vertices=vertices,
        faces=faces,
        uvs=uvs,
        uv_faces=torch.tensor([[0, 1, 2], [3, 4, 5]]),
        vertex_normals=area_weighted_normals(vertices, faces),
        centre=torch.tensor([10.0, 20.0, 30.0], dtype=torch.float64),
        scale=0.5,
        rotation=torch.from_numpy(rotation_matrix(rotate)),
    )


def test_texture_png_has_v_zero_at_the_bottom(tmp_path):
    texture = torch.rand(3, 5, 7)
    save_texture_png(tmp_path / "t.png", texture)
    pixels = np.array(Image.open(tmp_path / "t.png"))
    assert np.abs(pixels[-1, 0] / 255 - texture[:, 0, 0].numpy()).max() < 0.003
    again = load_texture_png(tmp_path / "t.png")
    assert again.shape == texture.shape and (again - texture).abs().max() <= 0.5 / 255 + 1e-6


def test_image_has_row_zero_at_the_top_and_is_clamped(tmp_path):
    image = torch.rand(3, 4, 6) * 2 - 0.5
    save_image(tmp_path / "i.png", image)
    pixels = np.array(Image.open(tmp_path / "i.png")).transpose(2, 0, 1) / 255
    assert np.abs(pixels - image.clamp(0, 1).numpy()).max() <= 0.5 / 255 + 1e-6
    assert [path.name for path in tmp_path.iterdir()] == ["i.png"]


def test_wrong_images_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="must be"):
        save_image(tmp_path / "i.png", torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="not finite"):
        save_texture_png(tmp_path / "i.png", torch.full((3, 4, 4), torch.nan))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rotate", ["", "x:-90,y:25"])
def test_glb_is_in_input_coordinates_with_the_uvs_of_the_mesh(tmp_path, rotate):
    mesh = two_charts(rotate)
    write_glb(tmp_path / "m.glb", mesh, torch.rand(3, 8, 8))
    loaded = trimesh.load_scene(tmp_path / "m.glb", process=False).to_geometry()
    corners = np.asarray(loaded.vertices)[np.asarray(loaded.faces)]
    expected = mesh.input_vertices()[mesh.faces].numpy()
    assert np.allclose(corners, expected, atol=1e-5)
    working = corners @ mesh.rotation.numpy().T  # the transform of texgen.mesh.mesh, applied to what was read
    working = (working - mesh.centre.numpy()) * mesh.scale
    assert np.allclose(working, mesh.vertices[mesh.faces].numpy(), atol=1e-5)
    uv_corners = np.asarray(loaded.visual.uv)[np.asarray(loaded.faces)]  # trimesh turns v up again
    assert np.allclose(uv_corners, mesh.uvs[mesh.uv_faces].numpy(), atol=1e-6)
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.asarray(loaded.vertex_normals)[np.asarray(loaded.faces)].mean(axis=1)
    assert ((cross * normals).sum(axis=1) > 0).all()


def test_glb_texture_is_the_png_of_the_texture(tmp_path):
    texture = torch.rand(3, 8, 8)
    write_glb(tmp_path / "m.glb", two_charts(), texture)
    save_texture_png(tmp_path / "t.png", texture)
    image = (
        trimesh.load_scene(tmp_path / "m.glb", process=False).to_geometry().visual.material.baseColorTexture
    )
    assert np.array_equal(np.array(image.convert("RGB")), np.array(Image.open(tmp_path / "t.png")))


def test_glb_is_well_formed(tmp_path):
    write_glb(tmp_path / "m.glb", two_charts(), torch.rand(3, 5, 5))
    data = (tmp_path / "m.glb").read_bytes()
    magic, version, length = struct.unpack("<III", data[:12])
    assert magic == 0x46546C67 and version == 2 and length == len(data)
    document = pygltflib.GLTF2().load(str(tmp_path / "m.glb"))
    position = document.accessors[document.meshes[0].primitives[0].attributes.POSITION]
    assert position.min is not None and position.max is not None
    assert all(view.byteOffset % 4 == 0 for view in document.bufferViews)
    assert document.materials[0].pbrMetallicRoughness.metallicFactor == 0
    end = max(view.byteOffset + view.byteLength for view in document.bufferViews)
    assert end <= document.buffers[0].byteLength


def test_exported_mesh_comes_back_through_our_own_reader(tmp_path):
    mesh = two_charts()
    write_glb(tmp_path / "m.glb", mesh, torch.rand(3, 8, 8))
    vertices, faces, uvs, uv_faces = read_mesh(tmp_path / "m.glb")
    assert vertices.shape == (4, 3) and uvs.shape == (6, 2)
    again, warnings = prepare_mesh(tmp_path / "m.glb", "fold")
    assert warnings == []
    assert torch.allclose(again.uvs[again.uv_faces], mesh.uvs[mesh.uv_faces], atol=1e-6)
    assert torch.allclose(again.input_vertices()[again.faces], mesh.input_vertices()[mesh.faces], atol=1e-4)


def test_split_corners_matches_a_plain_loop():
    mesh = two_charts()
    vertex, uv, faces, _ = split_corners(mesh)
    assert len(vertex) == len({(v, t) for v, t in zip(vertex, uv, strict=True)}) == 6
    for face in range(2):
        for corner in range(3):
            pair = faces[face, corner]
            assert vertex[pair] == mesh.faces[face, corner] and uv[pair] == mesh.uv_faces[face, corner]

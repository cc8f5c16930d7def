"""Bring your own: a GLB's colours reach the evaluation atlas, and a foreign GLB is refused."""

from dataclasses import fields

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from reference import tiny_models
from reference.tiny_meshes import make_mesh, sphere_mesh
from trimesh.visual.material import PBRMaterial

from baselines.precomputed import aligned, precomputed, read_parts, transfer
from texgen.mesh.export import write_glb
from texgen.mesh.mesh import Mesh
from texgen.render.atlas import build_atlas
from texgen.render.cameras import Cameras
from texgen.render.images import render

ASSET = {"asset": "sphere--red--0", "mesh": "sphere", "prompt": "a red ball", "seed": 0}


def painted(mesh, size):
    """A texture whose colours are positions on the surface, so that they survive a change of uvs."""
    atlas = build_atlas(mesh, size)
    return (atlas.position.permute(2, 0, 1) / 1.6 + 0.5).clamp(0, 1)


def moved(mesh: Mesh, centre, scale, degrees=0.0) -> Mesh:
    """The same working mesh, but from a file in other coordinates."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    values = {entry.name: getattr(mesh, entry.name) for entry in fields(mesh)}
    values["centre"], values["scale"] = torch.tensor(centre, dtype=torch.float64), scale
    values["rotation"] = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]], dtype=torch.float64)
    return Mesh(**values)


def test_our_own_export_comes_back_to_its_atlas(tmp_path):
    mesh = moved(sphere_mesh(10), [3.0, -2.0, 40.0], 0.05, 90.0)
    texture = painted(mesh, 64)
    write_glb(tmp_path / "a.glb", mesh, texture)
    back, mask = transfer(read_parts(tmp_path / "a.glb"), mesh, 64)
    inner = mask.expand(3, -1, -1) > 0
    assert float((back - texture)[inner].abs().mean()) < 0.01


def test_other_uvs_faces_and_a_normalising_program_do_not_matter(tmp_path):
    ours = moved(sphere_mesh(16), [0.0, 5.0, 0.0], 2.0)
    theirs = sphere_mesh(20)
    # Their atlas is turned by a quarter, their mesh has another density, size and place.
    theirs = make_mesh(theirs.vertices * 0.3 + 7, theirs.faces, theirs.uvs.flip(1), theirs.uv_faces)
    atlas = build_atlas(theirs, 128)
    colours = ((atlas.position.permute(2, 0, 1) - 7) / 0.3 / 1.6 + 0.5).clamp(0, 1) * atlas.mask
    write_glb(tmp_path / "b.glb", theirs, colours)
    back, mask = transfer(read_parts(tmp_path / "b.glb"), ours, 64)
    expected = painted(ours, 64)
    inner = mask[0] > 0
    inner[:4], inner[-4:] = False, False  # the poles of a small chart are mixed with its outside
    assert float((back - expected)[:, inner].abs().mean()) < 0.02
    views = Cameras.orbit([0.0, 120.0], 10.0)
    images = [render(ours, texture, views, 48)[0] for texture in (back, expected)]
    assert float((images[0] - images[1]).abs().mean()) < 0.02


def test_parts_keep_their_own_colours(tmp_path):
    scene = trimesh.Scene()
    for x, colour in ((-0.5, [255, 0, 0, 255]), (0.5, [0, 0, 255, 255])):
        box = trimesh.creation.box(
            (0.6, 0.6, 0.6), transform=trimesh.transformations.translation_matrix([x, 0, 0])
        )
        box.visual = trimesh.visual.TextureVisuals(material=PBRMaterial(baseColorFactor=colour))
        scene.add_geometry(box)
    scene.export(tmp_path / "c.glb")
    parts = read_parts(tmp_path / "c.glb")
    assert sorted(tuple(part.texture[:, 0, 0].tolist()) for part in parts) == [(0, 0, 1), (1, 0, 0)]
    textured = trimesh.creation.box()
    textured.visual = trimesh.visual.TextureVisuals(
        uv=np.tile([[0.25, 0.75]], (8, 1)),
        material=PBRMaterial(
            baseColorTexture=Image.fromarray(np.uint8([[[9, 0, 0], [0] * 3], [[0] * 3, [0] * 3]]))
        ),
    )
    textured.export(tmp_path / "d.glb")
    (part,) = read_parts(tmp_path / "d.glb")
    # v is up: the picture's upper left texel is at u < 1/2, v > 1/2, the last row of a texture.
    assert part.texture[0, 1, 0] == pytest.approx(9 / 255) and float(part.texture[0].sum()) < 0.05
    assert part.uvs[0].tolist() == pytest.approx([0.25, 0.75])


def test_another_shape_is_refused():
    ball, box = sphere_mesh(8), trimesh.creation.box()
    with pytest.raises(ValueError, match="not that of the mesh 'sphere'"):
        aligned(np.asarray(box.vertices), np.asarray(box.faces), ball)


def test_the_method_finds_its_files(tmp_path):
    backbone = tiny_models.load_miniature(tmp_path / "models")
    mesh = sphere_mesh(8)
    method = precomputed(backbone, str(tmp_path), [ASSET], texture_size=32, steps=1)
    with pytest.raises(FileNotFoundError, match="sphere--red--0.glb"):
        method(mesh, "a red ball", 0)
    write_glb(tmp_path / "sphere--red--0.glb", mesh, torch.rand(3, 16, 16))
    result = method(mesh, "a red ball", 0)
    assert result.texture.shape == (3, 32, 32) and result.calls == {"unet": 0, "controlnet": 0}
    write_glb(
        tmp_path / "sphere--red--0.glb",
        make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], [[0, 0]] * 3),
        torch.rand(3, 4, 4),
    )
    with pytest.raises(ValueError, match="sphere--red--0.glb: Its surface is not"):
        method(mesh, "a red ball", 0)

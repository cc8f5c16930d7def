"""Keeping a texture and painting a region of it again: the start, the end, the regions, and gradients."""

from dataclasses import replace

import pytest
import torch
from reference import tiny_models
from reference.tiny_meshes import sphere_mesh, square_mesh

from texgen.backprojection.trimap import hard_trimap, soft_trimap
from texgen.errors import PlainError
from texgen.finetune.differentiation import Differentiation
from texgen.finetune.evaluations import Evaluations
from texgen.mesh.parts import MeshPart, Node, Structure
from texgen.painting.keep import KeptTexture, start_state
from texgen.painting.pipeline import TexGen
from texgen.painting.presets import get_preset
from texgen.painting.regions import box_region, part_names, part_region
from texgen.painting.views import Derivative
from texgen.reading.prepare import rotation_matrix
from texgen.render.atlas import build_atlas

T = 48
SMALL = {"image_size": 64, "render_size": 64, "texture_size": T, "steps": 1, "rig": "front_3view"}


def old_texture(size=T, seed=3):
    """Of 8 bits, as read from a file."""
    levels = torch.randint(0, 256, (3, size, size), generator=torch.Generator().manual_seed(seed))
    return levels.float() / 255


def front_region(mesh, size=T):
    """The part of the front above the middle."""
    return box_region(mesh, build_atlas(mesh, size), (-1, 0, 0.1), (1, 1, 1))


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    return tiny_models.load_sd15(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def mesh():
    return sphere_mesh(10)


@pytest.mark.parametrize("name", ["texgen", "intex"])
def test_outside_of_the_region_stays_to_the_bit_and_inside_changes(backbone, mesh, name):
    method = TexGen(backbone, get_preset(name, **SMALL))
    keep = KeptTexture(old_texture(), front_region(mesh))
    result = method(mesh, "a red cat", 0, keep=keep)
    chosen = keep.chosen.expand(3, -1, -1)
    assert 0.02 < keep.chosen.float().mean() < 0.5
    assert torch.equal(result.texture[~chosen], keep.texture[~chosen])
    changed = (result.texture != keep.texture).any(dim=0, keepdim=True)
    assert changed[keep.chosen].float().mean() > 0.98
    assert any(view["keep"] > 0.2 for view in result.views)
    assert not torch.equal(result.texture, method(mesh, "a blue dog", 0, keep=keep).texture)
    with torch.no_grad():
        assert torch.equal(method.paint(mesh, "a red cat", 0, keep=keep)[0], result.texture)


def test_what_is_kept_is_what_the_model_is_shown(backbone, mesh):
    """A region is painted to fit: other kept colours give another region."""
    method, region = TexGen(backbone, get_preset("texgen", **SMALL)), front_region(mesh)
    black, white = (
        method(mesh, "a red cat", 0, keep=KeptTexture(torch.full((3, T, T), value), region)).texture
        for value in (0.0, 1.0)
    )
    assert not torch.equal(black[:, region[0] > 0], white[:, region[0] > 0])


def test_state_and_composite_are_those_of_a_plain_loop(mesh):
    keep = KeptTexture(
        old_texture(8), (torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.6).float()
    )
    like, fresh = torch.zeros(1, dtype=torch.float64), old_texture(8, seed=9)
    state, done = start_state(keep, 8, like), keep.composite(fresh)
    for row in range(8):
        for column in range(8):
            again = bool(keep.repaint[0, row, column] == 1)
            colour = fresh if again else keep.texture
            assert done[:, row, column].tolist() == colour[:, row, column].tolist()
            assert float(state.weight[0, row, column]) == (0.0 if again else 1.0)
            known = [0.0] * 3 if again else keep.texture[:, row, column].double().tolist()
            assert state.colour_sum[:, row, column].tolist() == known
            assert (float(state.best_cosine[0, row, column]) > 1) != again
    assert state.weight.dtype == torch.float64
    empty = start_state(None, 8, like)
    assert not empty.weight.any() and bool((empty.best_cosine == -1).all())


def test_both_trimaps_keep_what_is_known_however_frontally_it_is_seen():
    state = KeptTexture(old_texture(8), torch.eye(8)[None]).state(torch.zeros(1))
    cosine = torch.ones(1, 1, 8, 8)
    for make in (hard_trimap, soft_trimap):
        trimap = make(state.weight[None], state.best_cosine[None], cosine)
        torch.testing.assert_close(trimap.keep[0, 0], 1 - torch.eye(8), atol=1e-6, rtol=0)


def test_gradients_come_from_the_region_alone_and_are_the_same_when_replayed(tmp_path):
    backbone = tiny_models.load_sd15(tmp_path, torch.float64)
    backbone.add_lora(1)
    with torch.no_grad():
        for parameter in backbone.lora_parameters():
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(0))
    sizes = {"render_size": 32, "texture_size": 24, "rig": "tilted_2view"}
    method, mesh = TexGen(backbone, get_preset("texgen", **SMALL | sizes)), sphere_mesh(8)
    keep = KeptTexture(old_texture(24), front_region(mesh, 24))
    found = []
    for gradient in (None, Differentiation(None, True, Evaluations())):
        texture, _ = method.paint(mesh, "a cat", 0, Derivative(gradient, soft=True), keep=keep)
        inside = torch.autograd.grad(
            texture[:, keep.chosen[0]].square().sum(), backbone.lora_parameters(), retain_graph=True
        )
        found.append(inside)
        outside = torch.autograd.grad(texture[:, ~keep.chosen[0]].sum(), backbone.lora_parameters())
        assert not any(bool(each.any()) for each in outside)
    assert max(float(each.abs().max()) for each in found[0]) > 0
    for plain, replayed in zip(*found, strict=True):
        torch.testing.assert_close(plain, replayed)


def test_a_box_is_told_in_the_coordinates_of_the_file():
    mesh = sphere_mesh(16)
    rotation = torch.from_numpy(rotation_matrix("x:-90"))
    # The file has its up axis along z, is ten times as large and lies elsewhere.
    mesh = replace(mesh, rotation=rotation, scale=0.1, centre=torch.tensor([5.0, 0.0, -3.0]).double())
    atlas = build_atlas(mesh, 64)
    low, high = mesh.input_vertices().amin(0), mesh.input_vertices().amax(0)
    upper = low.clone()
    upper[2] = (low[2] + high[2]) / 2  # from the middle upwards, in the file's z
    region = box_region(mesh, atlas, upper.tolist(), high.tolist())
    on_chart = atlas.face >= 0
    assert torch.equal(region[0][on_chart] > 0, (atlas.position[..., 1] >= 0)[on_chart])
    with pytest.raises(PlainError, match="holds no surface of the mesh, which spans x -3 to 13"):
        box_region(mesh, atlas, (100, 100, 100), (101, 101, 101))


def test_parts_are_found_by_the_names_of_nodes_meshes_and_materials():
    mesh = square_mesh()
    structure = Structure(
        (Node("body"), Node("lid", 0)), (MeshPart(0, "box", "wood"), MeshPart(1, "box", "iron"))
    )
    mesh = replace(mesh, part=torch.tensor([0, 1]), structure=structure)
    atlas = build_atlas(mesh, 16)
    assert part_names(mesh) == ["body", "box", "wood", "lid", "iron"]
    lid = part_region(mesh, atlas, ["iron"])
    assert torch.equal(lid, part_region(mesh, atlas, ["lid"]))
    assert torch.equal(lid[0] > 0, atlas.face == 1)
    assert bool((part_region(mesh, atlas, ["box"]) == 1).all())
    assert bool((part_region(mesh, atlas, ["lid", "wood"]) == 1).all())
    with pytest.raises(PlainError, match="no part 'glass'; its parts are body, box, wood, lid, iron"):
        part_region(mesh, atlas, ["wood", "glass"])


def test_padding_goes_with_the_chart_that_it_pads():
    mesh = square_mesh()
    # Two triangles apart from each other, with nothing between them.
    uvs = torch.tensor([[0.1, 0.1], [0.3, 0.1], [0.3, 0.3], [0.7, 0.7], [0.9, 0.9], [0.7, 0.9]])
    structure = Structure((Node("a"),), (MeshPart(0, "x", "left"), MeshPart(0, "x", "right")))
    mesh = replace(
        mesh, uvs=uvs, uv_faces=torch.arange(6).reshape(2, 3), part=torch.tensor([0, 1]), structure=structure
    )
    region = part_region(mesh, build_atlas(mesh, 32), ["left"])[0]
    assert float(region[0, 0]) == 1 and float(region[-1, -1]) == 0
    assert 0.3 < float(region.mean()) < 0.7


@pytest.mark.parametrize(
    ("repaint", "said"),
    [(torch.zeros(1, 8, 8), "holds no texel"), (torch.ones(1, 8, 8), "is the whole texture")],
)
def test_a_region_of_nothing_or_all_is_refused(repaint, said):
    with pytest.raises(PlainError, match=said):
        KeptTexture(old_texture(8), repaint)


def test_what_does_not_fit_is_refused(backbone, mesh):
    with pytest.raises(ValueError, match=r"\[3, 8, 8\] and its region \[1, 4, 4\]"):
        KeptTexture(old_texture(8), torch.ones(1, 4, 4))
    with pytest.raises(ValueError, match="outside of 0 to 1"):
        KeptTexture(old_texture(8) * float("nan"), torch.eye(8)[None])
    method = TexGen(backbone, get_preset("texgen", **SMALL))
    with pytest.raises(ValueError, match="has 8 texels along a side, but 48 are painted"):
        method(mesh, "a cat", 0, keep=KeptTexture(old_texture(8), torch.eye(8)[None]))


def test_a_region_that_no_view_sees_is_refused(backbone, mesh):
    method = TexGen(backbone, get_preset("texgen", **SMALL))
    speck = torch.zeros(1, T, T)
    speck[0, T // 2, 0] = 1
    with pytest.raises(PlainError, match="No view sees enough of the region"):
        method(mesh, "a cat", 0, keep=KeptTexture(old_texture(), speck))

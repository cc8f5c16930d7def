"""Alignment on shapes whose right answer is known: a tube painted with rings or with lengthwise stripes."""

import math
from dataclasses import replace

import pytest
import torch

from rewards.base import Textured, TextureReward
from rewards.geometric.alignment import GeometryTextureAlignment, alignment_field, released_field
from texgen.geometry.mirror_plane import MirrorPatches, MirrorPlane
from texgen.geometry.prepared import PreparedGeometry, prepare_geometry
from texgen.mesh.mesh import Mesh
from texgen.render.atlas import build_atlas

SIZE = 128
LENGTH, RADIUS = 1.6, 0.25


def tube(turn=0.0, margin=0.2, columns=48, rows=24, stretch=(1.0, 1.0), name="tube"):
    """Open tube along y, unrolled into one rectangle of the uv square, then turned by `turn` degrees.

    stretch scales the chart along (around, along) the tube, so that uv axes and surface disagree.
    """
    around = torch.linspace(0, 2 * math.pi, columns + 1)
    along = torch.linspace(-LENGTH / 2, LENGTH / 2, rows + 1)
    angle, height = torch.meshgrid(around, along, indexing="ij")
    vertices = torch.stack([RADIUS * angle.sin(), height, RADIUS * angle.cos()], -1).reshape(-1, 3)
    normals = torch.stack([angle.sin(), torch.zeros_like(angle), angle.cos()], -1).reshape(-1, 3)
    flat = torch.stack([(angle - math.pi) * RADIUS * stretch[0], height * stretch[1]], -1).reshape(-1, 2)
    flat = flat * (1 - 2 * margin) / (flat.amax(0) - flat.amin(0)).max()
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    uvs = flat @ torch.tensor([[c, s], [-s, c]]) + 0.5
    i, j = torch.meshgrid(torch.arange(columns), torch.arange(rows), indexing="ij")
    corner = (i * (rows + 1) + j).reshape(-1)
    right, up = rows + 1, 1
    faces = torch.cat(
        [
            torch.stack([corner, corner + right, corner + right + up], -1),
            torch.stack([corner, corner + right + up, corner + up], -1),
        ]
    )
    mesh = Mesh(name, vertices, faces, uvs, faces.clone(), normals, torch.zeros(3), 1.0)
    return mesh, prepared(mesh)


def prepared(mesh, size=SIZE):
    """Analytic fields: minimum curvature runs along the axis; pushed to uv face by face by least squares."""
    atlas = build_atlas(mesh, size)
    corners, charts = mesh.vertices[mesh.faces], mesh.uvs[mesh.uv_faces]
    edges = torch.stack([corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]], -1)
    uv_edges = torch.stack([charts[:, 1] - charts[:, 0], charts[:, 2] - charts[:, 0]], -1)
    axis = torch.tensor([0.0, 1.0, 0.0]).expand(len(edges), 3)[..., None]
    direction = (uv_edges @ torch.linalg.lstsq(edges, axis).solution)[..., 0]
    direction = direction / direction.norm(dim=-1, keepdim=True)
    x, y = direction.unbind(-1)
    tensor = torch.stack([x * x, x * y, y * y], -1)[atlas.face.clamp_min(0)].movedim(-1, 0) * atlas.mask
    ones = atlas.mask.clone()
    return PreparedGeometry(
        min_direction_tensor=tensor,
        anisotropy=ones,
        mean_curvature=ones / (2 * RADIUS),
        vertex_curvature=torch.tensor([0.0, 1 / RADIUS]).expand(len(mesh.vertices), 2),
        vertex_direction=torch.tensor([0.0, 1.0, 0.0]).expand(len(mesh.vertices), 3),
        plane=MirrorPlane(torch.tensor([1.0, 0.0, 0.0]).double(), 0.0, 0.0),
        patches=MirrorPatches(torch.zeros(0, 1, 2), torch.zeros(0, 1, 2), torch.zeros(0, 1) > 0),
        atlas=atlas,
    )


def paint(geometry, along, around=0.0, contrast=0.8, phase=0.0):
    """Grey waves on the surface: `along` waves over the length and `around` over the girth, as [3, T, T]."""
    position = geometry.atlas.position
    girth = torch.atan2(position[..., 0], position[..., 2])
    wave = torch.sin(2 * math.pi * along * position[..., 1] / LENGTH + around * girth + phase)
    return (0.5 + 0.5 * contrast * wave).expand(3, -1, -1).contiguous() * geometry.atlas.mask


def judge(mesh, geometry, texture, reward=None, painted=None):
    painted = geometry.atlas.mask if painted is None else painted
    return (reward or GeometryTextureAlignment())(Textured(mesh, texture, painted, "a tube", geometry))


@pytest.fixture(scope="module")
def straight():
    return tube()


def test_rings_score_one_and_lengthwise_stripes_zero(straight):
    mesh, geometry = straight
    assert judge(mesh, geometry, paint(geometry, along=8)) > 0.98
    assert judge(mesh, geometry, paint(geometry, along=0, around=8)) < 0.02


def test_geometry_prepared_from_the_mesh_gives_the_same_answers():
    mesh, _ = tube(rows=64)
    geometry = prepare_geometry(mesh, SIZE)
    assert judge(mesh, geometry, paint(geometry, along=8)) > 0.95
    assert judge(mesh, geometry, paint(geometry, along=0, around=8)) < 0.05


def test_a_spiral_scores_the_squared_cosine_of_its_angle(straight):
    mesh, geometry = straight
    along, around = 2 * math.pi * 6 / LENGTH, 8 / RADIUS
    expected = along**2 / (along**2 + around**2)
    value = judge(mesh, geometry, paint(geometry, along=6, around=8))
    assert value == pytest.approx(expected, abs=0.02)


def test_flat_and_nearly_flat_textures_score_near_zero(straight):
    mesh, geometry = straight
    assert judge(mesh, geometry, torch.full((3, SIZE, SIZE), 0.3)) < 1e-9
    assert judge(mesh, geometry, paint(geometry, along=4, contrast=0.002)) < 0.02
    faint, strong = (judge(mesh, geometry, paint(geometry, along=4, contrast=c)) for c in (0.02, 0.5))
    assert faint < strong and strong > 0.95


def test_value_does_not_depend_on_sign_or_phase(straight):
    mesh, geometry = straight
    texture = paint(geometry, along=6, around=5)
    value = judge(mesh, geometry, texture)
    assert judge(mesh, geometry, 1 - texture) == pytest.approx(float(value), abs=1e-5)
    assert judge(mesh, geometry, paint(geometry, 6, 5, phase=1.3)) == pytest.approx(float(value), abs=0.02)


def test_padding_changes_neither_value_nor_gradient(straight):
    mesh, geometry = straight
    texture = paint(geometry, along=6, around=5)
    noise = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    padded = torch.where(geometry.atlas.mask > 0, texture, noise)
    results = []
    for image in (texture, padded):
        image = image.clone().requires_grad_()
        value = judge(mesh, geometry, image)
        value.backward()
        results.append((value.detach(), image.grad))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], atol=0, rtol=0)
    assert not (results[0][1] * (1 - geometry.atlas.mask)).any()


@pytest.mark.parametrize("turn", [30.0, 45.0, 90.0])
def test_turning_the_chart_in_uv_changes_nothing(straight, turn):
    mesh, geometry = straight
    turned_mesh, turned = tube(turn=turn)
    for along, around in ((8, 0), (0, 8), (6, 5)):
        expected = judge(mesh, geometry, paint(geometry, along, around))
        value = judge(turned_mesh, turned, paint(turned, along, around))
        assert value == pytest.approx(float(expected), abs=0.02)


def test_a_stretched_chart_needs_the_metric(straight):
    mesh, geometry = straight
    expected = float(judge(mesh, geometry, paint(geometry, along=4, around=8)))
    stretched_mesh, stretched = tube(turn=25.0, stretch=(0.5, 1.0))
    texture = paint(stretched, along=4, around=8)
    assert judge(stretched_mesh, stretched, texture) == pytest.approx(expected, abs=0.03)
    in_uv = judge(stretched_mesh, stretched, texture, GeometryTextureAlignment(comparison="uv"))
    assert abs(float(in_uv) - expected) > 0.1


def test_unpainted_texels_do_not_count(straight):
    mesh, geometry = straight
    texture = paint(geometry, along=8)
    upper = geometry.atlas.position[..., 1] > 0
    spoiled = torch.where(upper, paint(geometry, along=0, around=8), texture)
    painted = geometry.atlas.mask * ~upper
    assert judge(mesh, geometry, spoiled) < 0.8
    assert judge(mesh, geometry, spoiled, painted=painted) > 0.98
    assert judge(mesh, geometry, texture, painted=torch.zeros_like(painted)) == 0


def test_gradients_are_finite_everywhere_and_raise_the_reward(straight):
    mesh, geometry = straight
    for texture in (
        torch.full((3, SIZE, SIZE), 0.5),
        torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)),
    ):
        texture = texture.requires_grad_()
        judge(mesh, geometry, texture).backward()
        assert texture.grad.isfinite().all()
    before = judge(mesh, geometry, texture.detach())
    better = texture.detach() + 0.05 * texture.grad / texture.grad.abs().max()
    assert judge(mesh, geometry, better) > before


def test_value_and_gradient_equal_a_plain_loop_over_texels():
    mesh, _ = tube(turn=20.0, stretch=(0.6, 1.0), columns=6, rows=4)
    geometry = prepared(mesh, 24)
    texture = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(2)).double()
    reward = GeometryTextureAlignment()
    ours, plain = texture.float().requires_grad_(), texture.clone().requires_grad_()
    value = judge(mesh, geometry, ours, reward)
    expected = plain_alignment(mesh, geometry, plain, reward.floor)
    assert float(value.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad.double(), plain.grad, atol=1e-7, rtol=1e-3)


def plain_alignment(mesh, geometry, texture, floor):
    """The same sum with 3D vectors: gradient and direction as tangent vectors of the texel's triangle."""
    luma = 0.299 * texture[0] + 0.587 * texture[1] + 0.114 * texture[2]
    face, count = geometry.atlas.face, texture.shape[-1]
    top = bottom = torch.zeros((), dtype=torch.float64)
    for i in range(1, count - 1):
        for j in range(1, count - 1):
            if (face[i - 1 : i + 2, j - 1 : j + 2] < 0).any():
                continue
            a = luma[i - 1 : i + 2, j - 1 : j + 2]
            weights = torch.tensor([3.0, 10.0, 3.0]).double() / 16
            slope = torch.stack([weights @ (a[:, 2] - a[:, 0]), weights @ (a[2] - a[0])]) * count / 2
            corners = mesh.vertices[mesh.faces[face[i, j]]].double()
            charts = mesh.uvs[mesh.uv_faces[face[i, j]]].double()
            jacobian = (corners[1:] - corners[0]).T @ torch.linalg.inv((charts[1:] - charts[0]).T)
            gradient = torch.linalg.pinv(jacobian).T @ slope  # tangent, with J^T gradient = slope
            tensor = geometry.min_direction_tensor[:, i, j].double()
            direction = jacobian @ tensor[:2] if tensor[0] > 1e-6 else jacobian[:, 1]
            cosine = gradient @ direction / direction.norm()
            patch = torch.linalg.cross(jacobian[:, 0], jacobian[:, 1]).norm()
            top = top + patch * cosine**2
            bottom = bottom + patch * (gradient.square().sum() + floor)
    return top / bottom


def test_isotropic_noise_scores_one_half(straight):
    mesh, geometry = straight
    noise = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(3))
    assert judge(mesh, geometry, noise) == pytest.approx(0.5, abs=0.05)


def test_bad_input_is_reported(straight):
    mesh, geometry = straight
    reward = GeometryTextureAlignment()
    assert isinstance(reward, TextureReward)
    with pytest.raises(ValueError, match="prepared geometry"):
        reward(Textured(mesh, torch.zeros(3, SIZE, SIZE), geometry.atlas.mask, "x"))
    with pytest.raises(ValueError, match="64 texels"):
        reward(Textured(mesh, torch.zeros(3, 64, 64), torch.ones(1, 64, 64), "x", geometry))
    blank = replace(geometry, anisotropy=torch.zeros_like(geometry.anisotropy))
    with pytest.raises(ValueError, match="no texel has a direction"):
        alignment_field(mesh, blank)
    with pytest.raises(ValueError, match="comparison"):
        GeometryTextureAlignment(comparison="both")


def test_the_released_form_knows_flat_by_the_published_sobel():
    """Published: Sobel's sums, not divided by 8, before 1e-6 is added under the root."""
    mesh, geometry = tube(rows=24)
    for contrast in (0.8, 0.004, 0.0008):
        texture = paint(geometry, along=6, around=2, contrast=contrast).double()
        value = judge(mesh, geometry, texture, GeometryTextureAlignment(form="released"))
        assert float(value) == pytest.approx(float(plain_released(mesh, geometry, texture)), rel=1e-6)
    # The same pattern, faint: 3/255 counts as a pattern, as it does in the original.
    faint = judge(mesh, geometry, paint(geometry, 6, 2, 0.02), GeometryTextureAlignment(form="released"))
    strong = judge(mesh, geometry, paint(geometry, 6, 2, 0.8), GeometryTextureAlignment(form="released"))
    assert faint > 0.5 * strong


def plain_released(mesh, geometry, texture):
    """Mean (g . c)^2 over the lookups of the released field, with g from plain sums over 3 x 3 texels."""
    field = released_field(mesh, geometry)
    size = texture.shape[-1]
    luma = 0.299 * texture[0] + 0.587 * texture[1] + 0.114 * texture[2]

    def unit(i, j):
        a = luma[i - 1 : i + 2, j - 1 : j + 2]
        weights = torch.tensor([1.0, 2.0, 1.0], dtype=luma.dtype)
        g = torch.stack([weights @ (a[:, 2] - a[:, 0]), weights @ (a[2] - a[0])])
        return g / (g.square().sum() + 1e-6).sqrt()

    total = 0.0
    for n in range(field.taps.index.shape[0]):
        g = sum(
            w * unit(int(t) // size, int(t) % size)
            for t, w in zip(field.taps.index[n], field.taps.weight[n], strict=True)
        )
        total += float((g @ field.direction[:, n].double()) ** 2)
    return total / field.taps.index.shape[0]

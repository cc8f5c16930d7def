import pytest
import torch
import torch.nn.functional as F
from reference.brute_force import project, rasterize_by_triangles
from reference.tiny_meshes import make_mesh, sphere_mesh, square_mesh

from texgen.render.cameras import Cameras, eye
from texgen.render.images import depth_map, geometry_buffer, render, render_buffer, shade
from texgen.render.interpolate import interpolate


def uv_texture(size):
    """The texture whose value at each texel centre is (u, v, 0)."""
    centre = (torch.arange(size) + 0.5) / size
    v, u = torch.meshgrid(centre, centre, indexing="ij")
    return torch.stack([u, v, torch.zeros_like(u)])


def test_painting_uv_into_the_texture_shows_the_interpolated_uv():
    """Decides rows, flips and axes: any swap of u and v, or v upside down, fails by the whole range."""
    mesh = sphere_mesh(12)
    cameras = Cameras.orbit([0.0, 90.0, -130.0, 30.0], [0.0, 20.0, -40.0, 80.0])
    buffer = geometry_buffer(mesh, cameras, 64)
    image = shade(buffer, uv_texture(512))
    expected = interpolate(mesh.uvs, mesh.uv_faces, buffer.face, buffer.bary)
    torch.testing.assert_close(buffer.uv, expected, atol=1e-5, rtol=0)
    # A linear ramp survives averaging, except within a footprint of the texture's border.
    footprint = torch.maximum(buffer.uv_dx.norm(dim=-1), buffer.uv_dy.norm(dim=-1))
    border = torch.minimum(buffer.uv, 1 - buffer.uv).amin(dim=-1)
    clear = (buffer.face >= 0) & (border > 2 * footprint + 2 / 512)
    assert clear.sum() > 0.5 * (buffer.face >= 0).sum()
    shown = image.permute(0, 2, 3, 1)[clear]
    torch.testing.assert_close(shown[:, :2], expected[clear], atol=1e-4, rtol=0)


def test_what_is_painted_is_where_it_should_be():
    """The square's uv (0, 0) is its lower left from the front: row 0 of the texture appears at the bottom."""
    texture = torch.zeros(3, 32, 32)
    texture[0, :16, :16] = 1.0  # small v, small u
    texture[1, 16:, 16:] = 1.0  # large v, large u
    image, alpha = render(square_mesh(), texture, Cameras.orbit(0.0, 0.0), 48)
    inside = alpha[0, 0] > 0
    rows, columns = torch.nonzero(inside & (image[0, 0] > 0.9), as_tuple=True)
    assert rows.min() >= 24 and columns.max() < 24
    rows, columns = torch.nonzero(inside & (image[0, 1] > 0.9), as_tuple=True)
    assert rows.max() < 24 and columns.min() >= 24


def test_buffer_fields_against_their_definitions():
    mesh = sphere_mesh(10)
    cameras = Cameras.orbit([25.0, -100.0], [40.0, -10.0])
    height, width = 30, 44
    buffer = geometry_buffer(mesh, cameras, (height, width))
    for i in range(2):
        azimuth, elevation = float(cameras.azimuth[i]), float(cameras.elevation[i])
        face, _, depth, margin = rasterize_by_triangles(
            mesh.vertices, mesh.faces, azimuth, elevation, 2.5, 50.0, height, width
        )
        clear = margin > 1e-4
        assert torch.equal(buffer.face[i][clear], face[clear])
        torch.testing.assert_close(buffer.depth[i][clear].double(), depth[clear], atol=1e-5, rtol=1e-5)
        seen = buffer.face[i] >= 0
        rows, columns = torch.nonzero(seen, as_tuple=True)
        x, y, _ = project(buffer.position[i][seen], azimuth, elevation, 2.5, 50.0, height, width)
        torch.testing.assert_close(x, columns + 0.5, atol=1e-3, rtol=0, check_dtype=False)
        torch.testing.assert_close(y, rows + 0.5, atol=1e-3, rtol=0, check_dtype=False)
        outward = F.normalize(buffer.position[i][seen], dim=-1)  # a sphere's normal
        assert ((buffer.normal[i][seen] * outward).sum(-1) > 0.97).all()
        to_eye = F.normalize(eye(cameras)[i] - buffer.position[i][seen], dim=-1)
        expected = (buffer.normal[i][seen] * to_eye).sum(-1).abs()
        torch.testing.assert_close(buffer.cosine[i, 0][seen], expected)
        for outside in (buffer.uv, buffer.position, buffer.normal, buffer.cosine[:, 0, :, :, None]):
            assert outside[i][~seen].abs().sum() == 0
    torch.testing.assert_close(buffer.mask[:, 0], (buffer.face >= 0).float())


def test_uv_derivatives_are_the_differences_to_the_next_pixels():
    buffer = geometry_buffer(sphere_mesh(6).to(dtype=torch.float64), Cameras.orbit(20.0, 15.0), 40)
    face = buffer.face[0]
    right = (face[:, 1:] == face[:, :-1]) & (face[:, 1:] >= 0)
    below = (face[1:] == face[:-1]) & (face[1:] >= 0)
    assert right.sum() > 200 and below.sum() > 200
    step = buffer.uv[0][:, 1:] - buffer.uv[0][:, :-1]
    torch.testing.assert_close(buffer.uv_dx[0][:, :-1][right], step[right])
    step = buffer.uv[0][1:] - buffer.uv[0][:-1]
    torch.testing.assert_close(buffer.uv_dy[0][:-1][below], step[below])


def test_a_fine_pattern_fades_to_its_mean_instead_of_aliasing():
    checker = (torch.arange(256)[:, None] + torch.arange(256)[None]).remainder(2).float().expand(3, -1, -1)
    image, alpha = render(square_mesh(), checker, Cameras.orbit(0.0, 0.0), 32)
    inside = F.avg_pool2d(alpha, 3, 1, 1)[0, 0] == 1
    torch.testing.assert_close(
        image[0, :, inside], torch.full((3, int(inside.sum())), 0.5), atol=1e-3, rtol=0
    )


def test_background_and_channels():
    mesh, cameras = square_mesh(0.4), Cameras.orbit(0.0, 0.0)
    colour = torch.tensor([0.2, 0.4, 0.6, 0.8, 1.0], requires_grad=True)
    texture = torch.full((5, 8, 8), 0.5)
    image, alpha = render(mesh, texture, cameras, 16, background=colour)
    expected = alpha * 0.5 + (1 - alpha) * colour[None, :, None, None]
    torch.testing.assert_close(image, expected)
    image.sum().backward()
    torch.testing.assert_close(colour.grad, torch.full((5,), float((1 - alpha).sum())))
    with pytest.raises(ValueError, match="5 channels"):
        render(mesh, texture, cameras, 16)


def test_supersampling_is_the_average_of_the_larger_image():
    mesh, cameras, texture = sphere_mesh(8), Cameras.orbit([10.0, 200.0], 20.0), uv_texture(64)
    image, alpha = render(mesh, texture, cameras, (12, 16), supersample=4)
    large, large_alpha = render(mesh, texture, cameras, (48, 64))
    for small, big in ((image, large), (alpha, large_alpha)):
        blocks = big.reshape(2, -1, 12, 4, 16, 4).mean(dim=(3, 5))
        torch.testing.assert_close(small, blocks)
    assert ((alpha > 0.01) & (alpha < 0.99)).any()
    radius = 0.8 / (2.5**2 - 0.8**2) ** 0.5 / torch.tan(torch.deg2rad(torch.tensor(25.0)))
    area = torch.pi * (radius / 2) ** 2 * (12 / 16)  # of the sphere's disc, as a share of the image
    assert abs(float(alpha[0].mean() / area) - 1) < 0.06  # a coarse polyhedron lies inside its sphere


def test_a_given_buffer_gives_the_same_image_and_a_wrong_one_is_refused():
    mesh, cameras, texture = sphere_mesh(6), Cameras.orbit([0.0, 90.0], 0.0), uv_texture(16)
    buffer = geometry_buffer(mesh, cameras, 32)
    torch.testing.assert_close(
        render_buffer(buffer, texture, (2, 16, 16), supersample=2)[0],
        render(mesh, texture, cameras, 16, supersample=2)[0],
    )
    torch.testing.assert_close(shade(buffer.view(1), texture), shade(buffer, texture)[1:])
    with pytest.raises(ValueError, match=r"\(2, 32, 32\), but \(2, 32, 16\)"):
        render_buffer(buffer, texture, (2, 32, 16))
    with pytest.raises(IndexError):
        buffer.view(2)


def test_texture_gradient_equals_finite_differences():
    mesh = sphere_mesh(6).to(dtype=torch.float64)
    cameras = Cameras.orbit([0.0, 120.0], 25.0, dtype=torch.float64)
    buffer = geometry_buffer(mesh, cameras, 12)
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 4, 8, dtype=torch.float64, generator=generator, requires_grad=True)

    def image(texture):
        return render_buffer(buffer, texture, (2, 6, 6), (1.0,), supersample=2)[0]

    assert torch.autograd.gradcheck(image, (texture,))


@pytest.mark.parametrize("angle", ["azimuth", "elevation"])
def test_camera_gradient_equals_finite_differences_at_interior_pixels(angle):
    """Which face a pixel sees is a constant, so pixels whose face changes within the step are left out."""
    mesh = sphere_mesh(6).to(dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    texture = torch.rand(3, 16, 16, dtype=torch.float64, generator=generator)

    def look(value):
        pose = {"azimuth": 20.0, "elevation": 35.0, angle: value}
        buffer = geometry_buffer(mesh, Cameras.orbit(**pose, dtype=torch.float64), 20)
        return shade(buffer, texture), buffer.face

    start = {"azimuth": 20.0, "elevation": 35.0}[angle]
    value = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    step = 1e-4
    (plus, face_plus), (minus, face_minus) = look(start + step), look(start - step)
    image, face = look(value)
    interior = ((face == face_plus) & (face == face_minus))[:, None].expand(-1, 3, -1, -1)
    seen = interior & (face >= 0)[:, None]
    assert seen.sum() > 200
    numeric = ((plus - minus) / (2 * step))[seen]
    chosen = torch.randperm(numeric.shape[0], generator=generator)[:60].tolist()
    exact = torch.stack([torch.autograd.grad(image[seen][k], value, retain_graph=True)[0] for k in chosen])
    error = (exact - numeric[chosen]).abs()
    # A pixel that crosses a texel centre within the step has a kink there and no derivative to compare.
    assert error.median() < 1e-6 and (error < 1e-3).double().mean() > 0.95
    assert exact.abs().max() > 1e-2


def test_depth_conventions_against_their_definitions():
    mesh = make_mesh(  # two squares at z = 0.5 and z = -0.5, and a vertex nothing shows, behind both
        [[-0.6, -0.6, 0.5], [0.0, -0.6, 0.5], [0.0, 0.6, 0.5], [-0.6, 0.6, 0.5]]
        + [[0.1, -0.6, -0.5], [0.6, -0.6, -0.5], [0.6, 0.6, -0.5], [0.1, 0.6, -0.5], [0.0, 0.0, -1.5]],
        [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]],
        [[0.0, 0.0]] * 9,
    )
    cameras = Cameras.orbit(0.0, 0.0)
    buffer = geometry_buffer(mesh, cameras, 32)
    near, far, hidden = 2.0, 3.0, 4.0
    near_at = (buffer.depth - near).abs() < 1e-4
    far_at = (buffer.depth - far).abs() < 1e-4
    assert near_at.sum() > 20 and far_at.sum() > 20
    share = (1 / far - 1 / hidden) / (1 / near - 1 / hidden)
    for convention, near_value, far_value in (
        ("disparity-global", 1.0, share),
        ("disparity-view", 1.0, 0.0),
        ("linear-0.5-1", 1.0, 0.5),
    ):
        depth = depth_map(mesh, cameras, buffer, convention)
        assert depth.shape == (1, 1, 32, 32)
        values = depth[:, 0]
        torch.testing.assert_close(values[near_at], torch.full_like(values[near_at], near_value))
        torch.testing.assert_close(
            values[far_at], torch.full_like(values[far_at], far_value), atol=1e-5, rtol=0
        )
        assert values[buffer.face < 0].abs().sum() == 0
    with pytest.raises(ValueError, match="disparity-view"):
        depth_map(mesh, cameras, buffer, "metres")


@pytest.mark.parametrize("convention", ["disparity-global", "disparity-view", "linear-0.5-1"])
def test_depth_of_a_flat_or_empty_view_is_finite(convention):
    mesh = square_mesh()
    for camera in (Cameras.orbit(0.0, 0.0), Cameras.orbit(90.0, 0.0)):
        buffer = geometry_buffer(mesh, camera, 9)
        depth = depth_map(mesh, camera, buffer, convention)
        assert torch.isfinite(depth).all() and depth.min() >= 0 and depth.max() <= 1
        assert (depth[buffer.mask == 0] == 0).all()

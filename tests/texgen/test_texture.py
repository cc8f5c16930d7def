import numpy as np
import pytest
import torch
from reference.brute_force import bilinear_by_loops, trilinear_by_loops

from texgen.render.texture_lookup import build_mips, mip_level, sample


def random_texture(height, width, channels=3, seed=0):
    return torch.rand(
        channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )


def random_uv(count, seed=1, low=-0.2, high=1.2):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, 2, dtype=torch.float64, generator=generator) * (high - low) + low


def test_texel_centres_return_their_texel():
    texture = random_texture(5, 7)
    rows, columns = torch.meshgrid(torch.arange(5), torch.arange(7), indexing="ij")
    uv = torch.stack([(columns.double() + 0.5) / 7, (rows.double() + 0.5) / 5], dim=-1)
    torch.testing.assert_close(sample(texture, uv), texture.permute(1, 2, 0))


@pytest.mark.parametrize("size", [(8, 8), (5, 9), (1, 4)])
def test_bilinear_equals_loops(size):
    texture, uv = random_texture(*size), random_uv(50)
    expected = [bilinear_by_loops(texture.numpy(), u, v) for u, v in uv.tolist()]
    torch.testing.assert_close(sample(texture, uv), torch.from_numpy(np.stack(expected)))


def random_derivatives(count, seed):
    """Lengths from a thousandth of a texel to the whole texture, and exact zeros."""
    generator = torch.Generator().manual_seed(seed)
    size = 10 ** (torch.rand(count, 1, dtype=torch.float64, generator=generator) * 5 - 4)
    derivative = torch.randn(count, 2, dtype=torch.float64, generator=generator) * size
    derivative[:3] = 0
    return derivative


@pytest.mark.parametrize("size", [(16, 16), (8, 32), (1, 1)])
def test_trilinear_equals_loops(size):
    texture, uv = random_texture(*size), random_uv(80)
    uv_dx, uv_dy = random_derivatives(80, 2), random_derivatives(80, 3)
    expected = [
        trilinear_by_loops(texture.numpy(), *uv[i].tolist(), uv_dx[i].tolist(), uv_dy[i].tolist())
        for i in range(80)
    ]
    torch.testing.assert_close(sample(texture, uv, uv_dx, uv_dy), torch.from_numpy(np.stack(expected)))


def test_mips_halve_and_keep_the_mean():
    mips = build_mips(random_texture(16, 8))
    assert [tuple(mip.shape[1:]) for mip in mips] == [(16, 8), (8, 4), (4, 2), (2, 1), (1, 1)]
    for mip in mips:
        torch.testing.assert_close(mip.mean(dim=(1, 2)), mips[0].mean(dim=(1, 2)))
    assert [tuple(mip.shape[1:]) for mip in build_mips(random_texture(5, 12))] == [
        (5, 12),
        (2, 6),
        (1, 3),
        (1, 1),
    ]
    assert len(build_mips(random_texture(16, 8), levels=2)) == 2


def test_level_is_the_longer_derivative_in_texels():
    level = mip_level(
        (16, 32),
        torch.tensor([[1 / 32, 0.0], [4 / 32, 0.0], [0.0, 0.0], [9.0, 0.0], [0.0, 0.0]]),
        torch.tensor([[0.0, 0.0], [0.0, 2 / 16], [0.0, 8 / 16], [0.0, 0.0], [0.0, 0.0]]),
    )
    torch.testing.assert_close(level, torch.tensor([0.0, 2.0, 3.0, 5.0, 0.0]))


def test_a_constant_texture_stays_constant_at_every_level():
    texture = torch.full((2, 12, 20), 0.3, dtype=torch.float64)
    values = sample(texture, random_uv(40), random_derivatives(40, 0), random_derivatives(40, 1))
    torch.testing.assert_close(values, torch.full((40, 2), 0.3, dtype=torch.float64))


def test_gradients_in_texture_uv_and_derivatives():
    texture = random_texture(8, 8, channels=1).requires_grad_(True)
    uv = random_uv(6, low=0.1, high=0.9).requires_grad_(True)
    uv_dx = (random_uv(6, seed=5, low=0.05, high=0.4)).requires_grad_(True)
    uv_dy = (random_uv(6, seed=6, low=-0.3, high=-0.05)).requires_grad_(True)
    assert torch.autograd.gradcheck(sample, (texture, uv, uv_dx, uv_dy))


def test_gradient_is_finite_where_the_derivatives_are_zero():
    texture = random_texture(8, 8).requires_grad_(True)
    derivative = torch.zeros(4, 2, dtype=torch.float64)
    derivative[0] = 0.3  # the others lie at level 0 with length 0
    derivative.requires_grad_(True)
    sample(texture, random_uv(4), derivative, derivative).sum().backward()
    assert torch.isfinite(derivative.grad).all() and torch.isfinite(texture.grad).all()
    assert derivative.grad[1:].abs().sum() == 0


def test_shapes_and_the_missing_derivative():
    texture, uv = random_texture(8, 8), random_uv(24).reshape(2, 3, 4, 2)
    assert sample(texture, uv).shape == (2, 3, 4, 3)
    assert sample(texture, uv, uv * 0.1, uv * 0.1).shape == (2, 3, 4, 3)
    assert sample(texture, torch.zeros(0, 2, dtype=torch.float64)).shape == (0, 3)
    with pytest.raises(ValueError, match="both uv_dx and uv_dy"):
        sample(texture, uv, uv)

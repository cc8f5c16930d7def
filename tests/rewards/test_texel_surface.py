"""Calculus in the texture: charts, metric, derivatives and lookups against answers known by hand."""

import torch

from rewards.geometric.surface import (
    bilinear_taps,
    chart_interior,
    chart_labels,
    face_metric,
    inside_one_chart,
    inverse_metric,
    least_painted,
    look_up,
    luma_derivative,
    sobel,
    texel_charts,
    weighted_quantiles,
)
from texgen.mesh.mesh import Mesh
from texgen.render.texture_lookup import sample


def test_neighbouring_charts_are_not_read_together():
    faces = torch.tensor([[0, 1, 2], [2, 1, 3], [4, 5, 6]])
    mesh = Mesh("m", torch.rand(7, 3), faces, torch.rand(7, 2), faces, torch.rand(7, 3), torch.zeros(3), 1.0)
    labels = chart_labels(mesh)
    assert labels[0] == labels[1] != labels[2]
    face = torch.tensor([[0, 1, 0, 2, 2, 2]] * 5)
    inside = chart_interior(texel_charts(labels, face))
    assert inside.tolist() == [[False] * 6] + [[False, True, False, False, True, False]] * 3 + [[False] * 6]


def test_metric_of_a_known_triangle_and_of_a_flat_one():
    vertices = torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 0, 3]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 2]])
    uvs = torch.tensor([[0.0, 0], [1, 0], [0, 1], [2, 0]])
    mesh = Mesh(
        "m", vertices, faces, uvs, torch.tensor([[0, 1, 2], [0, 1, 3]]), vertices, torch.zeros(3), 1.0
    )
    torch.testing.assert_close(face_metric(mesh), torch.tensor([[4.0, 0, 9], [0, 0, 0]]).double())


def test_derivative_of_a_ramp():
    row, column = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    ramp = (0.1 + 0.5 * (column + 0.5) / 16 + 0.25 * (row + 0.5) / 16).expand(3, -1, -1)
    derivative = luma_derivative(ramp)[:, 1:-1, 1:-1]
    torch.testing.assert_close(derivative[0], torch.full((14, 14), 0.5))
    torch.testing.assert_close(derivative[1], torch.full((14, 14), 0.25))
    torch.testing.assert_close(sobel(ramp)[:, 1:-1, 1:-1] * 16, derivative)


def test_inverse_of_a_metric():
    metric = torch.tensor([4.0, 1.0, 2.0]).double()[:, None, None].expand(3, 2, 2)
    area = torch.tensor([[7.0, 7.0], [7.0, 0.0]]).double().sqrt()
    uu, uv, vv = inverse_metric(metric, area)[:, 0, 0].tolist()
    product = torch.tensor([[4.0, 1.0], [1.0, 2.0]]) @ torch.tensor([[uu, uv], [uv, vv]])
    torch.testing.assert_close(product, torch.eye(2))
    assert not inverse_metric(metric, area)[:, 1, 1].any()


def test_lookups_equal_bilinear_sampling_and_know_their_charts():
    random = torch.Generator().manual_seed(4)
    texture = torch.rand(3, 9, 9, generator=random)
    uv = torch.rand(50, 2, generator=random)
    taps = bilinear_taps(uv, 9)
    torch.testing.assert_close(look_up(texture, taps).T, sample(texture, uv))
    chart = torch.full((9, 9), -1)
    chart[:, :4], chart[:, 4:8] = 0, 1
    columns = torch.tensor([0.5, 3.4, 3.6, 4.4, 4.6, 6.9, 7.4, 7.6])
    taps = bilinear_taps(torch.stack([columns / 9, torch.full((8,), 0.5)], -1), 9)
    kept, usable = inside_one_chart(taps, chart)
    assert usable.tolist() == [True] * 7 + [True]
    number = torch.where(chart < 0, torch.nan, chart.double())[None]  # padding would spoil what reads it
    number[0, :, 8] = 1e9
    assert look_up(number, kept)[0].tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert not inside_one_chart(taps, chart, least=0.95)[1].all()
    painted = torch.ones(1, 9, 9)
    painted[:, :, 8] = 0
    assert least_painted(painted, kept).tolist() == [1.0] * 8
    assert least_painted(painted, taps).tolist() == [1.0] * 7 + [0.0]


def test_quantiles_by_weight():
    values, weights = torch.tensor([5.0, 1.0, 3.0]), torch.tensor([1.0, 2.0, 1.0])
    assert weighted_quantiles(values, weights, (0.0, 0.5, 0.6, 1.0)) == [1.0, 1.0, 3.0, 5.0]

"""Winograd's convolution against the plain one: values, gradient, where it is used, weights that change."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from texgen.diffusion import winograd


def layer(channels=64, out=96, bias=True):
    torch.manual_seed(1)
    made = nn.Conv2d(channels, out, 3, padding=1, bias=bias).requires_grad_(False)
    return made


def maps(channels=64, height=16, width=20, count=2):
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, channels, height, width, generator=generator)


def fast(plain):
    made = copy.deepcopy(plain)
    winograd.install(made)
    assert type(made) is winograd.FastConv2d
    return made


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_values_and_gradient_are_those_of_the_plain_layer(bias, format):
    plain = layer(bias=bias)
    quick = fast(plain)
    x, y = (maps().to(memory_format=format).requires_grad_() for _ in range(2))
    expected, found = plain(x), quick(y)
    exact = F.conv2d(
        x.detach().double(), plain.weight.double(), None if not bias else plain.bias.double(), padding=1
    )
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert float((found.detach() - exact).abs().max()) < 5e-5 * float(exact.std())
    assert torch.equal(quick(y.detach()), found.detach())  # with and without a gradient alike
    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(3))
    (wanted,) = torch.autograd.grad((expected * weights).sum(), x)
    (got,) = torch.autograd.grad((found * weights).sum(), y)
    assert float((got - wanted).abs().max()) < 5e-5 * float(wanted.std())


def test_it_is_used_only_where_it_pays(monkeypatch):
    def never(*_):
        raise AssertionError("Winograd")

    quick = fast(layer())
    monkeypatch.setattr(winograd, "convolve", never)
    for x in (maps(height=18), maps(height=8), maps().double()):
        net = quick.double() if x.dtype == torch.float64 else quick
        net(x)
    quick.float().requires_grad_(True)
    quick(maps())
    quick.requires_grad_(False)
    with pytest.raises(AssertionError, match="Winograd"):
        quick(maps())


def test_only_layers_that_suit_are_exchanged():
    kept = [
        nn.Conv2d(64, 64, 1),
        nn.Conv2d(64, 64, 3, stride=2, padding=1),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
    ]
    net = nn.Sequential(*kept, nn.Conv2d(64, 64, 3, padding=1))
    names = list(net.state_dict())
    winograd.install(net)
    assert [type(each) is winograd.FastConv2d for each in net] == [False] * len(kept) + [True]
    assert list(net.state_dict()) == names


def test_changed_weights_are_seen():
    quick, x = fast(layer()), maps()
    quick(x)
    with torch.no_grad():
        quick.weight.mul_(2)
    once = quick(x)
    quick.weight.data.mul_(2)  # unseen by autograd
    winograd.forget(quick)
    twice = quick(x)
    plain = nn.Conv2d.forward(quick, x)
    assert float((twice - plain).abs().max()) < 5e-5 * float(plain.std())
    assert torch.allclose(
        twice - quick.bias[:, None, None], 2 * (once - quick.bias[:, None, None]), atol=1e-4
    )
    winograd.forget(nn.Linear(2, 2))

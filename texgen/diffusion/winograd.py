"""Convolutions of 3 x 3 on a CPU by Winograd's minimal filtering, F(4 x 4, 3 x 3).

A tile of 4 x 4 output pixels takes 36 multiplications per pair of channels instead of 144 (Lavin and Gray,
arXiv 1509.09308). The transforms cost memory traffic, so it pays for many channels on small maps: at 96
channels and 32 x 32 latents it takes 0.56 times as long on one thread. In float32 it errs by some 1e-5 of the
output's size, ten times as much as the direct sum.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MIN_CHANNELS, MIN_SIDE = 64, 16
"""Below these the transforms cost what they save."""
LARGEST = 2**26
"""Bytes of transformed tiles above which a map is convolved directly."""
TILE, WINDOW = 4, 6

# Interpolation at 0, 1, -1, 2, -2 and infinity.
_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float32,
)
_KERNEL = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float32,
)
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    dtype=torch.float32,
)


class FastConv2d(nn.Conv2d):
    """A frozen 3 x 3 convolution that is computed by `convolve` where that is quicker, else as ever.

    `install` makes layers of a network ones of this class. Whoever changes weights behind autograd's back
    (`weight.data`) calls `forget`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self._pays(x):
            return super().forward(x)
        return _Convolution.apply(x, self)

    def _pays(self, x: Tensor) -> bool:
        height, width = x.shape[-2:]
        return (
            x.dim() == 4
            and x.device.type == "cpu"
            and x.dtype == self.weight.dtype == torch.float32
            and not self.weight.requires_grad
            and height % TILE == width % TILE == 0
            and min(height, width) >= MIN_SIDE
            and x.shape[0] * height * width * max(self.weight.shape[:2]) * 9 <= LARGEST  # 36 / 16 * 4 bytes
        )

    def kernel(self, backward: bool = False) -> Tensor:
        """The transformed weights, or those that take a gradient back to the input; kept while they last."""
        stamp = (self.weight.data_ptr(), self.weight._version)
        kept = self.__dict__.setdefault("_transformed", {})
        if kept.get("stamp") != stamp:
            kept.clear()
            kept["stamp"] = stamp
        if backward not in kept:
            weight = self.weight.detach()
            if backward:
                weight = weight.flip(-1, -2).transpose(0, 1)
            kept[backward] = transformed(weight)
        return kept[backward]


class _Convolution(torch.autograd.Function):
    """A convolution with a gradient for its input alone: the weights are frozen."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: FastConv2d) -> Tensor:
        ctx.layer = layer
        return convolve(x, layer.kernel(), layer.bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        return convolve(gradient, ctx.layer.kernel(backward=True)), None


def transformed(weight: Tensor) -> Tensor:
    """Weights [O, C, 3, 3] -> [36, C, O], as `convolve` takes them."""
    both = torch.kron(_KERNEL.double(), _KERNEL.double())
    rows = weight.permute(3, 2, 1, 0).reshape(9, -1).double()  # column by column, as `convolve` has its tiles
    return (both @ rows).float().reshape(WINDOW**2, weight.shape[1], weight.shape[0])


def convolve(x: Tensor, kernel: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [N, C, H, W], zeros around it, by transformed weights -> [N, O, H, W], channels last.

    H and W are multiples of 4. Without a gradient of its own.
    """
    count, channels, height, width = x.shape
    down, across, out = height // TILE, width // TILE, kernel.shape[-1]
    padded = F.pad(x.detach().permute(0, 2, 3, 1).contiguous(), (0, 0, 1, 1, 1, 1))
    s = padded.stride()
    shape = (WINDOW, count, down, width + 2, channels)
    rows = padded.as_strided(shape, (s[1], s[0], TILE * s[1], s[2], s[3])).reshape(WINDOW, -1)
    rows = (_INPUT @ rows).view(shape)
    s = rows.stride()
    shape = (WINDOW, WINDOW, count, down, across, channels)
    tiles = rows.as_strided(shape, (s[3], s[0], s[1], s[2], TILE * s[3], s[4])).reshape(WINDOW, -1)
    tiles = (_INPUT @ tiles).view(WINDOW**2, count * down * across, channels)
    mixed = torch.bmm(tiles, kernel).view(WINDOW, -1)
    mixed = torch.matmul(_OUTPUT, (_OUTPUT @ mixed).view(TILE, WINDOW, -1))
    mixed = mixed.view(TILE, TILE, count, down, across, out)  # column, row of a tile first
    image = mixed.permute(2, 3, 1, 4, 0, 5).reshape(count, height, width, out)
    if bias is not None:
        image += bias.detach()
    return image.permute(0, 3, 1, 2)


def install(net: nn.Module) -> None:
    """Make the convolutions of a network that can profit `FastConv2d`s, in place."""
    for layer in net.modules():
        if type(layer) is nn.Conv2d and _suits(layer):
            layer.__class__ = FastConv2d


def _suits(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == (3, 3)
        and layer.stride == layer.dilation == (1, 1)
        and layer.padding == (1, 1)
        and layer.padding_mode == "zeros"
        and layer.groups == 1
        and min(layer.in_channels, layer.out_channels) >= MIN_CHANNELS
    )


def forget(layer: nn.Module) -> None:
    """The weights of a layer were changed behind autograd's back; any layer may be given."""
    layer.__dict__.pop("_transformed", None)

"""Convolution with weight normalisation (Salimans and Kingma 2016), as in networks without normalisation layers."""

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_divides, check_shape
from cclnn._typing import Float, Tensor


class WeightNormConv2d(nn.Module):
    """y = conv(x) with weight g v / |v|, |v| per output channel, and bias.   (Salimans and Kingma 2016, Eq. 2)

    Length and direction of each filter are separate parameters. At initialisation g = |v|, so that the layer is torch's
    own convolution. The image keeps its size (odd kernels). In half precision the norm is computed in float32.

    Args:
        channels: c, channels that come in.
        out_channels: d, channels that go out.
        kernel_size: rows and columns of the kernel.
        groups: as for `torch.nn.Conv2d`; must divide both numbers of channels.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> layer = WeightNormConv2d(1, out_channels=1, kernel_size=1)
    >>> _ = [nn.init.constant_(p, 2.0) for p in layer.parameters()]  # v, g and the bias: the weight is g = 2
    >>> layer(torch.tensor([[[[3.0]]]])).item()
    8.0
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int,
        kernel_size: int = 3,
        groups: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("out_channels", out_channels, 1)
        check_at_least("kernel_size", kernel_size, 1)
        check_divides("groups", groups, "channels", channels)
        check_divides("groups", groups, "out_channels", out_channels)
        self.channels = channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.groups = groups
        plain = nn.Conv2d(channels, out_channels, kernel_size, groups=groups, device=device, dtype=dtype)
        assert plain.bias is not None  # a convolution has one unless told otherwise
        self.direction = nn.Parameter(plain.weight.detach())
        if plain.weight.is_meta:  # the square of a tensor there would import the compiler, for seconds
            self.magnitude = nn.Parameter(plain.weight.new_empty(out_channels, 1, 1, 1))
        else:
            self.magnitude = nn.Parameter(self._norms(plain.weight.detach()).to(plain.weight.dtype))
        self.bias = nn.Parameter(plain.bias.detach())

    @staticmethod
    def _norms(direction: Tensor) -> Float[Tensor, "d 1 1 1"]:
        wide = direction.to(torch.promote_types(direction.dtype, torch.float32))
        return wide.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()

    def weight(self) -> Float[Tensor, "d cg k1 k2"]:
        """g v / |v|."""
        return (self.direction * (self.magnitude / self._norms(self.direction))).to(self.direction.dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        return F.conv2d(x, self.weight(), self.bias, padding=self.kernel_size // 2, groups=self.groups)

    def extra_repr(self) -> str:
        return (
            f"{self.channels}, out_channels={self.out_channels}, kernel_size={self.kernel_size}, groups={self.groups}"
        )

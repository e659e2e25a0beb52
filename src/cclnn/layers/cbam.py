"""CBAM: a gate per channel, then a gate per pixel, from pooled features (Woo et al. 2018)."""

import torch
from einops import rearrange
from torch import nn

from cclnn._checks import check_at_least, check_divides, check_shape
from cclnn._typing import Float, Tensor


class ChannelGate(nn.Module):
    """out = x * sigmoid(f(mean of x) + f(maximum of x)),  f(v) = excite(relu(squeeze(v))).   (Woo et al. 2018, Eq. 2)

    CBAM's channel attention: mean and maximum are over pixels, f is one perceptron, with biases, for both.

    Args:
        channels: c, the number of feature channels.
        reduction: r, the perceptron has channels // reduction hidden units; must divide channels.
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import ChannelGate
    >>> ChannelGate(32).gate(torch.rand(2, 32, 5, 7)).shape
    torch.Size([2, 32, 1, 1])
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_divides("reduction", reduction, "channels", channels)
        self.channels = channels
        self.reduction = reduction
        self.squeeze = nn.Linear(channels, channels // reduction, device=device, dtype=dtype)
        self.excite = nn.Linear(channels // reduction, channels, device=device, dtype=dtype)

    def gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 1 1"]:
        """One number in (0, 1) per image and channel."""
        check_shape("x", x, "b c h w", c=self.channels)
        pooled = torch.stack([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))])
        gate: Tensor = self.excite(self.squeeze(pooled).relu()).sum(dim=0).sigmoid()
        return rearrange(gate, "b c -> b c 1 1")

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.gate(x)

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}"


class SpatialAttention(nn.Module):
    """out = x * sigmoid(norm(conv7x7([max, mean] of x over channels))).   (Woo et al. 2018, Eq. 3)

    CBAM's spatial attention: one gate per pixel. The convolution has no bias; `norm` is batch normalisation, which in
    training mode needs more than one pixel or image.

    Args:
        kernel_size: odd side of the convolution's kernel.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import SpatialAttention
    >>> SpatialAttention().gate(torch.rand(2, 32, 5, 7)).shape
    torch.Size([2, 1, 5, 7])
    """

    def __init__(
        self,
        *,
        kernel_size: int = 7,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_odd("kernel_size", kernel_size)
        self.kernel_size = kernel_size
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False, device=device, dtype=dtype)
        self.norm = nn.BatchNorm2d(1, momentum=0.01, device=device, dtype=dtype)

    def gate(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """One number in (0, 1) per image and pixel."""
        check_shape("x", x, "b c h w")
        pooled = torch.cat([x.amax(dim=1, keepdim=True), x.mean(dim=1, keepdim=True)], dim=1)
        gate: Tensor = self.norm(self.conv(pooled)).sigmoid()
        return gate

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x * self.gate(x)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}"


class CBAM(nn.Module):
    """out = spatial(channel(x)): `ChannelGate`, then `SpatialAttention`; no residual.   (Woo et al. 2018, Eq. 1)

    Args:
        channels: c, the number of feature channels.
        reduction: r of the channel gate; must divide channels.
        kernel_size: of the spatial attention, odd.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import CBAM
    >>> sum(parameter.numel() for parameter in CBAM(64).parameters())
    680
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 16,
        kernel_size: int = 7,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.channel = ChannelGate(channels, reduction=reduction, device=device, dtype=dtype)
        self.spatial = SpatialAttention(kernel_size=kernel_size, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        out: Tensor = self.spatial(self.channel(x))
        return out

    def extra_repr(self) -> str:
        return f"{self.channels}"


def check_odd(name: str, value: int) -> None:
    """Raise ValueError unless `value` is odd and positive."""
    if value < 1 or value % 2 == 0:
        raise ValueError(f"`{name}` must be odd and positive, got {value}.")

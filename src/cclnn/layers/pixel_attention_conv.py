"""Convolutions gated per pixel, and the blocks of PAN and A2N that are built around them (Zhao 2020, Chen 2021)."""

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_divides, check_positive, check_shape
from cclnn._typing import Float, Tensor

SLOPE = 0.2  # of the leaky ReLU


def leaky(x: Tensor) -> Tensor:
    """max(x, 0.2 x), the activation of PAN and A2N."""
    return F.leaky_relu(x, SLOPE)


def conv(channels: int, out: int, size: int, factory: dict[str, object], *, bias: bool = False) -> nn.Conv2d:
    """A convolution that keeps the image's size, without bias as most of PAN's and A2N's are."""
    return nn.Conv2d(channels, out, size, padding=size // 2, bias=bias, **factory)  # type: ignore[arg-type]


class PixelAttentionConv(nn.Module):
    """y = conv3x3(conv3x3(x) * sigmoid(gate(x))): one gate per channel and pixel between two convolutions.

    gate is a 1x1 convolution (PA-Conv of Zhao et al. 2020, Sec. 3.2), or with `deep_gate` a 3x3 convolution, leaky ReLU
    0.2 and a 1x1 convolution (the attention branch of Chen et al. 2021, Sec. 3.2). Only the 1x1 convolution has a bias.

    Args:
        channels: c, the number of feature channels.
        deep_gate: put a 3x3 convolution and a leaky ReLU before the gate's 1x1 convolution.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> layer = PixelAttentionConv(4)
    >>> sum(p.numel() for p in layer.parameters())  # two 3x3 and one 1x1 with bias: 2 * 4 * 4 * 9 + 4 * 4 + 4
    308
    >>> layer(torch.rand(1, 4, 5, 7)).shape
    torch.Size([1, 4, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        deep_gate: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        factory: dict[str, object] = {"device": device, "dtype": dtype}
        self.channels = channels
        self.deep_gate = deep_gate
        if deep_gate:
            self.gate_conv = conv(channels, channels, 3, factory)
        self.gate = conv(channels, channels, 1, factory, bias=True)
        self.conv1 = conv(channels, channels, 3, factory)
        self.conv2 = conv(channels, channels, 3, factory)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        gate = self.gate(leaky(self.gate_conv(x)) if self.deep_gate else x).sigmoid()
        y: Tensor = self.conv2(self.conv1(x) * gate)
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}, deep_gate={self.deep_gate}"


class SelfCalibratedBlock(nn.Module):
    """SCPA(x) = x + merge([f(conv3x3(f(split1 x))), f(PA-Conv(f(split2 x)))]), f = leaky ReLU 0.2.
    (Zhao et al. 2020, Eq. 4-6: self-calibrated convolution with pixel attention)

    split1, split2 (to c / 2 channels each) and merge are 1x1 convolutions; no convolution but the gate's has a bias.

    Args:
        channels: c, the number of feature channels; must be even.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> block = SelfCalibratedBlock(40)
    >>> sum(p.numel() for p in block.parameters())
    14420
    """

    def __init__(
        self, channels: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        if channels % 2:
            raise ValueError(f"`channels` must be even, got {channels}.")
        factory: dict[str, object] = {"device": device, "dtype": dtype}
        half = channels // 2
        self.channels = channels
        self.split1 = conv(channels, half, 1, factory)
        self.split2 = conv(channels, half, 1, factory)
        self.conv = conv(half, half, 3, factory)
        self.attention = PixelAttentionConv(half, device=device, dtype=dtype)
        self.merge = conv(channels, channels, 1, factory)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        plain = leaky(self.conv(leaky(self.split1(x))))
        gated = leaky(self.attention(leaky(self.split2(x))))
        branch: Tensor = self.merge(torch.cat([plain, gated], dim=1))
        return x + branch

    def extra_repr(self) -> str:
        return f"{self.channels}"


class AttentionInAttentionBlock(nn.Module):
    """A2B(x) = x + last(f(a att(u) + b non(u))),  u = f(first x),  (a, b) = softmax(excite(relu(squeeze(mean u))) / t).
    (Chen et al. 2021, Eq. 5-8)

    att is a `PixelAttentionConv` with a deep gate, non a 3x3 convolution, first and last 1x1 convolutions; f is a leaky
    ReLU 0.2. The shares a and b set for each image how much the attention branch counts. No layer but the gate's 1x1
    convolution has a bias.

    Args:
        channels: c, the number of feature channels.
        reduction: the shares come from channels // reduction hidden units; must divide channels.
        temperature: t, 30 in A2N: at initialisation a and b are nearly 1/2.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> block = AttentionInAttentionBlock(8)
    >>> block.shares(torch.zeros(1, 8, 5, 7)).flatten(1)  # nothing seen: both branches count alike
    tensor([[0.5000, 0.5000]], grad_fn=<ViewBackward0>)
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 4,
        temperature: float = 30.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_divides("reduction", reduction, "channels", channels)
        check_positive("temperature", temperature)
        factory: dict[str, object] = {"device": device, "dtype": dtype}
        self.channels = channels
        self.reduction = reduction
        self.temperature = temperature
        self.first = conv(channels, channels, 1, factory)
        self.squeeze = nn.Linear(channels, channels // reduction, bias=False, device=device, dtype=dtype)
        self.excite = nn.Linear(channels // reduction, 2, bias=False, device=device, dtype=dtype)
        self.attention = PixelAttentionConv(channels, deep_gate=True, device=device, dtype=dtype)
        self.plain = conv(channels, channels, 3, factory)
        self.last = conv(channels, channels, 1, factory)

    def shares(self, u: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 2 1 1"]:
        """(a, b) of each image: the shares of the attention branch and of the plain one; they sum to 1."""
        scores: Tensor = self.excite(self.squeeze(u.mean(dim=(2, 3))).relu())
        return (scores / self.temperature).softmax(dim=1)[:, :, None, None]

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        u = leaky(self.first(x))
        shares = self.shares(u)
        branch: Tensor = self.last(leaky(shares[:, :1] * self.attention(u) + shares[:, 1:] * self.plain(u)))
        return x + branch

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}, temperature={self.temperature}"

"""RCAN's residual channel attention block and group (Zhang et al. 2018)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.channel_attention import ChannelAttention


class ResidualChannelAttentionBlock(nn.Module):
    """RCAB(x) = x + CA(conv2(relu(conv1(x)))), both convolutions 3x3.   (Zhang et al. 2018, Eq. 12-13)

    Quirk: no residual scaling; the released code takes a `res_scale` and ignores it (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        reduction: r of the channel attention; must divide channels.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> block = ResidualChannelAttentionBlock(16)
    >>> block(torch.rand(1, 16, 5, 7)).shape
    torch.Size([1, 16, 5, 7])
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
        self.channels = channels
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
        self.attention = ChannelAttention(channels, reduction=reduction, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        branch: Tensor = self.attention(self.conv2(self.conv1(x).relu_()))
        return x + branch

    def extra_repr(self) -> str:
        return f"{self.channels}"


class ResidualGroup(nn.Module):
    """RG(x) = x + conv(RCAB_n(... RCAB_1(x))), a 3x3 convolution last.   (Zhang et al. 2018, Eq. 5)

    Args:
        channels: c, the number of feature channels.
        n_blocks: residual channel attention blocks in a row; 20 in RCAN.
        reduction: r of their channel attention; must divide channels.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> group = ResidualGroup(16, n_blocks=2)
    >>> group(torch.rand(1, 16, 5, 7)).shape
    torch.Size([1, 16, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        n_blocks: int = 20,
        reduction: int = 16,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("n_blocks", n_blocks, 1)
        self.channels = channels
        self.n_blocks = n_blocks
        self.blocks = nn.Sequential(
            *(
                ResidualChannelAttentionBlock(channels, reduction=reduction, device=device, dtype=dtype)
                for _ in range(n_blocks)
            )
        )
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        branch: Tensor = self.conv(self.blocks(x))
        return x + branch

    def extra_repr(self) -> str:
        return f"{self.channels}, n_blocks={self.n_blocks}"

"""RNAN's mask branch and residual (non-)local attention (Zhang et al. 2019)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.non_local_block import NonLocalBlock
from cclnn.layers.residual import ResBlock


class AttentionMask(nn.Module):
    """m = sigmoid(conv1x1(Res(a + up(Res(Res(down(a)))))),  a = Res(x), or Res(NL(x)) if `non_local`.
    (Zhang et al. 2019, Fig. 3: mask branch)

    down is a 3x3 convolution of stride 2, up a transposed 6x6 convolution of stride 2, Res `ResBlock`, NL
    `NonLocalBlock` with its softmax over queries.

    Quirk: the released code needs even sizes. Here an odd number of rows or columns is rounded up by `down`, and the
    surplus of `up` is cut off (docs/quirks.md).

    Args:
        channels: c, the number of feature channels; must be even.
        non_local: begin with a `NonLocalBlock`, whose docstring states the memory it takes.
        device, dtype: of parameters and buffers, as for torch's own layers.

    Returns:
        a number in (0, 1) per channel and pixel.

    >>> AttentionMask(8)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        non_local: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        self.channels = channels
        self.non_local = non_local
        if non_local:
            self.attention = NonLocalBlock(channels, device=device, dtype=dtype)
        self.first = ResBlock(channels, device=device, dtype=dtype)
        self.down = nn.Conv2d(channels, channels, 3, stride=2, padding=1, device=device, dtype=dtype)
        self.coarse = nn.Sequential(*(ResBlock(channels, device=device, dtype=dtype) for _ in range(2)))
        self.up = nn.ConvTranspose2d(channels, channels, 6, stride=2, padding=2, device=device, dtype=dtype)
        self.last = ResBlock(channels, device=device, dtype=dtype)
        self.gate = nn.Conv2d(channels, channels, 1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        height, width = x.shape[2:]
        fine = self.first(self.attention(x) if self.non_local else x)
        up = self.up(self.coarse(self.down(fine)))[..., :height, :width]
        mask: Tensor = self.gate(self.last(fine + up)).sigmoid()
        return mask

    def extra_repr(self) -> str:
        return f"{self.channels}, non_local={self.non_local}"


class ResidualAttention(nn.Module):
    """y = conv3x3(Res(Res(r + t m))),  r = Res(x), t = Res(Res(r)), m = mask(r).
    (Zhang et al. 2019, Eq. 5-7: residual attention learning, trunk and mask branch)

    Quirk: as in the released code the module itself has no skip: y has no "+ x" (docs/quirks.md).

    Args:
        channels: c, the number of feature channels; must be even.
        non_local: the mask begins with a `NonLocalBlock`: residual non-local attention.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> ResidualAttention(8, non_local=True)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        non_local: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        self.channels = channels
        self.first = ResBlock(channels, device=device, dtype=dtype)
        self.trunk = nn.Sequential(*(ResBlock(channels, device=device, dtype=dtype) for _ in range(2)))
        self.mask = AttentionMask(channels, non_local=non_local, device=device, dtype=dtype)
        self.tail = nn.Sequential(*(ResBlock(channels, device=device, dtype=dtype) for _ in range(2)))
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        entry = self.first(x)
        y: Tensor = self.conv(self.tail(entry + self.trunk(entry) * self.mask(entry)))
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}"

"""Pixel attention: one gate per channel and pixel (PAN, Zhao et al. 2020)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._typing import Float, Tensor


class PixelAttention(nn.Module):
    """PA(x) = x * sigmoid(conv1x1(x)), with bias.   (Zhao et al. 2020, Sec. 3.2; Liu et al. 2024, Sec. 3.1)

    Args:
        channels: c, the number of feature channels.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> attention = PixelAttention(8)
    >>> features = torch.rand(1, 8, 5, 7)
    >>> bool((attention(features) <= features).all())  # each gate lies in (0, 1)
    True
    """

    def __init__(
        self, channels: int, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        self.channels = channels
        self.conv = nn.Conv2d(channels, channels, 1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        gate: Tensor = self.conv(x).sigmoid_()
        return x * gate

    def extra_repr(self) -> str:
        return f"{self.channels}"

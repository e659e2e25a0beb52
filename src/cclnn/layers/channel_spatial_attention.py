"""Channel-spatial attention: one gate per channel and pixel from a 3-D convolution (HAN, Niu et al. 2020)."""

import torch
from einops import rearrange
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_shape
from cclnn._typing import Float, Tensor


class ChannelSpatialAttention(nn.Module):
    """out = x + gamma x sigmoid(conv3x3x3(x)), over channels, rows and columns.   (Niu et al. 2020, Sec. 3.3)

    One kernel of 27 numbers and a bias for any number of channels, kept in `conv` as that of a convolution from three
    neighbouring channels to one. gamma is one number, 0 at initialisation: the layer starts as the identity.

    Args:
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import ChannelSpatialAttention
    >>> x = torch.rand(2, 6, 5, 7)
    >>> torch.equal(ChannelSpatialAttention()(x), x)
    True
    """

    def __init__(self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, device=device, dtype=dtype))
        self.conv = nn.Conv2d(3, 1, 3, padding=1, device=device, dtype=dtype)  # from three channels to the middle one

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w")
        threes = F.pad(x, (0, 0, 0, 0, 1, 1)).unfold(1, 3, 1)  # each channel between its neighbours, zero outside
        mixed = self.conv(rearrange(threes, "b c h w k -> (b c) k h w"))
        gate = rearrange(mixed, "(b c) 1 h w -> b c h w", c=x.shape[1]).sigmoid()
        out: Tensor = x + self.gamma * (gate * x)
        return out

    def extra_repr(self) -> str:
        return ""

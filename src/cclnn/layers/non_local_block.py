"""Dense non-local block: every pixel attends to every other (Wang et al. 2018; Zhang et al. 2019)."""

import torch
from einops import rearrange
from torch import nn

from cclnn._checks import check_at_least, check_choice, check_divides, check_shape
from cclnn._typing import Float, Tensor
from cclnn.ops import dense_attention
from cclnn.ops.dense import OVER, Over


class NonLocalBlock(nn.Module):
    """y = x + out(sum_j p_ij value_j),  p = softmax of query_i . key_j.   (Wang et al. 2018, Eq. 6; Zhang 2019, Eq. 6)

    query, key, value (theta, phi, g in the papers) and out (W) are 1x1 convolutions; `out` starts at zero, so that the
    block starts as the identity. Works for any h, w >= 1, in blocks of scores: beside x and y, in float32,
    4 h w (4 c / reduction) + 32 MiB bytes (`cclnn.ops.dense_attention`) where all scores at once would take 4 (h w)^2:
    64 MiB instead of 16 GiB for 256x256 pixels and the 64 channels of RNAN. Forward and backward together take at most
    4 h w (16 c / reduction) + 64 MiB bytes. Time grows with (h w)^2.

    Quirk: by default the softmax runs over the queries i, not over the keys j, as in RNAN's released code
    (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        reduction: query, key and value have channels // reduction channels; must divide channels.
        over: "queries" (released code of RNAN) or "keys" (the papers).
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> block = NonLocalBlock(4)
    >>> x = torch.rand(1, 4, 5, 7)
    >>> torch.equal(block(x), x)  # before any training
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        over: Over = "queries",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_divides("reduction", reduction, "channels", channels)
        check_choice("over", over, OVER)
        inner = channels // reduction
        self.channels = channels
        self.reduction = reduction
        self.over: Over = over
        self.query = nn.Conv2d(channels, inner, 1, device=device, dtype=dtype)
        self.key = nn.Conv2d(channels, inner, 1, device=device, dtype=dtype)
        self.value = nn.Conv2d(channels, inner, 1, device=device, dtype=dtype)
        self.out = nn.Conv2d(inner, channels, 1, device=device, dtype=dtype)
        nn.init.zeros_(self.out.weight)
        if self.out.bias is not None:
            nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        query, key, value = (rearrange(conv(x), "b e h w -> b (h w) e") for conv in (self.query, self.key, self.value))
        attended = dense_attention(query, key, value, over=self.over)
        branch: Tensor = self.out(rearrange(attended, "b (h w) e -> b e h w", h=x.shape[2]))
        return x + branch

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}, over={self.over!r}"

"""Non-local attention within one scale (CSNLN, Mei et al. 2020; Wang et al. 2018)."""

import torch
from einops import rearrange
from torch import nn

from cclnn._checks import check_at_least, check_divides, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.cross_scale_attention import pointwise
from cclnn.ops.dense import dense_attention


class NonLocalAttention(nn.Module):
    """out_i = sum_j softmax over j of (Q_i . K_j) V_j, over all pixels j.   (Mei et al. 2020, in-scale attention)

    Q = query(x), K = key(x), V = value(x): 1x1 convolutions, each with a PReLU of one slope. Any h, w >= 1. Scores are
    computed in blocks (`cclnn.ops.dense_attention`), in memory that does not grow with their number, (h w)^2.

    Quirks: scores are not divided by sqrt(width); there is no output convolution and no residual (docs/quirks.md).

    Args:
        channels: c, the number of feature channels.
        reduction: query and key have channels // reduction channels; must divide channels.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import NonLocalAttention
    >>> NonLocalAttention(8)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        reduction: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_divides("reduction", reduction, "channels", channels)
        self.channels = channels
        self.reduction = reduction
        narrow = channels // reduction
        self.query = pointwise(channels, narrow, device=device, dtype=dtype)
        self.key = pointwise(channels, narrow, device=device, dtype=dtype)
        self.value = pointwise(channels, channels, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        query, key, value = (rearrange(part(x), "b e h w -> b (h w) e") for part in (self.query, self.key, self.value))
        return rearrange(dense_attention(query, key, value), "b (h w) c -> b c h w", h=x.shape[2])

    def extra_repr(self) -> str:
        return f"{self.channels}, reduction={self.reduction}"

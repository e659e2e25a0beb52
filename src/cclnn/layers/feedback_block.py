"""SRFBN's feedback block: groups of enlarging and reducing convolutions, densely connected (Li et al. 2019)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_choice, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.projection import Geometry, convolve, enlarge, reduce

GEOMETRIES = {2: Geometry(6, 2, 2), 3: Geometry(7, 3, 2), 4: Geometry(8, 4, 2), 8: Geometry(12, 8, 2)}
SLOPE = 0.2


class FeedbackBlock(nn.Module):
    """hidden_t = out([L_1, ..., L_G]),  L_0 = in([x, hidden_{t-1}]): G groups, densely connected.   (Li et al. 2019)

    H_g = enlarge_g(low_g([L_0, ..., L_{g-1}])),  L_g = reduce_g(high_g([H_1, ..., H_g])): H_g has `scale` times the
    size of x. Enlarging are transposed, reducing strided convolutions. in, out and, from the second group on, low_g and
    high_g are 1x1 convolutions (`compress_in`, `compress_out`, `mix_low`, `mix_high`). Each has a PReLU of one slope.
    Any h, w >= 1.

    The block holds no state: its result is the `hidden` of the next call. Without `hidden`, x is used in its place.

    Args:
        channels: c, the number of feature channels.
        n_groups: G, groups.
        scale: 2, 3, 4 or 8, with kernels of 6, 7, 8 and 12 pixels.
        device, dtype: of the parameters, as for torch's own layers.

    >>> import torch
    >>> from cclnn.layers import FeedbackBlock
    >>> block, x = FeedbackBlock(8, n_groups=2, scale=3), torch.rand(1, 8, 5, 7)
    >>> hidden = block(x)
    >>> block(x, hidden).shape
    torch.Size([1, 8, 5, 7])
    """

    def __init__(
        self,
        channels: int,
        *,
        n_groups: int = 6,
        scale: int = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("n_groups", n_groups, 1)
        check_choice("scale", scale, GEOMETRIES)
        self.channels = channels
        self.n_groups = n_groups
        self.scale = scale
        geometry = GEOMETRIES[scale]

        def pointwise(maps: int) -> nn.Sequential:
            return convolve(maps * channels, channels, 1, slope=SLOPE, device=device, dtype=dtype)

        self.compress_in = pointwise(2)
        self.mix_low = nn.ModuleList(pointwise(g) for g in range(2, n_groups + 1))
        self.enlarge = nn.ModuleList(
            enlarge(channels, geometry, slope=SLOPE, device=device, dtype=dtype) for _ in range(n_groups)
        )
        self.mix_high = nn.ModuleList(pointwise(g) for g in range(2, n_groups + 1))
        self.reduce = nn.ModuleList(
            reduce(channels, geometry, slope=SLOPE, device=device, dtype=dtype) for _ in range(n_groups)
        )
        self.compress_out = pointwise(n_groups)

    def forward(
        self, x: Float[Tensor, "b c h w"], hidden: Float[Tensor, "b c h w"] | None = None
    ) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        if hidden is not None and hidden.shape != x.shape:
            raise ValueError(f"`hidden` must have the shape of `x`, {tuple(x.shape)}, got {tuple(hidden.shape)}.")
        low: list[Tensor] = [self.compress_in(torch.cat([x, x if hidden is None else hidden], dim=1))]
        high: list[Tensor] = []
        for g in range(self.n_groups):
            high.append(self.enlarge[g](self.mix_low[g - 1](torch.cat(low, dim=1)) if g else low[0]))
            low.append(self.reduce[g](self.mix_high[g - 1](torch.cat(high, dim=1)) if g else high[0]))
        merged: Tensor = self.compress_out(torch.cat(low[1:], dim=1))
        return merged

    def extra_repr(self) -> str:
        return f"{self.channels}, n_groups={self.n_groups}, scale={self.scale}"

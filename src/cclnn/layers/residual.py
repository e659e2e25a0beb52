"""EDSR's residual block (Lim et al. 2017)."""

import torch
from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._typing import Float, Tensor


class ResBlock(nn.Module):
    """y = x + res_scale * conv2(relu(conv1(x))), both 3x3, without normalisation.   (Lim et al. 2017, Fig. 2c)

    Args:
        channels: c, the number of feature channels.
        res_scale: factor of the residual branch; 0.1 in wide networks, 1 in narrow ones.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> features = torch.rand(1, 8, 5, 7)
    >>> torch.equal(ResBlock(8, res_scale=0.0)(features), features)
    True
    """

    def __init__(
        self,
        channels: int,
        *,
        res_scale: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        self.channels = channels
        self.res_scale = res_scale
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        check_shape("x", x, "b c h w", c=self.channels)
        branch: Tensor = self.conv2(self.conv1(x).relu_())
        return add_scaled(x, branch, self.res_scale)

    def extra_repr(self) -> str:
        return f"{self.channels}, res_scale={self.res_scale}"


def add_scaled(x: Float[Tensor, "b c h w"], branch: Float[Tensor, "b c h w"], scale: float) -> Float[Tensor, "b c h w"]:
    """x + scale * branch. A program is given both steps: torch's compiler drops the `alpha` of an addition that follows
    a convolution in int8, and PT2E's quantizers take `torch.add` and `+` for one operation (torch 2.13).
    """
    if not torch.compiler.is_compiling():
        return torch.add(x, branch, alpha=scale)
    return x + branch if scale == 1 else x + scale * branch

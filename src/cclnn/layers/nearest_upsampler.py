"""The upsampler of PAN and A2N: enlarge by repeating pixels, then convolve with pixel attention (Zhao et al. 2020)."""

from typing import Literal, get_args

import torch
from einops import repeat
from torch import nn

from cclnn._checks import check_at_least, check_choice, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.pixel_attention import PixelAttention
from cclnn.layers.pixel_attention_conv import leaky

NearestScale = Literal[2, 3, 4]
NEAREST_SCALES: tuple[NearestScale, ...] = get_args(NearestScale)


class NearestUpsampler(nn.Module):
    """y = f(conv3x3(f(PA(conv3x3(enlarge x))))), once for x2 and x3, twice for x4; f = leaky ReLU 0.2.
    (Zhao et al. 2020, Sec. 3.3: U-PA)

    enlarge repeats every pixel 2 x 2 times, 3 x 3 for x3. The first convolution of each step changes the width to
    `out_channels`. All convolutions have a bias.

    Args:
        channels: c, the number of feature channels that come in.
        out_channels: d, channels that go out.
        scale: 2, 3 or 4.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> NearestUpsampler(40, out_channels=24, scale=3)(torch.rand(1, 40, 5, 7)).shape
    torch.Size([1, 24, 15, 21])
    """

    def __init__(
        self,
        channels: int,
        *,
        out_channels: int = 24,
        scale: NearestScale = 2,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        check_at_least("channels", channels, 1)
        check_at_least("out_channels", out_channels, 1)
        check_choice("scale", scale, NEAREST_SCALES)
        self.channels = channels
        self.out_channels = out_channels
        self.scale = scale
        widths, factor = ((channels,), 3) if scale == 3 else ((channels, out_channels)[: scale // 2], 2)
        self.steps = nn.Sequential(
            *(_Step(width, out_channels, factor=factor, device=device, dtype=dtype) for width in widths)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d sh sw"]:
        check_shape("x", x, "b c h w", c=self.channels)
        y: Tensor = self.steps(x)
        return y

    def extra_repr(self) -> str:
        return f"{self.channels}, out_channels={self.out_channels}, scale={self.scale}"


class _Step(nn.Module):
    """Enlarge by `factor`, convolve with pixel attention."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        factor: int,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1, device=device, dtype=dtype)
        self.attention = PixelAttention(out_channels, device=device, dtype=dtype)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d sh sw"]:
        enlarged = repeat(x, "b c h w -> b c (h s) (w t)", s=self.factor, t=self.factor)
        y: Tensor = leaky(self.conv2(leaky(self.attention(self.conv1(enlarged)))))
        return y

    def extra_repr(self) -> str:
        return f"factor={self.factor}"

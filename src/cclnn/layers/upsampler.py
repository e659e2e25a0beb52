"""Sub-pixel upsampler of EDSR and its descendants (Shi et al. 2016; Lim et al. 2017)."""

from collections.abc import Iterator

import torch
from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._sizes import one_more
from cclnn._typing import Float, Tensor


def check_scale(scale: int) -> None:
    """Raise ValueError unless the sub-pixel upsampler has this scale: 3 or a power of two from 2 on."""
    if not (isinstance(scale, int) and (scale == 3 or (scale >= 2 and scale & (scale - 1) == 0))):
        raise ValueError(f"`scale` must be 2, 3, 4, 8 or another power of two, got {scale!r}.")


class Upsampler(nn.Sequential):
    """y = shuffle(conv3x3(x)), once for 3, once per factor of two otherwise; no activation.   (Shi et al. 2016, Eq. 4)

    Args:
        channels: c, the number of feature channels, kept.
        scale: 3 or a power of two.
        device, dtype: of parameters and buffers, as for torch's own layers.

    >>> Upsampler(8, scale=4)(torch.rand(1, 8, 5, 7)).shape
    torch.Size([1, 8, 20, 28])
    """

    def __init__(
        self,
        channels: int,
        *,
        scale: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("channels", channels, 1)
        check_scale(scale)
        super().__init__(*self._steps(channels, scale, device, dtype))
        self.channels = channels
        self.scale = scale

    @staticmethod
    def _steps(
        channels: int, scale: int, device: torch.device | str | None, dtype: torch.dtype | None
    ) -> Iterator[nn.Module]:
        factor = 3 if scale == 3 else 2
        while scale > 1:
            yield nn.Conv2d(channels, factor**2 * channels, 3, padding=1, device=device, dtype=dtype)
            yield nn.PixelShuffle(factor)
            scale //= factor

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c sh sw"]:
        check_shape("x", x, "b c h w", c=self.channels)
        if not x.shape[0]:
            return self.forward(one_more(x))[:0]
        out: Tensor = super().forward(x)  # type: ignore[no-untyped-call]  # torch does not annotate it
        return out

    def extra_repr(self) -> str:
        return f"{self.channels}, scale={self.scale}"

"""The residual trunk that EDSR, NLSN and CCLNN share: mean shift, head, body with a long skip, sub-pixel tail."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from cclnn._checks import check_at_least, check_shape
from cclnn._typing import Float, Tensor
from cclnn.layers.mean_shift import MeanShift
from cclnn.layers.upsampler import Upsampler, check_scale
from cclnn.models._base import SRModel


class ResidualSR(SRModel):
    """sr = tail(f + body(f)) + mean,  f = head(x - mean): the trunk of EDSR.   (Lim et al. 2017, Fig. 3)

    `body` holds the blocks in order and a last 3x3 convolution. Every architecture fills it with its own blocks and
    stores its arguments as `config`, from which it can be built again.

    Args:
        scale: 2, 3, 4, 8 or another power of two.
        channels: feature channels.
        blocks: what stands between head and the last convolution of the body.
        rgb_range: value of white that the weights expect, 1 or 255; the image itself is always in [0, 1].
        config: the architecture's own constructor arguments, JSON-able.
    """

    def __init__(
        self, scale: int, *, channels: int, blocks: Iterable[nn.Module], rgb_range: float, config: dict[str, Any]
    ) -> None:
        check_scale(scale)
        check_at_least("channels", channels, 1)
        if not rgb_range > 0:
            raise ValueError(f"`rgb_range` must be positive, got {rgb_range}.")
        super().__init__(scale, config)
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(rgb_range, sign=-1)
        self.head = nn.Conv2d(3, channels, 3, padding=1)
        self.body = nn.ModuleList([*blocks, nn.Conv2d(channels, channels, 3, padding=1)])
        self.tail = nn.Sequential(Upsampler(channels, scale=scale), nn.Conv2d(channels, 3, 3, padding=1))
        self.add_mean = MeanShift(rgb_range, sign=1)

    def embed(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c h w"]:
        """Image in [0, 1] to the first features."""
        check_shape("x", x, "b c h w", c=3)
        features: Tensor = self.head(self.sub_mean(x * self.rgb_range).to(self.head.weight.dtype))
        return features

    def reconstruct(self, features: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 sh sw"]:
        """Features after the body and the long skip to the image in [0, 1] (not clamped), float32 or wider."""
        image: Tensor = self.add_mean(self.tail(features)) / self.rgb_range
        return image

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 sh sw"]:
        features = self.embed(x)
        deep = features
        for block in self.body:
            deep = block(deep)
        return self.reconstruct(features + deep).to(x.dtype)

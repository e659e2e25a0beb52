"""The trunk that PAN and A2N share: head, body with a long skip, nearest upsampler, added to the bilinear image."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from cclnn._checks import check_at_least, check_positive
from cclnn._typing import Float, Tensor
from cclnn.layers.nearest_upsampler import NearestScale, NearestUpsampler
from cclnn.models._base import SRModel
from cclnn.models._taking import take


class NearestSR(SRModel):
    """sr = tail(up(f + last(body(f)))) + bilinear(x),  f = head(x): no mean shift.   (Zhao et al. 2020, Fig. 2)

    Args:
        scale: 2, 3 or 4.
        channels: feature channels of the body.
        up_channels: feature channels of the upsampler.
        blocks: the body.
        rgb_range: value of white that the weights expect; the image itself is always in [0, 1].
        device, dtype: where and as what the parameters are made.
    """

    def __init__(
        self,
        scale: NearestScale,
        *,
        channels: int,
        up_channels: int,
        blocks: Iterable[nn.Module],
        rgb_range: float,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        check_at_least("channels", channels, 1)
        check_positive("rgb_range", rgb_range)
        super().__init__(scale)
        made: dict[str, Any] = {"device": device, "dtype": dtype}
        self.rgb_range = rgb_range
        self.head = nn.Conv2d(3, channels, 3, padding=1, **made)
        self.body = nn.Sequential(*blocks)
        self.last = nn.Conv2d(channels, channels, 3, padding=1, **made)
        self.upsampler = NearestUpsampler(channels, out_channels=up_channels, scale=scale, **made)
        self.tail = nn.Conv2d(up_channels, 3, 3, padding=1, **made)

    def super_resolve(self, x: Float[Tensor, "b 3 h w"]) -> tuple[Float[Tensor, "b 3 sh sw"], Float[Tensor, ""] | None]:
        features = self.head((x * self.rgb_range).to(self.head.weight.dtype))
        detail = self.tail(self.upsampler(features + self.last(self.body(features))))
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        enlarged = F.interpolate(wide, scale_factor=float(self.scale), mode="bilinear", align_corners=False)
        return enlarged + detail.to(wide.dtype) / self.rgb_range, None


# (official key, ours), without the blocks of the body.
NEAREST = (
    ("conv_first.*", "head.*"),
    ("trunk_conv.*", "last.*"),
    ("upconv1.*", "upsampler.steps.0.conv1.*"),
    ("att1.conv.*", "upsampler.steps.0.attention.conv.*"),
    ("HRconv1.*", "upsampler.steps.0.conv2.*"),
    ("upconv2.*", "upsampler.steps.1.conv1.*"),
    ("att2.conv.*", "upsampler.steps.1.attention.conv.*"),
    ("HRconv2.*", "upsampler.steps.1.conv2.*"),
    ("conv_last.*", "tail.*"),
)


def infer_nearest(tensors: Mapping[str, Tensor], _given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that tensors show; x2 and x3 have the same tensors, only x4 has more."""
    head, tail = take(tensors, "head.weight", "tail.weight", of="a PAN or an A2N")
    return {
        **({"scale": 4} if "upsampler.steps.1.conv1.weight" in tensors else {}),
        "channels": head.shape[0],
        "up_channels": tail.shape[1],
        "n_blocks": len({found[1] for name in tensors if (found := re.match(r"body\.(\d+)\.", name))}),
    }


def nearest_radius(model: SRModel, per_block: int) -> int:
    """Input pixels to each side that an output pixel depends on.

    Head, blocks and the body's last convolution run at the input's size; the tail and the upsampler on larger images:
    3 pixels of an image twice as large are 2 here, 3 of one three times as large are 1. For x4 the 3 are 2 of the image
    between, whose own 2 convolutions make them 4, and 2 here.
    """
    return 2 + per_block * int(model.config["n_blocks"]) + (1 if model.scale == 3 else 2)
